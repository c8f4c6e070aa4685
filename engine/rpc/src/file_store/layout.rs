//! The layout of a chunk's file: a header, then records, each of whole blocks.
//!
//! A record is a head and the blocks it brings. Its head has a sum of itself, one for every block, and the sum of the head
//! before it: a chain, so that nothing of an earlier life of the file is ever taken for the record that was to follow.
//! Numbers are little-endian.
//!
//! | where | what |
//! |---|---|
//! | header, byte 0 | magic 8, version u32, block bytes u32, inode u64, index u32, CRC32-C u32 |
//! | header, bytes 1024 and 2048 | mark: magic u32, 0 u32, synced to u64, CRC32-C u32 |
//! | head | magic u32, kind u8, 0 u8 x 3, number u64, previous u32, first block u32, blocks u32, data bytes u32, length u64, writer u64, sequence u64, oldest open u64, offset u64, data CRC32-C u32, index u32, inode u64, CRC32-C u32 per block, zeros, CRC32-C u32 of the head |

use std::io;

use crate::applied::{Act, Deed};
use crate::crc::BLOCK_BYTES;
use crate::disk::DiskFile;
use crate::key::{ChunkKey, Once, WriteId};

pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;

const HEADER_MAGIC: [u8; 8] = *b"WTCHUNK\n";
const HEADER_BYTES: usize = 32;
const MARK_MAGIC: u32 = u32::from_le_bytes(*b"WTMK");
const MARK_BYTES: usize = 20;
const MARKS_AT: [usize; 2] = [1024, 2048];
const HEAD_MAGIC: u32 = u32::from_le_bytes(*b"WTRC");
const SUMS_AT: usize = 88;

/// Most blocks that one record may bring. Looked at before anything is allocated, as is the length of the file.
const RECORD_BLOCKS_MAX: u32 = 1 << 20;

/// Bytes of a deed in a record of deeds.
pub(super) const DEED_BYTES: usize = 64;

/// The header of a chunk's file, as long as what of it is said.
pub(super) fn header(key: ChunkKey) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&HEADER_MAGIC);
    out[8..12].copy_from_slice(&1u32.to_le_bytes());
    out[12..16].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
    out[16..24].copy_from_slice(&key.inode.to_le_bytes());
    out[24..28].copy_from_slice(&key.index.to_le_bytes());
    let sum = crc32c::crc32c(&out[..28]);
    out[28..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// The first link of the chain.
pub(super) fn header_sum(key: ChunkKey) -> u32 {
    crc32c::crc32c(&header(key))
}

/// How far a file is known to be on disk, in the header's other slot each time: one of the two is always whole.
pub(super) fn mark(synced_to: u64, turn: u64) -> (u64, [u8; MARK_BYTES]) {
    let mut out = [0; MARK_BYTES];
    out[..4].copy_from_slice(&MARK_MAGIC.to_le_bytes());
    out[8..16].copy_from_slice(&synced_to.to_le_bytes());
    let sum = crc32c::crc32c(&out[..16]);
    out[16..].copy_from_slice(&sum.to_le_bytes());
    (MARKS_AT[(turn % 2) as usize] as u64, out)
}

/// What the first block of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A chunk's file that is on disk at least this far; 0 when no mark was written.
    Good(u64),
    /// It never got that far before a crash: nothing in it was ever durable.
    Torn,
    /// Something else, or damaged.
    Damaged,
}

pub(super) fn start(key: ChunkKey, block: &[u8]) -> Start {
    let synced_to = MARKS_AT.iter().filter_map(|&at| read_mark(block.get(at..at + MARK_BYTES)?)).max();
    let expected = header(key);
    if block.len() == BLOCK_BYTES && block[..HEADER_BYTES] == expected {
        return Start::Good(synced_to.unwrap_or(0));
    }
    let partly = block.iter().zip(expected.iter().chain(std::iter::repeat(&0)));
    let is_partly = partly.into_iter().all(|(is, should)| is == should || *is == 0);
    if synced_to.is_none() && is_partly { Start::Torn } else { Start::Damaged }
}

fn read_mark(bytes: &[u8]) -> Option<u64> {
    let (said, sum) = bytes.split_last_chunk::<4>()?;
    let magic = said.first_chunk::<4>()?;
    let synced_to = said.last_chunk::<8>()?;
    let good = crc32c::crc32c(said) == u32::from_le_bytes(*sum) && *magic == MARK_MAGIC.to_le_bytes();
    good.then(|| u64::from_le_bytes(*synced_to))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Blocks of a write.
    Write = 1,
    /// The chunk ends to be.
    Remove = 2,
    /// Blocks that came from an older file.
    Blocks = 3,
    /// Deeds that came from an older file.
    Deeds = 4,
}

/// The head of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) previous: u32,
    pub(super) first_block: u32,
    /// Bytes of data of a write; number of deeds.
    pub(super) data_bytes: u32,
    /// Of the chunk, afterwards.
    pub(super) len_bytes: u64,
    pub(super) once: Once,
    pub(super) offset: u64,
    pub(super) data_crc32c: u32,
    /// Of the blocks.
    pub(super) sums: Vec<u32>,
}

/// Bytes of the head of a record with that many blocks.
pub(super) fn head_bytes(blocks: usize) -> usize {
    (SUMS_AT + 4 * blocks + 4).next_multiple_of(BLOCK_BYTES)
}

impl Head {
    pub(super) fn record_bytes(&self) -> u64 {
        head_bytes(self.sums.len()) as u64 + self.sums.len() as u64 * BLOCK
    }

