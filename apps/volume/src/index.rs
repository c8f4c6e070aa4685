//! The `.idx` log, folded into what is there now, in little memory.

mod directory;
mod error;
mod folding;
mod slot;
mod table;

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::entry::LogEntry;
use crate::{IndexEntry, NeedleId, OffsetWidth, SuperBlock};

pub(crate) use error::check_entry;
pub use error::{IndexError, IndexReadError};
use folding::Folding;
use slot::Slot;
use table::Table;

/// What was met while folding the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexCounts {
    /// Whole entries in the log.
    pub entries: u64,
    /// Entries that delete: a negative size or offset 0.
    pub tombstones: u64,
    /// Bytes after the last whole entry (an append that was cut off, or is under way); ignored.
    pub trailing_len_bytes: usize,
}

/// The needles that exist and the ids that were deleted. The last entry for an id wins.
///
/// Both are rows of one sorted table, 16 to 17 bytes each, below a directory of half a byte. What the log brings later
/// waits in a small tree and is merged when that has grown to a part of the table.
///
/// Source: `weed/storage/idx/walk.go`, `weed/storage/needle_map_memory.go`.
#[derive(Debug, Clone)]
pub struct Index {
    width: OffsetWidth,
    table: Table,
    /// By id: what the log has said since the table was last merged.
    recent: BTreeMap<u64, Slot>,
    live: usize,
    counts: IndexCounts,
}

/// The tree is merged when it has more entries than this, and than the table's rows divided by [`RECENT_PART`].
const RECENT_ENTRIES_MIN: usize = 4096;
const RECENT_PART: usize = 256;
/// What one entry of the tree takes, its part of the nodes included.
const RECENT_ENTRY_BYTES: usize = 56;

impl Index {
    /// How many ids an index holds unless its reader says otherwise: 2^28, in 4.5 GB.
    pub const NEEDLES_MAX: usize = 1 << 28;

    /// An index of nothing.
    #[must_use]
    pub fn empty(width: OffsetWidth) -> Self {
        let (table, recent) = (Table::default(), BTreeMap::new());
        Self { width, table, recent, live: 0, counts: IndexCounts::default() }
    }

    /// Folds a whole `.idx`. Any bytes are an index: what they point at is [`Self::check_against`]'s business. Takes
    /// about as much memory as `idx` itself.
    #[must_use]
    pub fn parse(idx: &[u8], width: OffsetWidth) -> Self {
        // A slice in memory cannot fail to be read, and bounds its entries by its own length.
        Self::read(idx, width, usize::MAX).unwrap_or_else(|_| Self::empty(width))
    }

    /// Folds an `.idx` as it comes from a reader, without holding it whole: what is allocated follows the ids that were
    /// met, and ends at `needles_max` of them.
    ///
    /// # Errors
    ///
    /// [`IndexReadError`]: what the reader reports, or too many ids.
    pub fn read(
        mut reader: impl Read,
        width: OffsetWidth,
        needles_max: usize,
    ) -> Result<Self, IndexReadError> {
        let mut folding = Folding::new(Self::empty(width), needles_max);
        let mut chunk = vec![0; width.entry_len_bytes() * 4096];
        let mut filled = 0;
        loop {
            let count = match reader.read(&mut chunk[filled..]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(IndexReadError::Io(error)),
            };
            filled += count;
            // A chunk is a whole number of entries, so only the last one can leave a partial entry.
            if count == 0 || filled == chunk.len() {
                folding.fold(&chunk[..filled])?;
                filled = 0;
            }
            if count == 0 {
                return folding.end();
            }
        }
    }

    /// Takes up what the log has grown by: whole entries, of which the caller has checked that they are to count.
    /// Bytes after the last whole one are not kept: give them again with their rest.
    ///
    /// # Errors
    ///
    /// [`IndexReadError::TooMany`] when that would make more than `needles_max` ids; then part of it was taken up, and
    /// the index is to be read anew.
    pub fn append(&mut self, idx: &[u8], needles_max: usize) -> Result<(), IndexReadError> {
        let width = self.width;
        let entries = idx.chunks_exact(width.entry_len_bytes());
        self.counts.trailing_len_bytes = entries.remainder().len();
        for log in entries.filter_map(|bytes| LogEntry::parse(bytes, width)) {
            self.count(&log);
            self.insert(Slot::of(&log), needles_max)?;
        }
        Ok(())
    }

