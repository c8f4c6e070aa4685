//! Chunks of files over RDMA: the calls as they travel, and the stores that answer them.
//!
//! A file is an inode number and chunks; a chunk is named by a [`ChunkKey`]. Every byte is covered by a CRC32-C from the
//! client that wrote it to the client that reads it: the writer says it, the store verifies it before anything changes
//! and keeps one for every block, and a read is answered with one. A buffer is poison until that one was compared.
//!
//! * [`ChunkServer`] answers calls from a store; [`ChunkClient`] calls, verifies, and repeats what may be repeated.
//! * [`Call`], [`Service`], [`Services`]: typed services on a messenger, of which chunks are one.
//! * [`Request`] and [`Reply`]: what stands in the inline part of a message.
//! * [`ChunkStore`]: what a server keeps chunks in. [`MemoryStore`] and [`FileStore`] are two.
//! * [`Applied`]: why a write is applied once, however often it is sent.
//! * [`Disk`]: what a [`FileStore`] stands on; tests crash one.

mod applied;
mod call;
mod chunk_calls;
mod chunk_client;
mod chunk_server;
mod codec;
mod crc;
mod disk;
mod error;
mod failure;
mod file_store;
mod key;
mod memory_store;
mod service;
mod store;

pub use applied::{Act, Applied, AppliedLimits, Deed, Fate};
pub use call::{Answered, Call, CallError, Carried, call};
pub use chunk_calls::{ReadChunk, RemoveChunk, StatChunk, WriteChunk};
pub use chunk_client::{ChunkClient, ChunkClientConfig, ChunkClientStats, ChunkData, POISON, WriteBuffer};
pub use chunk_server::{CALL_NS_MAX, ChunkServer, ChunkServerConfig, ChunkServerStats};
pub use codec::{
    FRONT_BYTES_MAX, Malformed, Outcome, READ_INLINE_BYTES_MAX, ReadCall, ReadReply, Reply, Request, VERSION,
};
pub use crc::{Joiner, crc32c_append_of, crc32c_blocks_of, crc32c_of};
pub use disk::{Disk, DiskFile, FolderDisk, Name, Waits};
pub use error::ChunkError;
pub use failure::{ChunkFailure, Effect, Failed};
pub use file_store::{FileStore, OpenError};
pub use key::{ChunkKey, Once, WriteId};
pub use memory_store::MemoryStore;
pub use service::{Answer, Asked, Service, Services};
pub use store::{ChunkStat, ChunkStore, RemoveOrder, StoreLimits, WriteOrder};
