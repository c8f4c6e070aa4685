//! What is asked.

use super::reader::{Malformed, Reader};
use super::{DURABLE, READ, REMOVE, STAT, VERSION, WRITE, sealed};
use crate::key::{ChunkKey, Once, WriteId};
use crate::store::{RemoveOrder, WriteOrder};

/// ReadChunk. Where the data goes is said by the message that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadCall {
    /// From where.
    pub key: ChunkKey,
    /// Where in the chunk, in bytes.
    pub offset: u64,
    /// How much.
    pub len_bytes: u32,
}

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// ReadChunk.
    Read(ReadCall),
    /// WriteChunk.
    Write(WriteOrder),
    /// RemoveChunk.
    Remove(RemoveOrder),
    /// StatChunk.
    Stat(ChunkKey),
}

impl Request {
    /// As a front.
    pub fn encode(&self) -> Vec<u8> {
        let (call, durable, key) = match self {
            Request::Read(read) => (READ, false, read.key),
            Request::Write(write) => (WRITE, write.durable, write.key),
            Request::Remove(remove) => (REMOVE, remove.durable, remove.key),
            Request::Stat(key) => (STAT, false, *key),
        };
        let mut out = vec![VERSION, call];
        out.extend_from_slice(&(if durable { DURABLE } else { 0 }).to_le_bytes());
        out.extend_from_slice(&key.inode.to_le_bytes());
        out.extend_from_slice(&key.index.to_le_bytes());
        match self {
            Request::Read(read) => {
                out.extend_from_slice(&read.offset.to_le_bytes());
                out.extend_from_slice(&read.len_bytes.to_le_bytes());
            }
            Request::Write(write) => {
                out.extend_from_slice(&write.offset.to_le_bytes());
                out.extend_from_slice(&write.len_bytes.to_le_bytes());
                out.extend_from_slice(&write.crc32c.to_le_bytes());
                encode_once(&write.once, &mut out);
            }
            Request::Remove(remove) => encode_once(&remove.once, &mut out),
            Request::Stat(_) => {}
        }
        sealed(out)
    }

    /// From a front. Limits of lengths are the store's to check; nothing is allocated here.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong; as a [`ChunkError`](crate::ChunkError) it is an answer.
    pub fn decode(front: &[u8]) -> Result<Request, Malformed> {
        let mut front = Reader::open(front)?;
        let call = front.u8()?;
        if ![READ, WRITE, REMOVE, STAT].contains(&call) {
            return Err(Malformed::Call(call));
        }
        let flags = front.u16()?;
        let known = if matches!(call, WRITE | REMOVE) { DURABLE } else { 0 };
        if flags & !known != 0 {
            return Err(Malformed::Inside("a flag is set that this call does not have"));
        }
        let durable = flags & DURABLE != 0;
        let key = ChunkKey { inode: front.u64()?, index: front.u32()? };
        let request = match call {
            READ => Request::Read(ReadCall { key, offset: front.u64()?, len_bytes: front.u32()? }),
            WRITE => Request::Write(WriteOrder {
                key,
                offset: front.u64()?,
                len_bytes: front.u32()?,
                crc32c: front.u32()?,
                once: decode_once(&mut front)?,
                durable,
            }),
            REMOVE => Request::Remove(RemoveOrder { key, once: decode_once(&mut front)?, durable }),
            _ => Request::Stat(key),
        };
        front.end()?;
        Ok(request)
    }
}

fn encode_once(once: &Once, out: &mut Vec<u8>) {
    out.extend_from_slice(&once.id.writer.to_le_bytes());
    out.extend_from_slice(&once.id.sequence.to_le_bytes());
    out.extend_from_slice(&once.oldest_open.to_le_bytes());
}

fn decode_once(front: &mut Reader<'_>) -> Result<Once, Malformed> {
    let id = WriteId { writer: front.u64()?, sequence: front.u64()? };
    Ok(Once { id, oldest_open: front.u64()? })
}
