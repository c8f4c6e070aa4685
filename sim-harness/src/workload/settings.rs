//! The scalar settings of a workload and their defaults.

use wavetank_mock::Profile;

/// Everything a workload says once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seed of every choice. Default 1.
    pub seed: u64,
    /// The device to simulate. Default `cx6`, for recordings without a TOML file.
    pub profile: Profile,
    /// Path MTU in bytes: 256, 512, 1024, 2048 or 4096. Default 4096.
    pub mtu: u32,
    /// Queue pairs per pair of nodes. Default 1.
    pub queue_pairs: u32,
    /// Transfers are cut into chunks of this many bytes. Default 256 KiB.
    pub chunk_bytes: u32,
    /// Chunks in flight per transfer. Default 8.
    pub window: u32,
    /// How long an operation may take, in ns. Default: as long as it likes.
    pub deadline_ns: Option<u64>,
    /// Every n-th work is signalled. Default 1: each.
    pub signal_every: u32,
    /// How long connections hold out.
    pub patience: Patience,
}

/// How long a connection holds out against silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Code of the ACK timeout: 4.096 us times two to its power, 1 to 31.
    pub timeout: u8,
    /// Repetitions after silence, 0 to 6: 7 is for ever on soft-RoCE.
    pub retry_cnt: u8,
}

impl Patience {
    /// Nothing is lost in a run that nobody disturbs, and a long queue is no reason to repeat: 1.07 s.
    pub const CALM: Patience = Patience { timeout: 18, retry_cnt: 6 };
    /// What is lost is missed soon: 67 ms. A connection whose peer is gone dies after half a second.
    pub const DISTURBED: Patience = Patience { timeout: 14, retry_cnt: 6 };
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            seed: 1,
            profile: Profile::CX6,
            mtu: 4096,
            queue_pairs: 1,
            chunk_bytes: 256 << 10,
            window: 8,
            deadline_ns: None,
            signal_every: 1,
            patience: Patience::CALM,
        }
    }
}
