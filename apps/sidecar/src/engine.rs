//! The engine as the sidecar sees it: it reads needles, and may be gone at any moment.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use thiserror::Error;
use tokio::time::Instant;

use crate::file_id::FileId;

/// A range of a needle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The needle.
    pub file: FileId,
    /// First byte, of the decompressed content.
    pub offset: u64,
    /// Bytes; 0 is to the end. Fewer come where the needle ends before.
    pub len: u64,
    /// `HOST:PORT` of a volume server that has the volume. The engine finds the engine beside it by that.
    pub server: Option<String>,
}

/// By which way the engine got the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnginePath {
    /// From files of this machine.
    Local,
    /// Read out of the exporting engine's memory, one-sided.
    Pull,
    /// Written into this machine's memory by the exporting engine.
    Push,
}

/// What is known of a needle beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Flags as stored, without the compressed one if that was undone.
    pub flags: u8,
    /// When it was written, in Unix seconds.
    pub last_modified_s: Option<u64>,
    /// CRC32-C of the whole needle as stored, which is SeaweedFS's ETag.
    pub etag: Option<u32>,
    /// MIME type.
    pub mime: Option<String>,
    /// File name.
    pub name: Option<String>,
}

impl Details {
    /// Whether the content is a list of the needles that hold the file.
    pub fn is_chunk_manifest(&self) -> bool {
        self.flags & 0x80 != 0
    }
}

/// Bytes as the engine gave them. They lie in its arena until the last handle is dropped.
#[derive(Clone, Debug)]
pub struct EngineBytes {
    /// The bytes.
    pub bytes: Bytes,
    /// CRC32-C of these bytes, made by the engine.
    pub crc32c: u32,
    /// Length of the whole decompressed content.
    pub whole_len: u64,
    /// How they came.
    pub path: EnginePath,
    /// What is known of the needle.
    pub details: Details,
}

/// What the engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// Version of the program.
    pub version: String,
    /// The backend.
    pub backend: String,
    /// The device, as it calls itself.
    pub device_name: String,
    /// The vendor's number; `None` where the engine knows none.
    pub vendor_id: Option<u32>,
    /// Reads of SeaweedFS's protocol that may have been begun and not completed; `None` where the engine did not say.
    pub max_sessions: Option<u64>,
    /// Reads that are; `None` where the engine did not say.
    pub active_sessions: Option<u64>,
    /// Longest read at once; 0 is not known.
    pub max_transfer_size: u64,
    /// Whether bytes move by a device.
    pub real_rdma: bool,
    /// Whether NICs are simulated.
    pub simulated: bool,
    /// GID of the port; `None` where the engine knows none.
    pub port_gid: Option<String>,
    /// LID of the port; `None` where the engine knows none.
    pub port_lid: Option<u16>,
    /// Ways to authenticate.
    pub supported_auth: Vec<String>,
}

/// Why there are no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EngineError {
    /// No such needle or volume where it looked.
    #[error("there is no such needle")]
    Missing,
    /// It was deleted.
    #[error("the needle was deleted")]
    Deleted,
    /// Its time to live is over.
    #[error("the needle has expired")]
    Expired,
    /// It is there, with another cookie.
    #[error("the needle has another cookie")]
    WrongCookie,
    /// The range begins past the end.
    #[error("the range begins past the end: the needle has {whole_len} bytes")]
    PastEnd {
        /// Length of the content.
        whole_len: u64,
    },
    /// More than one read may have.
    #[error("one read has at most {max} bytes")]
    TooLong {
        /// What one may have.
        max: u64,
    },
    /// A checksum says that the bytes are not those that were stored.
    #[error("a checksum says that the bytes are not those that were stored")]
    Damaged,
    /// The volume's server exports it to nobody.
    #[error("the volume is not exported")]
    NotExported,
    /// The volume's engine went away.
    #[error("the exporting engine is gone")]
    PeerGone,
    /// The device went away.
    #[error("the device is gone")]
    DeviceGone,
    /// Not within its time.
    #[error("it took too long")]
    TimedOut,
    /// As many at once as there may be.
    #[error("the engine has as many reads as it can have")]
    Busy,
    /// The engine does not run, does not answer, or broke off.
    #[error("the engine cannot be reached: {0}")]
    EngineGone(String),
    /// A fault of our own programs.
    #[error("the engine has a fault: {0}")]
    Fault(String),
}

impl EngineError {
    /// A word for headers, logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            EngineError::Missing => "missing",
            EngineError::Deleted => "deleted",
            EngineError::Expired => "expired",
            EngineError::WrongCookie => "wrong-cookie",
            EngineError::PastEnd { .. } => "past-end",
            EngineError::TooLong { .. } => "too-long",
            EngineError::Damaged => "damaged",
            EngineError::NotExported => "not-exported",
            EngineError::PeerGone => "peer-gone",
            EngineError::DeviceGone => "device-gone",
            EngineError::TimedOut => "timed-out",
            EngineError::Busy => "busy",
            EngineError::EngineGone(_) => "engine-gone",
            EngineError::Fault(_) => "fault",
        }
    }
}

/// An engine. The sidecar knows nothing else of it: no RDMA, no socket, no process.
#[async_trait]
pub trait EngineReads: Send + Sync + 'static {
    /// Reads a range of a needle.
    async fn read(&self, wanted: &Wanted, deadline: Instant) -> Result<EngineBytes, EngineError>;

    /// What it says of itself.
    async fn about(&self, deadline: Instant) -> Result<About, EngineError>;

    /// How long a word and its answer take.
    async fn ping(&self, deadline: Instant) -> Result<Duration, EngineError>;

    /// Whether it is known to be of no more use.
    fn is_lost(&self) -> bool {
        false
    }
}
