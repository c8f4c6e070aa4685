//! Chunks in memory, checked like those on disk.

use std::cell::RefCell;
use std::collections::BTreeMap;

use async_trait::async_trait;
use wavetank_contract::Lease;

use crate::applied::{Act, Applied, AppliedLimits, Fate};
use crate::crc::{BLOCK_BYTES, Joiner};
use crate::error::ChunkError;
use crate::key::{ChunkKey, Once};
use crate::store::{ChunkStat, ChunkStore, RemoveOrder, StoreLimits, WriteOrder};

/// One block and its sum; the sum covers all of it, whatever the chunk's length.
#[derive(Debug)]
struct Block {
    bytes: Box<[u8; BLOCK_BYTES]>,
    crc32c: u32,
}

impl Block {
    fn is_whole(&self) -> bool {
        crc32c::crc32c(&self.bytes[..]) == self.crc32c
    }
}

/// A chunk; blocks that nobody wrote are zeros.
#[derive(Debug, Default)]
struct Chunk {
    len_bytes: u64,
    blocks: BTreeMap<u64, Block>,
}

#[derive(Debug)]
struct Inside {
    chunks: BTreeMap<ChunkKey, Chunk>,
    used_bytes: u64,
    applied: Applied,
}

/// Keeps chunks in memory, in blocks with a sum each. Durable means nothing here: it all goes with the process.
#[derive(Debug)]
pub struct MemoryStore {
    limits: StoreLimits,
    joiner: Joiner,
    inside: RefCell<Inside>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: StoreLimits, applied: AppliedLimits) -> MemoryStore {
        let inside = Inside { chunks: BTreeMap::new(), used_bytes: 0, applied: Applied::new(applied) };
        MemoryStore { limits, joiner: Joiner::new(BLOCK_BYTES), inside: RefCell::new(inside) }
    }

    /// Bytes of all blocks.
    pub fn used_bytes(&self) -> u64 {
        self.inside.borrow().used_bytes
    }

    /// A cause for tests: memory loses one bit of a chunk. False when no block is there.
    pub fn flip_bit(&self, key: ChunkKey, offset: u64, bit: u8) -> bool {
        let mut inside = self.inside.borrow_mut();
        let block =
            inside.chunks.get_mut(&key).and_then(|c| c.blocks.get_mut(&(offset / BLOCK_BYTES as u64)));
        block.map(|block| block.bytes[(offset % BLOCK_BYTES as u64) as usize] ^= 1 << (bit % 8)).is_some()
    }

    fn once(
        &self,
        once: &Once,
        act: &Act,
        apply: impl FnOnce(&mut Inside) -> Result<(), ChunkError>,
    ) -> Result<(), ChunkError> {
        let mut inside = self.inside.borrow_mut();
        match inside.applied.fate(once, act)? {
            Fate::Repeat { outcome, .. } => outcome,
            Fate::New => {
                let outcome = apply(&mut inside);
                inside.applied.record(once, act, outcome);
                outcome
            }
        }
    }
}

/// The parts of a range by block: which block, where in it, how much, where in the range.
pub(crate) fn parts(offset: u64, len_bytes: u32) -> impl Iterator<Item = (u64, usize, usize, u64)> {
    let block_bytes = BLOCK_BYTES as u64;
    let end = offset + u64::from(len_bytes);
    (offset / block_bytes..end.div_ceil(block_bytes)).map(move |block| {
        let from = offset.max(block * block_bytes);
        let to = end.min((block + 1) * block_bytes);
        (block, (from - block * block_bytes) as usize, (to - from) as usize, from - offset)
    })
}

