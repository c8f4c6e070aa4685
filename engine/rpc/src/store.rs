//! What a server keeps chunks in.

use async_trait::async_trait;
use wavetank_contract::Lease;

use crate::error::ChunkError;
use crate::key::{ChunkKey, Once};

/// How much a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Longest read or write, in bytes.
    pub call_bytes_max: u32,
    /// Longest chunk, in bytes.
    pub chunk_bytes_max: u64,
    /// All that is kept, in bytes, with checksums and what is not yet collected.
    pub capacity_bytes: u64,
}

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits { call_bytes_max: 4 << 20, chunk_bytes_max: 64 << 20, capacity_bytes: u64::MAX }
    }
}

impl StoreLimits {
    /// Checks a range of a call: something, not too much, inside what a chunk and a lease may hold.
    pub(crate) fn check(
        &self,
        offset: u64,
        len_bytes: u32,
        lease: &Lease,
        at: u64,
    ) -> Result<(), ChunkError> {
        if len_bytes == 0 {
            return Err(ChunkError::Empty);
        }
        let within = |asked: u64, limit_bytes: u64| {
            let asked_bytes = asked;
            if asked <= limit_bytes { Ok(()) } else { Err(ChunkError::TooLarge { asked_bytes, limit_bytes }) }
        };
        within(len_bytes.into(), self.call_bytes_max.into())?;
        within(offset.saturating_add(len_bytes.into()), self.chunk_bytes_max)?;
        within(at.saturating_add(len_bytes.into()), lease.len())
    }
}

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOrder {
    /// Where to.
    pub key: ChunkKey,
    /// Where in the chunk, in bytes. What is skipped past its end reads as zeros.
    pub offset: u64,
    /// How much.
    pub len_bytes: u32,
    /// CRC32-C of the data, as its writer says.
    pub crc32c: u32,
    /// Its name.
    pub once: Once,
    /// Whether the answer waits until it would outlive a loss of power.
    pub durable: bool,
}

/// A removal. It has a name like a write: a late repeat must not remove what was written since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveOrder {
    /// What.
    pub key: ChunkKey,
    /// Its name.
    pub once: Once,
    /// Whether the answer waits until it would outlive a loss of power.
    pub durable: bool,
}

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkStat {
    /// Its length.
    pub len_bytes: u64,
}

/// Keeps chunks. Calls may overlap, on one thread: leases never cross threads.
///
/// A write is verified before anything changes, is wholly visible or not at all, and is applied once however often it is
/// sent. Dropping a future leaves its call done or not done, never half done; the repeat with the same id finds out.
#[async_trait(?Send)]
pub trait ChunkStore {
    /// Copies `len_bytes` at `offset` of the chunk into the lease, from byte `at` of it, and answers with their CRC32-C.
    /// After an error the lease's bytes mean nothing.
    async fn read(
        &self,
        key: ChunkKey,
        offset: u64,
        len_bytes: u32,
        into: &Lease,
        at: u64,
    ) -> Result<u32, ChunkError>;

    /// Takes the data from the lease, from byte `at` of it.
    async fn write(&self, order: &WriteOrder, from: &Lease, at: u64) -> Result<(), ChunkError>;

    /// Removes the chunk.
    async fn remove(&self, order: &RemoveOrder) -> Result<(), ChunkError>;

    /// Looks at it.
    async fn stat(&self, key: ChunkKey) -> Result<ChunkStat, ChunkError>;

    /// Makes everything durable that was written so far, for a store in which that means something.
    async fn flush(&self) -> Result<(), ChunkError> {
        Ok(())
    }

    /// Forgets a writer from whom nothing can arrive any more, not even a repeat: its session has ended for good.
    fn retire(&self, writer: u64);

    /// Forgets the writers of before a restart that have not been heard from since. For when no repeat of a call from before
    /// the restart can come any more, as its deadline has passed.
    fn end_grace(&self);
}
