//! Why a write is applied once, however often it is sent.
//!
//! A writer counts its writes and says with each below which sequence all are done. The table keeps the answers to the
//! sequences from there on: a repeat gets the recorded answer, what the writer has called done is refused, and anything
//! else is new. Answers that ask for a repeat ([`ChunkError::is_transient`]) are not recorded; any other error is, so that a
//! write whose writer saw it fail never happens later. To try again, a writer takes another sequence.
//!
//! The table is bounded. A writer is forgotten only when nothing of it can arrive any more, which the table cannot know:
//! [`Applied::retire`] and [`Applied::end_grace`] tell it. Until then a full table answers [`ChunkError::Busy`].

use std::collections::BTreeMap;

use crate::error::ChunkError;
use crate::key::{ChunkKey, Once, WriteId};
use crate::store::{RemoveOrder, WriteOrder};

/// What was done under an id; another deed under the same id is a mistake of its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// WriteChunk.
    Write {
        /// Where to.
        key: ChunkKey,
        /// Where in the chunk.
        offset: u64,
        /// How much.
        len_bytes: u32,
        /// Of the data.
        crc32c: u32,
    },
    /// RemoveChunk.
    Remove {
        /// What.
        key: ChunkKey,
    },
}

impl From<&WriteOrder> for Act {
    fn from(order: &WriteOrder) -> Act {
        let WriteOrder { key, offset, len_bytes, crc32c, .. } = *order;
        Act::Write { key, offset, len_bytes, crc32c }
    }
}

impl From<&RemoveOrder> for Act {
    fn from(order: &RemoveOrder) -> Act {
        Act::Remove { key: order.key }
    }
}

/// A deed with its name, as a store keeps it on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Its name.
    pub once: Once,
    /// What was done.
    pub act: Act,
}

/// What to do with a write that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Apply it, then [`Applied::record`] what came of it.
    New,
    /// It was applied, and is known to outlive a loss of power if the flag says so.
    Repeat {
        /// The answer to the first.
        outcome: Result<(), ChunkError>,
        /// Whether it was made durable.
        durable: bool,
    },
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedLimits {
    /// The most writers.
    pub writers_max: usize,
    /// The most open sequences of one writer.
    pub sequences_max: usize,
}