#[async_trait(?Send)]
impl ChunkStore for MemoryStore {
    async fn read(
        &self,
        key: ChunkKey,
        offset: u64,
        len_bytes: u32,
        into: &Lease,
        at: u64,
    ) -> Result<u32, ChunkError> {
        self.limits.check(offset, len_bytes, into, at)?;
        let inside = self.inside.borrow();
        let chunk = inside.chunks.get(&key).ok_or(ChunkError::NotFound)?;
        if offset + u64::from(len_bytes) > chunk.len_bytes {
            return Err(ChunkError::OutOfRange { len_bytes: chunk.len_bytes });
        }
        let zeros = [0; BLOCK_BYTES];
        let mut sum = 0;
        for (index, from, len, done) in parts(offset, len_bytes) {
            let part = match chunk.blocks.get(&index) {
                Some(block) if block.is_whole() => {
                    let part = &block.bytes[from..from + len];
                    sum = match len {
                        // Its sum was just found to be right: once over it is enough.
                        BLOCK_BYTES => self.joiner.join(sum, block.crc32c),
                        _ => crc32c::crc32c_append(sum, part),
                    };
                    part
                }
                Some(_) => return Err(ChunkError::CorruptAtRest { offset: index * BLOCK_BYTES as u64 }),
                None => {
                    sum = crc32c::crc32c_append(sum, &zeros[..len]);
                    &zeros[..len]
                }
            };
            into.write(at + done, part);
        }
        Ok(sum)
    }

    async fn write(&self, order: &WriteOrder, from: &Lease, at: u64) -> Result<(), ChunkError> {
        let WriteOrder { key, offset, len_bytes, crc32c: expected, .. } = *order;
        self.limits.check(offset, len_bytes, from, at)?;
        self.once(&order.once, &order.into(), |inside| {
            // Its own copy is what is verified and kept: the lease's bytes may change.
            let old = inside.chunks.get(&key);
            let mut new = Vec::with_capacity(parts(offset, len_bytes).count());
            let (mut found, mut fresh, mut damaged) = (0, 0, None);
            for (index, start, len, done) in parts(offset, len_bytes) {
                let before = old.and_then(|chunk| chunk.blocks.get(&index));
                let mut bytes = Box::new([0; BLOCK_BYTES]);
                if len < BLOCK_BYTES
                    && let Some(block) = before
                {
                    bytes.copy_from_slice(&block.bytes[..]);
                    if !block.is_whole() {
                        damaged = damaged.or(Some(index));
                    }
                }
                from.read(at + done, &mut bytes[start..start + len]);
                let crc32c = crc32c::crc32c(&bytes[..]);
                found = match len {
                    BLOCK_BYTES => self.joiner.join(found, crc32c),
                    _ => crc32c::crc32c_append(found, &bytes[start..start + len]),
                };
                fresh += if before.is_none() { BLOCK_BYTES as u64 } else { 0 };
                new.push((index, Block { bytes, crc32c }));
            }
            if found != expected {
                return Err(ChunkError::CorruptOnTheWay { expected, found });
            }
            if let Some(index) = damaged {
                return Err(ChunkError::CorruptAtRest { offset: index * BLOCK_BYTES as u64 });
            }
            let free_bytes = self.limits.capacity_bytes.saturating_sub(inside.used_bytes);
            if fresh > free_bytes {
                return Err(ChunkError::NoSpace { need_bytes: fresh, free_bytes });
            }
            inside.used_bytes += fresh;
            let chunk = inside.chunks.entry(key).or_default();
            chunk.len_bytes = chunk.len_bytes.max(offset + u64::from(len_bytes));
            chunk.blocks.extend(new);
            Ok(())
        })
    }

    async fn remove(&self, order: &RemoveOrder) -> Result<(), ChunkError> {
        self.once(&order.once, &order.into(), |inside| {
            let chunk = inside.chunks.remove(&order.key).ok_or(ChunkError::NotFound)?;
            inside.used_bytes -= (chunk.blocks.len() * BLOCK_BYTES) as u64;
            Ok(())
        })
    }

    async fn stat(&self, key: ChunkKey) -> Result<ChunkStat, ChunkError> {
        let inside = self.inside.borrow();
        let chunk = inside.chunks.get(&key).ok_or(ChunkError::NotFound)?;
        Ok(ChunkStat { len_bytes: chunk.len_bytes })
    }

    fn retire(&self, writer: u64) {
        self.inside.borrow_mut().applied.retire(writer);
    }

    fn end_grace(&self) {
        self.inside.borrow_mut().applied.end_grace();
    }
}
