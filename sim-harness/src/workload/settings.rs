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
        }
    }
}