    /// What it did, if it was a client's.
    pub(super) fn deed(&self, key: ChunkKey) -> Option<Deed> {
        let Head { once, offset, data_bytes: len_bytes, data_crc32c: crc32c, .. } = *self;
        match self.kind {
            Kind::Write => Some(Deed { once, act: Act::Write { key, offset, len_bytes, crc32c } }),
            Kind::Remove => Some(Deed { once, act: Act::Remove { key } }),
            Kind::Blocks | Kind::Deeds => None,
        }
    }

    /// Its bytes and its sum, which the next one repeats.
    pub(super) fn encode(&self, key: ChunkKey) -> (Vec<u8>, u32) {
        let mut out = Vec::with_capacity(head_bytes(self.sums.len()));
        out.extend_from_slice(&HEAD_MAGIC.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        out.extend_from_slice(&self.number.to_le_bytes());
        for word in [self.previous, self.first_block, self.sums.len() as u32, self.data_bytes] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let Once { id: WriteId { writer, sequence }, oldest_open } = self.once;
        for word in [self.len_bytes, writer, sequence, oldest_open, self.offset] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.data_crc32c.to_le_bytes());
        out.extend_from_slice(&key.index.to_le_bytes());
        out.extend_from_slice(&key.inode.to_le_bytes());
        self.sums.iter().for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
        out.resize(head_bytes(self.sums.len()) - 4, 0);
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        (out, sum)
    }

    /// Reads the head at `at` of a file, and its sum. `None` when there is none that is whole and fits into the file.
    pub(super) fn read(
        file: &dyn DiskFile,
        at: u64,
        file_bytes: u64,
        key: ChunkKey,
    ) -> io::Result<Option<(Head, u32)>> {
        let room = file_bytes.saturating_sub(at);
        if room < BLOCK {
            return Ok(None);
        }
        let mut bytes = vec![0; BLOCK_BYTES];
        file.read_at(at, &mut bytes)?;
        let Some(blocks) = block_count(&bytes) else {
            return Ok(None);
        };
        let head = head_bytes(blocks as usize);
        if head as u64 + u64::from(blocks) * BLOCK > room {
            return Ok(None);
        }
        bytes.resize(head, 0);
        file.read_at(at + BLOCK, &mut bytes[BLOCK_BYTES..])?;
        Ok(Head::decode(&bytes, blocks as usize, key))
    }

    fn decode(bytes: &[u8], blocks: usize, key: ChunkKey) -> Option<(Head, u32)> {
        let (said, sum) = bytes.split_last_chunk::<4>()?;
        let sum = u32::from_le_bytes(*sum);
        if crc32c::crc32c(said) != sum {
            return None;
        }
        let kind = match said.get(4)? {
            1 => Kind::Write,
            2 => Kind::Remove,
            3 => Kind::Blocks,
            4 => Kind::Deeds,
            _ => return None,
        };
        let is_ours =
            word(said, 0)? == HEAD_MAGIC && word(said, 76)? == key.index && long(said, 80)? == key.inode;
        if !is_ours {
            return None;
        }
        let id = WriteId { writer: long(said, 40)?, sequence: long(said, 48)? };
        let sums = said.get(SUMS_AT..SUMS_AT + 4 * blocks)?.chunks_exact(4);
        let head = Head {
            kind,
            number: long(said, 8)?,
            previous: word(said, 16)?,
            first_block: word(said, 20)?,
            data_bytes: word(said, 28)?,
            len_bytes: long(said, 32)?,
            once: Once { id, oldest_open: long(said, 56)? },
            offset: long(said, 64)?,
            data_crc32c: word(said, 72)?,
            sums: sums.filter_map(|sum| word(sum, 0)).collect(),
        };
        Some((head, sum))
    }
}

fn block_count(head: &[u8]) -> Option<u32> {
    let blocks = word(head, 24)?;
    (word(head, 0)? == HEAD_MAGIC && blocks <= RECORD_BLOCKS_MAX).then_some(blocks)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|long| u64::from_le_bytes(*long))
}

/// Deeds as whole blocks.
pub(super) fn encode_deeds(deeds: &[Deed]) -> Vec<u8> {
    let mut out = Vec::new();
    for Deed { once, act } in deeds {
        let (kind, offset, len_bytes, crc32c) = match *act {
            Act::Write { offset, len_bytes, crc32c, .. } => (Kind::Write, offset, len_bytes, crc32c),
            Act::Remove { .. } => (Kind::Remove, 0, 0, 0),
        };
        for long in [once.id.writer, once.id.sequence, once.oldest_open, offset] {
            out.extend_from_slice(&long.to_le_bytes());
        }
        out.extend_from_slice(&len_bytes.to_le_bytes());
        out.extend_from_slice(&crc32c.to_le_bytes());
        out.push(kind as u8);
        out.resize(out.len().next_multiple_of(DEED_BYTES), 0);
    }
    out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
    out
}

/// `None` when they make no sense.
pub(super) fn decode_deeds(bytes: &[u8], count: u32, key: ChunkKey) -> Option<Vec<Deed>> {
    let deeds = bytes.chunks_exact(DEED_BYTES);
    if count as usize > deeds.len() {
        return None;
    }
    deeds.take(count as usize).map(|deed| decode_deed(deed, key)).collect()
}

fn decode_deed(bytes: &[u8], key: ChunkKey) -> Option<Deed> {
    let id = WriteId { writer: long(bytes, 0)?, sequence: long(bytes, 8)? };
    let once = Once { id, oldest_open: long(bytes, 16)? };
    let act = match bytes.get(40)? {
        1 => Act::Write {
            key,
            offset: long(bytes, 24)?,
            len_bytes: word(bytes, 32)?,
            crc32c: word(bytes, 36)?,
        },
        2 => Act::Remove { key },
        _ => return None,
    };
    Some(Deed { once, act })
}
