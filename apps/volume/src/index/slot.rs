//! The last word of the log on one id: where its record stands, or that it was deleted.

use crate::entry::LogEntry;
use crate::{IndexEntry, NeedleId};

/// What an index keeps of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) id: u64,
    /// Offset in units of 8 bytes; 40 bits at most, 0 when deleted.
    pub(super) units: u64,
    /// Negative when deleted.
    pub(super) size: i32,
}

impl Slot {
    pub(super) fn of(log: &LogEntry) -> Self {
        let id = log.id.0;
        if log.is_tombstone() {
            Self { id, units: 0, size: -1 }
        } else {
            Self { id, units: log.offset_bytes / 8, size: log.size }
        }
    }

    pub(super) fn is_live(self) -> bool {
        self.size >= 0
    }

    /// `None` when it was deleted.
    pub(super) fn entry(self) -> Option<IndexEntry> {
        let size_bytes = u32::try_from(self.size).ok()?;
        Some(IndexEntry { id: NeedleId(self.id), offset_bytes: self.units * 8, size_bytes })
    }
}
