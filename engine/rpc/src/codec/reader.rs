//! Reads a front: every length is checked before it is used.

use thiserror::Error;

use super::{FRONT_BYTES_MAX, SUM_BYTES, VERSION};
use crate::error::ChunkError;

/// What is wrong with a front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Another version.
    #[error("version {0} of the calls; this side speaks 1")]
    Version(u8),
    /// A call that no version has.
    #[error("the unknown call {0}")]
    Call(u8),
    /// Damaged on the way.
    #[error("a front whose CRC32-C is wrong: it was damaged on the way")]
    Damaged,
    /// It makes no sense.
    #[error("a front in which {0}")]
    Inside(&'static str),
}

impl From<Malformed> for ChunkError {
    fn from(what: Malformed) -> ChunkError {
        match what {
            Malformed::Version(_) | Malformed::Call(_) => ChunkError::Unsupported,
            Malformed::Damaged | Malformed::Inside(_) => ChunkError::Malformed,
        }
    }
}

/// Bytes that are still to be read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Behind the version and before the sum, both of which were good.
    pub(super) fn open(front: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        if front.len() > FRONT_BYTES_MAX {
            return Err(Malformed::Inside("there are more bytes than may be"));
        }
        match front.first() {
            Some(&VERSION) => {}
            Some(&other) => return Err(Malformed::Version(other)),
            None => return Err(Malformed::Inside("there is nothing")),
        }
        let cut = Malformed::Inside("something is cut off");
        let (said, sum) = front.split_last_chunk::<SUM_BYTES>().ok_or(cut)?;
        if crc32c::crc32c(said) != u32::from_le_bytes(*sum) {
            return Err(Malformed::Damaged);
        }
        Ok(Reader { rest: said.get(1..).ok_or(cut)? })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let split = self.rest.split_first_chunk();
        let (taken, rest) = split.ok_or(Malformed::Inside("something is cut off"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// All was read.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Inside("something is left over")) }
    }
}
