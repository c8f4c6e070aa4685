//! What a storage engine and its clients on the same machine say to each other: wire types and codecs without sockets.
//!
//! * [`seaweed`]: the protocol of SeaweedFS's RDMA sidecar, as its Go client and its engine speak it.
//! * [`native`]: our own, on the same socket: request ids, cancelling, bytes in shared memory.
//! * [`ring`]: submissions and completions in shared memory, for those who poll.
//!
//! Nothing is allocated from a number that somebody else sent before that number was compared with a limit.

mod bytes;
mod code;
pub mod native;
pub mod ring;
pub mod seaweed;
mod wanted;

pub use code::{Category, Code};
pub use wanted::{Details, Found, ReadPath, SERVER_BYTES_MAX, TEXT_BYTES_MAX, Wanted};

/// Where the engine's socket is unless somebody says otherwise: upstream's place.
pub const SOCKET_PATH: &str = "/tmp/rdma-engine.sock";
