//! The scalar settings of a workload and their defaults.

/// Everything a workload says once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seed of every choice. Default 1.
    pub seed: u64,
    /// The device to simulate. Default `cx6`, for recordings without a TOML file.
    pub profile: ProfileName,
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
            profile: ProfileName::Cx6,
            mtu: 4096,
            queue_pairs: 1,
            chunk_bytes: 256 << 10,
            window: 8,
            deadline_ns: None,
            signal_every: 1,
        }
    }
}

/// The device profiles a workload can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileName {
    /// No jitter and no overhead: the arithmetic of bandwidth and distance.
    Ideal,
    /// Soft-RoCE, the Linux kernel's `rdma_rxe`.
    Rxe,
    /// A ConnectX-6 at 100 Gb/s.
    Cx6,
}

impl ProfileName {
    /// All of them.
    pub const ALL: [ProfileName; 3] = [ProfileName::Ideal, ProfileName::Rxe, ProfileName::Cx6];

    /// The name in workload files: `ideal`, `rxe`, `cx6`.
    pub const fn name(self) -> &'static str {
        match self {
            ProfileName::Ideal => "ideal",
            ProfileName::Rxe => "rxe",
            ProfileName::Cx6 => "cx6",
        }
    }
}
