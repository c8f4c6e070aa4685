//! What is answered.

use super::reader::{Malformed, Reader};
use super::{FRONT_BYTES_MAX, READ, REMOVE, STAT, SUM_BYTES, VERSION, WRITE, sealed};
use crate::error::ChunkError;
use crate::store::ChunkStat;

/// Bytes of an answer to ReadChunk without its data: version, call, status, how, length and sum.
const READ_BYTES: usize = 1 + 1 + 2 + 1 + 4 + 4;

/// The most data that an answer to ReadChunk carries itself.
pub const READ_INLINE_BYTES_MAX: usize = FRONT_BYTES_MAX - READ_BYTES - SUM_BYTES;

const PLACED: u8 = 0;
const INLINE: u8 = 1;

/// What an answer says: the result, or why there is none.
pub type Outcome<T> = Result<T, ChunkError>;

/// ReadChunk succeeded. The data is poison until its sum is compared, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadReply {
    /// The data is where the caller wanted it.
    Placed {
        /// How much.
        len_bytes: u32,
        /// Of the data.
        crc32c: u32,
    },
    /// The answer carries the data, at most [`READ_INLINE_BYTES_MAX`].
    Inline {
        /// Of the data, as the store says.
        crc32c: u32,
        /// The data.
        data: Vec<u8>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To ReadChunk.
    Read(Outcome<ReadReply>),
    /// To WriteChunk.
    Write(Outcome<()>),
    /// To RemoveChunk.
    Remove(Outcome<()>),
    /// To StatChunk.
    Stat(Outcome<ChunkStat>),
    /// To a call that could not be read: the first two bytes of its front may be anything.
    Unread(ChunkError),
}

impl Reply {
    /// As a front. `None` when more data than fits was to be carried.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (call, error) = match self {
            Reply::Read(outcome) => (READ, outcome.as_ref().err()),
            Reply::Write(outcome) => (WRITE, outcome.as_ref().err()),
            Reply::Remove(outcome) => (REMOVE, outcome.as_ref().err()),
            Reply::Stat(outcome) => (STAT, outcome.as_ref().err()),
            Reply::Unread(error) => (0, Some(error)),
        };
        let (status, a, b) = error.map_or((0, 0, 0), |error| error.to_wire());
        let mut out = vec![VERSION, call];
        out.extend_from_slice(&status.to_le_bytes());
        match self {
            Reply::Read(Ok(ReadReply::Placed { len_bytes, crc32c })) => {
                out.push(PLACED);
                out.extend_from_slice(&len_bytes.to_le_bytes());
                out.extend_from_slice(&crc32c.to_le_bytes());
            }
            Reply::Read(Ok(ReadReply::Inline { crc32c, data })) => {
                if data.len() > READ_INLINE_BYTES_MAX {
                    return None;
                }
                out.push(INLINE);
                out.extend_from_slice(&(data.len() as u32).to_le_bytes());
                out.extend_from_slice(&crc32c.to_le_bytes());
                out.extend_from_slice(data);
            }
            Reply::Write(Ok(())) | Reply::Remove(Ok(())) => {}
            Reply::Stat(Ok(stat)) => out.extend_from_slice(&stat.len_bytes.to_le_bytes()),
            Reply::Read(Err(_))
            | Reply::Write(Err(_))
            | Reply::Remove(Err(_))
            | Reply::Stat(Err(_))
            | Reply::Unread(_) => {
                out.extend_from_slice(&a.to_le_bytes());
                out.extend_from_slice(&b.to_le_bytes());
            }
        }
        Some(sealed(out))
    }

    /// From a front.
    ///
    /// # Errors
    /// [`Malformed`]; nothing is allocated from a number that was not checked.
    pub fn decode(front: &[u8]) -> Result<Reply, Malformed> {
        let mut front = Reader::open(front)?;
        let call = front.u8()?;
        let status = front.u16()?;
        let reply = if status == 0 {
            match call {
                READ => Reply::Read(Ok(decode_read(&mut front)?)),
                WRITE => Reply::Write(Ok(())),
                REMOVE => Reply::Remove(Ok(())),
                STAT => Reply::Stat(Ok(ChunkStat { len_bytes: front.u64()? })),
                0 => return Err(Malformed::Inside("a call that could not be read succeeded")),
                other => return Err(Malformed::Call(other)),
            }
        } else {
            let error = ChunkError::from_wire(status, front.u64()?, front.u64()?);
            match call {
                READ => Reply::Read(Err(error)),
                WRITE => Reply::Write(Err(error)),
                REMOVE => Reply::Remove(Err(error)),
                STAT => Reply::Stat(Err(error)),
                0 => Reply::Unread(error),
                other => return Err(Malformed::Call(other)),
            }
        };
        front.end()?;
        Ok(reply)
    }
}

fn decode_read(front: &mut Reader<'_>) -> Result<ReadReply, Malformed> {
    let how = front.u8()?;
    let len_bytes = front.u32()?;
    let crc32c = front.u32()?;
    match how {
        PLACED => Ok(ReadReply::Placed { len_bytes, crc32c }),
        INLINE => {
            // A front has at most 512 bytes, so what is left of it is small.
            let data = front.rest();
            if data.len() != len_bytes as usize {
                return Err(Malformed::Inside("the data is longer or shorter than it says"));
            }
            Ok(ReadReply::Inline { crc32c, data: data.to_vec() })
        }
        _ => Err(Malformed::Inside("data is neither placed nor carried")),
    }
}
