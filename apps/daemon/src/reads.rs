//! The seam between those who ask for needles and whatever finds them.

use async_trait::async_trait;
use wavetank_contract::{Instant, Lease, SharedMemory};
use wavetank_ipc::{Code, Details};

pub use wavetank_ipc::ReadPath;

/// A range of a needle that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The volume's number.
    pub volume: u32,
    /// The needle's number.
    pub needle: u64,
    /// Its cookie.
    pub cookie: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 is to the end.
    pub len: u64,
    /// `HOST:PORT` of the volume's server: a hint, and a client's word.
    pub server: Option<String>,
    /// When nobody wants it any more.
    pub deadline: Instant,
}

/// Bytes that were found.
#[derive(Debug)]
pub struct Found {
    /// Where they lie: in memory cut from the arena. `None`: there is no byte.
    pub lease: Option<Lease>,
    /// Where in it they begin.
    pub at: u64,
    /// Bytes.
    pub len: u64,
    /// Length of the whole needle.
    pub whole_len: u64,
    /// CRC32-C of the bytes.
    pub crc32c: u32,
    /// By which way they came.
    pub path: ReadPath,
    /// Flags, and what HTTP needs.
    pub details: Details,
}

impl Found {
    /// Where others find the bytes in the arena; 0 where there is none.
    pub fn offset(&self) -> u64 {
        self.lease.as_ref().map_or(0, |lease| lease.region().origin() + lease.offset() + self.at)
    }
}

/// Why there are no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRead {
    /// No such needle or volume.
    #[error("there is no such needle")]
    Missing,
    /// It was deleted.
    #[error("the needle was deleted")]
    Deleted,
    /// Its time to live is over.
    #[error("the needle's time to live is over")]
    Expired,
    /// It is there, with another cookie.
    #[error("the needle has another cookie")]
    WrongCookie,
    /// The range begins past the end.
    #[error("the range begins past the end of the needle, which has {whole_len} bytes")]
    PastEnd {
        /// Length of the whole needle.
        whole_len: u64,
    },
    /// More bytes than one read may have.
    #[error("one read has at most {limit} bytes; ask for less at a time")]
    TooLong {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The bytes are not those that were stored.
    #[error("a checksum says that the bytes are not those that were stored")]
    Damaged,
    /// The volume's server lets nobody read it by RDMA.
    #[error("the volume's server exports no such volume")]
    NotExported,
    /// The volume's server went away.
    #[error("the volume's server went away; ask again, or read over HTTP")]
    PeerGone,
    /// The device went away.
    #[error("the device went away; see the engine's log")]
    DeviceGone,
    /// Not within its time.
    #[error("it took longer than it was given")]
    TimedOut,
    /// As much as may be is under way, or no memory is free.
    #[error("as much is under way as may be; ask again in a moment")]
    Busy,
    /// The engine begins nothing any more.
    #[error("the engine is going down; ask again when it is back, or read over HTTP")]
    ShuttingDown,
    /// Whoever asked wants it no more.
    #[error("it was cancelled")]
    Cancelled,
    /// Our own fault.
    #[error("the engine failed: {0}")]
    Internal(String),
}

impl NotRead {
    /// Its number, name, class and whether asking again may help.
    pub fn code(&self) -> Code {
        match self {
            NotRead::Missing => Code::Missing,
            NotRead::Deleted => Code::Deleted,
            NotRead::Expired => Code::Expired,
            NotRead::WrongCookie => Code::WrongCookie,
            NotRead::PastEnd { .. } => Code::PastEnd,
            NotRead::TooLong { .. } => Code::TooLong,
            NotRead::Damaged => Code::Damaged,
            NotRead::NotExported => Code::NotExported,
            NotRead::PeerGone => Code::PeerGone,
            NotRead::DeviceGone => Code::DeviceGone,
            NotRead::TimedOut => Code::TimedOut,
            NotRead::Busy => Code::Busy,
            NotRead::ShuttingDown => Code::ShuttingDown,
            NotRead::Cancelled => Code::Cancelled,
            NotRead::Internal(_) => Code::Internal,
        }
    }

    /// The number to it that clients are told.
    pub fn detail(&self) -> u64 {
        match self {
            NotRead::PastEnd { whole_len } => *whole_len,
            NotRead::TooLong { limit } => *limit,
            _ => 0,
        }
    }
}

/// What clients are told of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The device's name.
    pub device: String,
    /// The backend's name.
    pub backend: String,
    /// Whether the device is simulated.
    pub simulated: bool,
    /// Longest range that one read may have, in bytes.
    pub transfer_bytes_max: u64,
    /// Vendor of the device; 0 where it has none.
    pub vendor_id: u32,
    /// GID of the port as text; empty where it has none.
    pub port_gid: String,
    /// LID of the port; 0 where it has none.
    pub port_lid: u16,
}

/// Finds needles. Lives on the engine's thread.
#[async_trait(?Send)]
pub trait Reads: 'static {
    /// Reads a range into memory of the arena. Dropping the future cancels it; whatever it leased goes back by itself.
    ///
    /// It is polled once where it is asked for: what is ready then costs no task.
    ///
    /// # Errors
    /// See [`NotRead`].
    async fn read(&self, wanted: Wanted) -> Result<Found, NotRead>;

    /// What clients are told of the engine.
    fn about(&self) -> About;

    /// The memory that clients map.
    fn arena(&self) -> &SharedMemory;
}