    /// Marks an id as deleted, as the journal of an erasure-coded volume does, which has no entries. An id that was
    /// never there stays missing.
    ///
    /// # Errors
    ///
    /// As [`Self::append`].
    pub(crate) fn delete(&mut self, id: NeedleId) -> Result<(), IndexReadError> {
        match self.slot(id) {
            Some(slot) if slot.is_live() => {
                self.counts.tombstones += 1;
                self.insert(Slot { id: id.0, units: 0, size: -1 }, usize::MAX)
            }
            _ => Ok(()),
        }
    }

    fn insert(&mut self, slot: Slot, needles_max: usize) -> Result<(), IndexReadError> {
        let was_live = self.slot(NeedleId(slot.id)).is_some_and(Slot::is_live);
        if self.recent.len() >= RECENT_ENTRIES_MIN.max(self.table.len() / RECENT_PART) {
            self.table.merge(std::mem::take(&mut self.recent).into_values())?;
            self.table.settle();
        }
        if self.table.len() + self.recent.len() >= needles_max {
            return Err(IndexReadError::TooMany { needles_max });
        }
        self.recent.insert(slot.id, slot);
        self.live = self.live + usize::from(slot.is_live()) - usize::from(was_live);
        Ok(())
    }

    fn count(&mut self, log: &LogEntry) {
        self.counts.entries += 1;
        self.counts.tombstones += u64::from(log.is_tombstone());
    }

    /// Holds every live entry against the `.dat` it belongs to: its record must lie between the first record and the
    /// end of the file. Entries that a later one replaced are not looked at.
    ///
    /// # Errors
    ///
    /// [`IndexError`] for the first entry, in order of id, that points elsewhere.
    pub fn check_against(&self, superblock: &SuperBlock, dat_len_bytes: u64) -> Result<(), IndexError> {
        self.live().try_for_each(|entry| check_entry(&entry, superblock, dat_len_bytes))
    }

    fn slot(&self, id: NeedleId) -> Option<Slot> {
        if let Some(slot) = self.recent.get(&id.0) {
            return Some(*slot);
        }
        self.table.find(id.0)
    }

    /// The place of a needle that exists, empty ones included.
    #[must_use]
    pub fn get(&self, id: NeedleId) -> Option<IndexEntry> {
        self.slot(id)?.entry()
    }

    /// Whether the log's last word on this id is a tombstone.
    #[must_use]
    pub fn is_deleted(&self, id: NeedleId) -> bool {
        self.slot(id).is_some_and(|slot| !slot.is_live())
    }

    /// Every needle that exists, in order of id.
    pub fn live(&self) -> impl ExactSizeIterator<Item = IndexEntry> {
        Live { index: self, at: 0, recent: self.recent.values().copied().peekable(), left: self.live }
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

    /// Memory it takes, an estimate for the part that has not been merged.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.recent.len() * RECENT_ENTRY_BYTES
    }
}

/// Two are equal when they say the same of every id, however much of it has been merged.
impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        let known = |index: &Self| index.width == other.width && index.counts == other.counts;
        known(self) && self.slots().eq(other.slots())
    }
}

impl Eq for Index {}

impl Index {
    fn slots(&self) -> impl Iterator<Item = Slot> {
        let (mut at, mut recent) = (0, self.recent.values().copied().peekable());
        std::iter::from_fn(move || next_slot(&self.table, &mut at, &mut recent))
    }
}

/// The next slot in order of id; what is recent stands for the row of its id.
fn next_slot(
    table: &Table,
    at: &mut usize,
    recent: &mut std::iter::Peekable<impl Iterator<Item = Slot>>,
) -> Option<Slot> {
    let row = table.slot(*at);
    let Some(newer) = recent.next_if(|newer| row.is_none_or(|row| newer.id <= row.id)) else {
        *at += 1;
        return row;
    };
    if row.is_some_and(|row| row.id == newer.id) {
        *at += 1;
    }
    Some(newer)
}

struct Live<'a, R: Iterator<Item = Slot>> {
    index: &'a Index,
    at: usize,
    recent: std::iter::Peekable<R>,
    left: usize,
}

impl<R: Iterator<Item = Slot>> Iterator for Live<'_, R> {
    type Item = IndexEntry;

    fn next(&mut self) -> Option<IndexEntry> {
        loop {
            if let Some(entry) = next_slot(&self.index.table, &mut self.at, &mut self.recent)?.entry() {
                self.left -= 1;
                return Some(entry);
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R: Iterator<Item = Slot>> ExactSizeIterator for Live<'_, R> {}
