//! The `.idx` log, folded into an ordered map of what is there now.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use crate::entry::LogEntry;
use crate::{IndexEntry, NeedleId, OffsetWidth, SuperBlock};

/// A live entry and which entry of the log it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The place in the `.dat`.
    pub entry: IndexEntry,
    /// Its number in the `.idx`, from 0.
    pub entry_number: u64,
}

/// What was met while folding the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexCounts {
    /// Whole entries in the log.
    pub entries: u64,
    /// Entries that delete: a negative size or offset 0.
    pub tombstones: u64,
    /// Bytes after the last whole entry (an append that was cut off); ignored.
    pub trailing_len_bytes: usize,
}

/// The needles that exist, in order of id, and the ids that were deleted. The last entry for an id wins.
///
/// Source: `weed/storage/idx/walk.go`, `weed/storage/needle_map_memory.go`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    width: OffsetWidth,
    live: BTreeMap<NeedleId, Listed>,
    deleted: BTreeSet<NeedleId>,
    counts: IndexCounts,
}

impl Index {
    /// Folds a whole `.idx`. Any bytes are an index: what they point at is [`Self::check_against`]'s business.
    #[must_use]
    pub fn parse(idx: &[u8], width: OffsetWidth) -> Self {
        let mut index =
            Self { width, live: BTreeMap::new(), deleted: BTreeSet::new(), counts: IndexCounts::default() };
        index.fold(idx);
        index
    }

    /// Folds an `.idx` as it comes from a reader, without holding it whole.
    ///
    /// # Errors
    ///
    /// What the reader reports.
    pub fn read(mut reader: impl Read, width: OffsetWidth) -> io::Result<Self> {
        let mut index = Self::parse(&[], width);
        let mut chunk = vec![0; width.entry_len_bytes() * 4096];
        let mut filled = 0;
        loop {
            let count = match reader.read(&mut chunk[filled..]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            filled += count;
            // A chunk is a whole number of entries, so only the last one can leave a partial entry.
            if count == 0 || filled == chunk.len() {
                index.fold(&chunk[..filled]);
                filled = 0;
            }
            if count == 0 {
                return Ok(index);
            }
        }
    }

    fn fold(&mut self, idx: &[u8]) {
        let entries = idx.chunks_exact(self.width.entry_len_bytes());
        self.counts.trailing_len_bytes = entries.remainder().len();
        for log in entries.filter_map(|bytes| LogEntry::parse(bytes, self.width)) {
            match u32::try_from(log.size) {
                Ok(size_bytes) if log.offset_bytes != 0 => {
                    let entry = IndexEntry { id: log.id, offset_bytes: log.offset_bytes, size_bytes };
                    self.deleted.remove(&log.id);
                    self.live.insert(log.id, Listed { entry, entry_number: self.counts.entries });
                }
                _ => {
                    self.counts.tombstones += 1;
                    self.live.remove(&log.id);
                    self.deleted.insert(log.id);
                }
            }
            self.counts.entries += 1;
        }
    }

    /// Holds every live entry against the `.dat` it belongs to: its record must lie between the first record and the
    /// end of the file. Entries that a later one replaced are not looked at.
    ///
    /// # Errors
    ///
    /// [`IndexError`] for the first entry, in order of id, that points elsewhere.
    pub fn check_against(&self, superblock: &SuperBlock, dat_len_bytes: u64) -> Result<(), IndexError> {
        let first_record_bytes = superblock.first_record_offset_bytes();
        for &Listed { entry, entry_number } in self.live.values() {
            let idx_offset_bytes = entry_number.saturating_mul(self.width.entry_len_bytes() as u64);
            let start_bytes = entry.offset_bytes;
            if start_bytes < first_record_bytes {
                return Err(IndexError::BeforeFirstRecord {
                    entry_number,
                    idx_offset_bytes,
                    id: entry.id,
                    start_bytes,
                    first_record_bytes,
                });
            }
            let end_bytes = entry.record_range(superblock.version).map_or(u64::MAX, |range| range.end);
            if end_bytes > dat_len_bytes {
                return Err(IndexError::PastEnd {
                    entry_number,
                    idx_offset_bytes,
                    id: entry.id,
                    start_bytes,
                    end_bytes,
                    dat_len_bytes,
                });
            }
        }
        Ok(())
    }

    /// The place of a needle that exists, empty ones included.
    #[must_use]
    pub fn get(&self, id: NeedleId) -> Option<&Listed> {
        self.live.get(&id)
    }

    /// Whether the log's last word on this id is a tombstone.
    #[must_use]
    pub fn is_deleted(&self, id: NeedleId) -> bool {
        self.deleted.contains(&id)
    }

    /// Every needle that exists, in order of id.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &Listed> {
        self.live.values()
    }

    /// What was met while folding.
    #[must_use]
    pub fn counts(&self) -> IndexCounts {
        self.counts
    }

    /// The offset width it was read with.
    #[must_use]
    pub fn offset_width(&self) -> OffsetWidth {
        self.width
    }
}

/// An index entry points where no record can be. The file's name is added by [`crate::FilesError::Index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The record would end past the end of the `.dat`.
    #[error(
        "entry {entry_number} (at byte {idx_offset_bytes} of the .idx) puts needle {id} at bytes \
         {start_bytes}..{end_bytes} of a .dat that is {dat_len_bytes} bytes long: the two files are not of one \
         volume and one moment, or the offset width is wrong; copy both again, or rebuild the .idx with `weed fix`"
    )]
    PastEnd {
        /// Number of the entry in the `.idx`, from 0.
        entry_number: u64,
        /// Where the entry begins in the `.idx`.
        idx_offset_bytes: u64,
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
        "entry {entry_number} (at byte {idx_offset_bytes} of the .idx) puts needle {id} at byte {start_bytes} of the \
         .dat, where the first record begins at {first_record_bytes}: the .idx is damaged or the offset width is \
         wrong; rebuild it with `weed fix`"
    )]
    BeforeFirstRecord {
        /// Number of the entry in the `.idx`, from 0.
        entry_number: u64,
        /// Where the entry begins in the `.idx`.
        idx_offset_bytes: u64,
        /// The needle.
        id: NeedleId,
        /// Where its record would begin in the `.dat`.
        start_bytes: u64,
        /// The first offset at which a record can begin.
        first_record_bytes: u64,
    },
}