impl Default for AppliedLimits {
    fn default() -> AppliedLimits {
        AppliedLimits { writers_max: 4096, sequences_max: 1024 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Done {
    act: Act,
    outcome: Result<(), ChunkError>,
    durable: bool,
}

#[derive(Debug, Default)]
struct Writer {
    /// All sequences below are done and forgotten.
    oldest_open: u64,
    done: BTreeMap<u64, Done>,
    /// Known from before a restart only.
    inherited: bool,
}

/// The answers to writes that may be sent again.
#[derive(Debug)]
pub struct Applied {
    limits: AppliedLimits,
    writers: BTreeMap<u64, Writer>,
    grace: bool,
}

impl Default for Applied {
    fn default() -> Applied {
        Applied::new(AppliedLimits::default())
    }
}

impl Applied {
    /// An empty table, in the grace period after a start.
    pub fn new(limits: AppliedLimits) -> Applied {
        Applied { limits, writers: BTreeMap::new(), grace: true }
    }

    /// What to do with a write. It notes what the writer says is done, and changes nothing else.
    ///
    /// # Errors
    /// [`ChunkError::Stale`], [`ChunkError::ConflictingId`], and [`ChunkError::Busy`] when it could not be recorded.
    pub fn fate(&mut self, once: &Once, act: &Act) -> Result<Fate, ChunkError> {
        let WriteId { writer: number, sequence } = once.id;
        let AppliedLimits { writers_max, sequences_max } = self.limits;
        if sequence < once.oldest_open {
            return Err(ChunkError::Stale { oldest_open: once.oldest_open });
        }
        if !self.writers.contains_key(&number) && self.writers.len() >= writers_max {
            return Err(ChunkError::Busy);
        }
        let writer = self.writers.entry(number).or_default();
        writer.inherited = false;
        writer.close_below(once.oldest_open);
        if sequence < writer.oldest_open {
            return Err(ChunkError::Stale { oldest_open: writer.oldest_open });
        }
        match writer.done.get(&sequence) {
            Some(done) if done.act == *act => {
                Ok(Fate::Repeat { outcome: done.outcome, durable: done.durable })
            }
            Some(_) => Err(ChunkError::ConflictingId),
            None if writer.done.len() >= sequences_max => Err(ChunkError::Busy),
            None => Ok(Fate::New),
        }
    }

    /// Records what came of a write whose fate was [`Fate::New`]. Transient errors are not recorded.
    pub fn record(&mut self, once: &Once, act: &Act, outcome: Result<(), ChunkError>) {
        if outcome.is_err_and(|error| error.is_transient()) {
            return;
        }
        if let Some(writer) = self.writers.get_mut(&once.id.writer)
            && once.id.sequence >= writer.oldest_open
        {
            writer.done.entry(once.id.sequence).or_insert(Done { act: *act, outcome, durable: false });
        }
    }

    /// A write that succeeded outlives a loss of power from now on.
    pub fn make_durable(&mut self, id: WriteId) {
        let writer = self.writers.get_mut(&id.writer);
        if let Some(done) = writer.and_then(|writer| writer.done.get_mut(&id.sequence)) {
            done.durable = true;
        }
    }

    /// Makes the answer to a write an error after all: it could not be made durable.
    pub(crate) fn fail(&mut self, id: WriteId, error: ChunkError) {
        let writer = self.writers.get_mut(&id.writer);
        if let Some(done) = writer.and_then(|writer| writer.done.get_mut(&id.sequence)) {
            done.outcome = Err(error);
        }
    }

    /// Whether a repeat of it may still come: it is to be remembered.
    pub fn is_open(&self, id: WriteId) -> bool {
        self.writers.get(&id.writer).is_some_and(|writer| writer.done.contains_key(&id.sequence))
    }

    /// Takes over a deed that a store kept through a restart. Ignored once the grace period is over.
    ///
    /// # Errors
    /// [`ChunkError::Busy`] when there is no room: then no write to its chunk may be judged.
    pub fn inherit(&mut self, deed: &Deed) -> Result<(), ChunkError> {
        let WriteId { writer: number, sequence } = deed.once.id;
        if !self.grace {
            return Ok(());
        }
        if !self.writers.contains_key(&number) && self.writers.len() >= self.limits.writers_max {
            return Err(ChunkError::Busy);
        }
        let writer =
            self.writers.entry(number).or_insert_with(|| Writer { inherited: true, ..Writer::default() });
        writer.close_below(deed.once.oldest_open);
        if sequence < writer.oldest_open || writer.done.contains_key(&sequence) {
            return Ok(());
        }
        if writer.done.len() >= self.limits.sequences_max {
            return Err(ChunkError::Busy);
        }
        writer.done.insert(sequence, Done { act: deed.act, outcome: Ok(()), durable: false });
        Ok(())
    }

    /// Forgets a writer from whom nothing can arrive any more.
    pub fn retire(&mut self, writer: u64) {
        self.writers.remove(&writer);
    }

    /// Forgets the writers of before the restart that were not heard from since, and inherits no more.
    pub fn end_grace(&mut self) {
        self.grace = false;
        self.writers.retain(|_, writer| !writer.inherited);
    }
}

impl Writer {
    fn close_below(&mut self, oldest_open: u64) {
        if oldest_open > self.oldest_open {
            self.oldest_open = oldest_open;
            self.done = self.done.split_off(&oldest_open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ChunkKey = ChunkKey { inode: 1, index: 2 };
    const ACT: Act = Act::Write { key: KEY, offset: 0, len_bytes: 1, crc32c: 0 };

    fn once(writer: u64, sequence: u64, oldest_open: u64) -> Once {
        Once { id: WriteId { writer, sequence }, oldest_open }
    }

    fn table() -> Applied {
        Applied::new(AppliedLimits { writers_max: 2, sequences_max: 3 })
    }

    #[test]
    fn a_repeat_gets_the_first_answer_and_another_deed_under_its_id_is_refused() {
        let mut table = table();
        assert_eq!(table.fate(&once(1, 5, 5), &ACT), Ok(Fate::New));
        table.record(&once(1, 5, 5), &ACT, Err(ChunkError::ReadOnly));
        let outcome = Err(ChunkError::ReadOnly);
        assert_eq!(table.fate(&once(1, 5, 5), &ACT), Ok(Fate::Repeat { outcome, durable: false }));
        let other = Act::Remove { key: KEY };
        assert_eq!(table.fate(&once(1, 5, 5), &other), Err(ChunkError::ConflictingId));
    }

    #[test]
    fn what_its_writer_calls_done_is_refused_for_ever() {
        let mut table = table();
        assert_eq!(table.fate(&once(1, 4, 4), &ACT), Ok(Fate::New));
        table.record(&once(1, 4, 4), &ACT, Ok(()));
        assert_eq!(table.fate(&once(1, 9, 7), &ACT), Ok(Fate::New));
        assert_eq!(table.fate(&once(1, 4, 4), &ACT), Err(ChunkError::Stale { oldest_open: 7 }));
        assert_eq!(table.fate(&once(1, 6, 0), &ACT), Err(ChunkError::Stale { oldest_open: 7 }));
        assert_eq!(table.fate(&once(1, 3, 8), &ACT), Err(ChunkError::Stale { oldest_open: 8 }));
    }

    #[test]
    fn a_full_table_is_busy_and_forgets_nobody_by_itself() {
        let mut table = table();
        for sequence in 0..3 {
            assert_eq!(table.fate(&once(1, sequence, 0), &ACT), Ok(Fate::New));
            table.record(&once(1, sequence, 0), &ACT, Ok(()));
        }
        assert_eq!(table.fate(&once(1, 3, 0), &ACT), Err(ChunkError::Busy));
        assert!(matches!(table.fate(&once(1, 0, 0), &ACT), Ok(Fate::Repeat { .. })));
        assert_eq!(table.fate(&once(1, 3, 1), &ACT), Ok(Fate::New), "its writer closed one");
        assert_eq!(table.fate(&once(2, 0, 0), &ACT), Ok(Fate::New));
        assert_eq!(table.fate(&once(3, 0, 0), &ACT), Err(ChunkError::Busy));
        table.retire(1);
        assert_eq!(table.fate(&once(3, 0, 0), &ACT), Ok(Fate::New));
    }

    #[test]
    fn a_busy_answer_is_not_recorded_so_the_repeat_is_tried() {
        let mut table = table();
        assert_eq!(table.fate(&once(1, 0, 0), &ACT), Ok(Fate::New));
        table.record(&once(1, 0, 0), &ACT, Err(ChunkError::Busy));
        assert_eq!(table.fate(&once(1, 0, 0), &ACT), Ok(Fate::New));
    }

    #[test]
    fn who_is_heard_from_in_the_grace_period_is_remembered_after_it() {
        let mut table = table();
        let deed = |writer| Deed { once: once(writer, 3, 2), act: ACT };
        table.inherit(&deed(1)).expect("room");
        table.inherit(&deed(2)).expect("room");
        assert_eq!(table.inherit(&deed(3)), Err(ChunkError::Busy), "nothing is forgotten to make room");
        assert!(matches!(table.fate(&once(1, 3, 2), &ACT), Ok(Fate::Repeat { outcome: Ok(()), .. })));
        table.end_grace();
        assert!(table.is_open(deed(1).once.id) && !table.is_open(deed(2).once.id));
        table.inherit(&deed(2)).expect("ignored");
        assert!(!table.is_open(deed(2).once.id));
    }
}
