//! Why a log cannot be folded, and why an entry cannot be right.

use std::collections::TryReserveError;
use std::io;

use crate::{IndexEntry, NeedleId, SuperBlock};

/// Why an `.idx` could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum IndexReadError {
    /// The reader failed.
    #[error(transparent)]
    Io(io::Error),
    /// It names more ids than were allowed for.
    #[error(
        "the index names more than {needles_max} needles; allow for more if this volume is meant to have them"
    )]
    TooMany {
        /// The most there may be.
        needles_max: usize,
    },
    /// There is no memory for it.
    #[error("no memory for the index: {0}; open fewer volumes, or allow for more memory")]
    NoMemory(#[from] TryReserveError),
}

/// Holds one entry against the `.dat`: see [`Index::check_against`].
pub(crate) fn check_entry(
    entry: &IndexEntry,
    superblock: &SuperBlock,
    dat_len_bytes: u64,
) -> Result<(), IndexError> {
    let first_record_bytes = superblock.first_record_offset_bytes();
    let (id, start_bytes) = (entry.id, entry.offset_bytes);
    if start_bytes < first_record_bytes {
        return Err(IndexError::BeforeFirstRecord { id, start_bytes, first_record_bytes });
    }
    let end_bytes = entry.record_range(superblock.version).map_or(u64::MAX, |range| range.end);
    if end_bytes > dat_len_bytes {
        return Err(IndexError::PastEnd { id, start_bytes, end_bytes, dat_len_bytes });
    }
    Ok(())
}

/// An index entry points where no record can be. The file's name is added by [`crate::FilesError::Index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The record would end past the end of the `.dat`.
    #[error(
        "the .idx puts needle {id} at bytes {start_bytes}..{end_bytes} of a .dat that is {dat_len_bytes} bytes long: \
         the two files are not of one volume and one moment, or the offset width is wrong; copy both again, or rebuild the .idx with `weed fix`"
    )]
    PastEnd {
        /// The needle.
        id: NeedleId,
        /// Where its record would begin in the `.dat`.
        start_bytes: u64,
        /// Where its record would end.
        end_bytes: u64,
        /// How long the `.dat` is.
        dat_len_bytes: u64,
    },
    /// The record would begin inside the superblock.
    #[error(
        "the .idx puts needle {id} at byte {start_bytes} of the \
         .dat, where the first record begins at {first_record_bytes}: the .idx is damaged or the offset width is \
         wrong; rebuild it with `weed fix`"
    )]
    BeforeFirstRecord {
        /// The needle.
        id: NeedleId,
        /// Where its record would begin in the `.dat`.
        start_bytes: u64,
        /// The first offset at which a record can begin.
        first_record_bytes: u64,
    },
}
