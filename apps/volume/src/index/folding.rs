//! Reading a log for the first time.

use super::slot::Slot;
use super::{Index, IndexReadError};
use crate::entry::LogEntry;

/// Entries gathered before they are sorted and merged, at the least.
const RUN_ENTRIES_MIN: usize = 1 << 20;

/// An index while its log is read for the first time. Entries in order of id, which most logs have, become rows as they
/// come; from the first one that is not on they gather in a run, which is sorted and merged when it is long.
pub(super) struct Folding {
    index: Index,
    run: Vec<Slot>,
    needles_max: usize,
}

impl Folding {
    pub(super) fn new(index: Index, needles_max: usize) -> Self {
        Self { index, run: Vec::new(), needles_max }
    }

    pub(super) fn fold(&mut self, idx: &[u8]) -> Result<(), IndexReadError> {
        let width = self.index.width;
        let entries = idx.chunks_exact(width.entry_len_bytes());
        self.index.counts.trailing_len_bytes = entries.remainder().len();
        for log in entries.filter_map(|bytes| LogEntry::parse(bytes, width)) {
            self.index.count(&log);
            let slot = Slot::of(&log);
            if self.run.is_empty() && self.index.table.last_id().is_none_or(|last| last < slot.id) {
                self.index.table.push(slot)?;
                self.check_len()?;
            } else {
                self.run.try_reserve(1)?;
                self.run.push(slot);
                if self.run.len() >= RUN_ENTRIES_MIN.max(self.index.table.len() / 2) {
                    self.merge_run()?;
                }
            }
        }
        Ok(())
    }

    fn merge_run(&mut self) -> Result<(), IndexReadError> {
        // Stable, so that the last of an id stays the last, and is the one to be kept.
        self.run.sort_by_key(|slot| slot.id);
        self.run.dedup_by(|next, kept| {
            let same = next.id == kept.id;
            if same {
                *kept = *next;
            }
            same
        });
        self.index.table.merge(self.run.drain(..))?;
        self.check_len()
    }

    fn check_len(&self) -> Result<(), IndexReadError> {
        let needles_max = self.needles_max;
        if self.index.table.len() > needles_max {
            Err(IndexReadError::TooMany { needles_max })
        } else {
            Ok(())
        }
    }

    pub(super) fn end(mut self) -> Result<Index, IndexReadError> {
        self.merge_run()?;
        self.index.table.settle();
        self.index.live = self.index.table.live();
        Ok(self.index)
    }
}
