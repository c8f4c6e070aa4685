//! Where the bytes of a `.dat` come from: the file itself, or shards. Always by reading at an offset: memory mapped from
//! a file that somebody else cuts short would end the process.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::shards::{Shards, TooFewShards};

/// Part of a file on disk that holds part of a needle.
#[derive(Debug, Clone)]
pub struct Extent {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where in it.
    pub file_offset_bytes: u64,
    /// How much.
    pub len_bytes: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    File(Arc<File>),
    Shards(Arc<Shards>),
}

/// Why bytes did not come.
#[derive(Debug)]
pub(crate) enum SourceFault {
    Io(io::Error),
    TooFewShards(TooFewShards),
}

impl From<io::Error> for SourceFault {
    fn from(fault: io::Error) -> Self {
        Self::Io(fault)
    }
}

impl Source {
    /// Whether both are the same open files.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(another)) => Arc::ptr_eq(one, another),
            (Self::Shards(one), Self::Shards(another)) => Arc::ptr_eq(one, another),
            _ => false,
        }
    }

    /// The same bytes without trusting a shard that holds some of the range; nothing for a volume of one file.
    pub(crate) fn without_each_shard(&self, range: Range<u64>) -> Vec<(u32, Self)> {
        let Self::Shards(shards) = self else { return Vec::new() };
        let others = shards.without_each(range).into_iter();
        others.map(|(shard, others)| (shard, Self::Shards(Arc::new(others)))).collect()
    }

    /// Fills the buffer; `UnexpectedEof` when the `.dat` ends first.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<(), SourceFault> {
        match self {
            Self::File(file) => Ok(file.read_exact_at(buffer, offset_bytes)?),
            Self::Shards(shards) => shards.read_exact_at(buffer, offset_bytes),
        }
    }

    /// Where the range is in files, in order; `None` when part of it has to be rebuilt.
    pub(crate) fn extents(&self, range: Range<u64>) -> Option<Vec<Extent>> {
        match self {
            Self::File(file) => Some(vec![Extent {
                file: Arc::clone(file),
                file_offset_bytes: range.start,
                len_bytes: range.end.saturating_sub(range.start),
            }]),
            Self::Shards(shards) => shards.extents(range),
        }
    }

    /// Gives the range block by block.
    pub(crate) fn read_blocks<E: From<SourceFault>>(
        &self,
        range: Range<u64>,
        mut block: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let len = range.end.saturating_sub(range.start).min(BLOCK_BYTES as u64) as usize;
        let mut buffer = vec![0; len];
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(BLOCK_BYTES as u64) as usize;
            self.read_exact_at(&mut buffer[..len], at)?;
            block(&buffer[..len])?;
            at += len as u64;
        }
        Ok(())
    }
}

/// How much is read at a time where a needle is only looked at.
const BLOCK_BYTES: usize = 256 << 10;
