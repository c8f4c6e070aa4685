//! Chunks of files over RDMA: the calls as they travel, and the stores that answer them.
//!
//! A file is an inode number and chunks; a chunk is named by a [`ChunkKey`]. Every byte is covered by a CRC32-C from the
//! client that wrote it to the client that reads it: the writer says it, the store verifies it before anything changes
//! and keeps one for every block, and a read is answered with one. A buffer is poison until that one was compared.
//!
//! * [`Request`] and [`Reply`]: what stands in the inline part of a message.
//! * [`ChunkStore`]: what a server keeps chunks in. [`MemoryStore`] and [`FileStore`] are two.
//! * [`Applied`]: why a write is applied once, however often it is sent.
//! * [`Disk`]: what a [`FileStore`] stands on; tests crash one.

mod applied;
mod codec;
mod crc;
mod disk;
mod error;
mod file_store;
mod key;
mod memory_store;
mod store;

pub use applied::{Act, Applied, AppliedLimits, Deed, Fate};
pub use codec::{
    FRONT_BYTES_MAX, Malformed, Outcome, READ_INLINE_BYTES_MAX, ReadCall, ReadReply, Reply, Request, VERSION,
};
pub use crc::crc32c_of;
pub use disk::{Disk, DiskFile, FolderDisk, Name, Waits};
pub use error::ChunkError;
pub use file_store::{FileStore, OpenError};
pub use key::{ChunkKey, Once, WriteId};
pub use memory_store::MemoryStore;
pub use store::{ChunkStat, ChunkStore, RemoveOrder, StoreLimits, WriteOrder};
