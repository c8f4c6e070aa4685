//! The ledger: every work a device has, and what it owes us for it.
//!
//! Receives of a shared queue are in no list: any of them may be the next to complete, on any endpoint that shares it.
//! Works of one queue of one endpoint form a list in post order. A completion retires its own work and, before it,
//! every unsignalled one; a completion that would retire a signalled work other than its own, or that names no work
//! at all, is an [`Anomaly`]: the device lost, repeated or reordered something.

use std::fmt;

use wavetank_contract::{EpId, Hold, OpKind, SrqId, WorkId};

use crate::slab::{Key, NOWHERE, Slab};

/// What a device did that no device may do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anomaly {
    /// A completion names a work that is not outstanding: it was repeated, or never posted.
    UnknownWork {
        /// What the completion said.
        id: WorkId,
        /// The endpoint it named.
        ep: EpId,
    },
    /// A completion came although an earlier signalled work of its queue has none: that one was lost or overtaken.
    Overtaken {
        /// The endpoint.
        ep: EpId,
        /// What completed.
        kind: OpKind,
        /// Its place in the queue, counting from 0.
        seq: u64,
        /// The oldest work it passed.
        missing_kind: OpKind,
        /// That one's place.
        missing_seq: u64,
    },
    /// A completion names another endpoint than its work was posted to.
    WrongEndpoint {
        /// Where the work was posted.
        posted: EpId,
        /// Where it completed.
        completed: EpId,
        /// Its place in the queue.
        seq: u64,
    },
    /// A receive of a shared queue completed on an endpoint that does not take from it.
    NotSharing {
        /// Where the receive was posted.
        srq: SrqId,
        /// Where it completed.
        completed: EpId,
        /// Its place among all receives of its queue.
        seq: u64,
    },
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anomaly::UnknownWork { id, ep } => {
                write!(
                    f,
                    "a completion on endpoint {} names work {:#x}, which is not outstanding",
                    ep.0, id.0
                )
            }
            Anomaly::Overtaken { ep, kind, seq, missing_kind, missing_seq } => write!(
                f,
                "{} number {seq} of endpoint {} completed, {} number {missing_seq} before it never did",
                kind.name(),
                ep.0,
                missing_kind.name()
            ),
            Anomaly::WrongEndpoint { posted, completed, seq } => {
                write!(f, "work {seq} of endpoint {} completed on endpoint {}", posted.0, completed.0)
            }
            Anomaly::NotSharing { srq, completed, seq } => write!(
                f,
                "receive {seq} of shared queue {} completed on endpoint {}, which does not share it",
                srq.0, completed.0
            ),
        }
    }
}

/// Where a work was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Endpoint(EpId),
    /// Whoever takes it.
    Shared(SrqId),
}

/// A work the device has.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tag: u64,
    pub(crate) home: Home,
    pub(crate) kind: OpKind,
    pub(crate) len: u32,
    pub(crate) signalled: bool,
    /// Its place in its queue, counting from 0.
    pub(crate) seq: u64,
    /// Keeps the work's memory in place.
    pub(crate) hold: Option<Hold>,
    next: u32,
}

/// One queue of an endpoint: the works in it, oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    head: u32,
    tail: u32,
    posted: u64,
    pub(crate) len: u32,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { head: NOWHERE, tail: NOWHERE, posted: 0, len: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct Ledger {
    works: Slab<Entry>,
}

impl Ledger {
    pub(crate) const fn new() -> Ledger {
        Ledger { works: Slab::new() }
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.works.len() as usize
    }

    /// Enters a work at the tail of its queue. `None` when 2^32 - 1 works are outstanding.
    #[inline]
    pub(crate) fn enter(&mut self, queue: &mut Queue, mut entry: Entry) -> Option<WorkId> {
        entry.seq = queue.posted;
        let key = self.works.insert(entry)?;
        match self.works.at_mut(queue.tail) {
            Some(last) => last.next = key.index,
            None => queue.head = key.index,
        }
        queue.tail = key.index;
        queue.posted += 1;
        queue.len += 1;
        Some(WorkId(key.to_u64()))
    }

    /// Enters a receive of a shared queue. `None` when 2^32 - 1 works are outstanding.
    pub(crate) fn enter_shared(&mut self, queue: &mut Queue, mut entry: Entry) -> Option<WorkId> {
        entry.seq = queue.posted;
        let key = self.works.insert(entry)?;
        queue.posted += 1;
        queue.len += 1;
        Some(WorkId(key.to_u64()))
    }

    /// Takes a receive of a shared queue out, wherever it stands.
    pub(crate) fn retire_shared(&mut self, queue: &mut Queue, id: WorkId) -> Option<Entry> {
        let entry = self.works.remove(Key::from_u64(id.0))?;
        queue.len -= 1;
        Some(entry)
    }

    /// The receives of a shared queue, by the order of their places.
    pub(crate) fn shared(&self, srq: SrqId) -> impl Iterator<Item = WorkId> + '_ {
        let of = move |(_, entry): &(Key, &Entry)| entry.home == Home::Shared(srq);
        self.works.iter().filter(of).map(|(key, _)| WorkId(key.to_u64()))
    }

    /// Bytes of what it keeps, used or not.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.works.bytes_in_use()
    }

    /// The work a completion names, if it is outstanding.
    #[inline]
    pub(crate) fn find(&self, id: WorkId) -> Option<&Entry> {
        self.works.get(Key::from_u64(id.0))
    }

    /// Takes the oldest work out of a queue.
    #[inline]
    pub(crate) fn retire_head(&mut self, queue: &mut Queue) -> Option<Entry> {
        let entry = self.works.remove(self.works.key_at(queue.head)?)?;
        queue.len -= 1;
        queue.head = entry.next;
        if queue.head == NOWHERE {
            queue.tail = NOWHERE;
        }
        Some(entry)
    }

    /// Takes the youngest work back out: it was entered, then refused by the device.
    pub(crate) fn withdraw_tail(&mut self, queue: &mut Queue) -> Option<Entry> {
        let youngest = self.works.key_at(queue.tail)?;
        let mut before = NOWHERE;
        let mut at = queue.head;
        while at != youngest.index {
            before = at;
            at = self.works.at_mut(at)?.next;
        }
        let entry = self.works.remove(youngest)?;
        queue.len -= 1;
        queue.posted -= 1;
        queue.tail = before;
        match self.works.at_mut(before) {
            Some(last) => last.next = NOWHERE,
            None => queue.head = NOWHERE,
        }
        Some(entry)
    }

    /// Everything outstanding, for the person who has to find out why.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.works.iter().map(|(_, entry)| entry)
    }
}

impl Entry {
    pub(crate) fn new(
        tag: u64,
        home: Home,
        kind: OpKind,
        len: u32,
        signalled: bool,
        hold: Option<Hold>,
    ) -> Entry {
        Entry { tag, home, kind, len, signalled, seq: 0, hold, next: NOWHERE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u64) -> Entry {
        Entry::new(tag, Home::Endpoint(EpId(0)), OpKind::Read, 8, true, None)
    }

    #[test]
    fn works_come_back_in_order_and_names_are_never_valid_twice() {
        let (mut ledger, mut queue) = (Ledger::new(), Queue::default());
        let ids: Vec<_> = (0..3).map(|tag| ledger.enter(&mut queue, entry(tag)).expect("room")).collect();
        assert_eq!(ledger.find(ids[1]).map(|e| (e.tag, e.seq)), Some((1, 1)));
        assert_eq!(ledger.retire_head(&mut queue).map(|e| e.tag), Some(0));
        assert!(ledger.find(ids[0]).is_none());
        let again = ledger.enter(&mut queue, entry(9)).expect("room");
        assert_ne!(again, ids[0], "the slot is used again under another name");
        let tags: Vec<_> = std::iter::from_fn(|| ledger.retire_head(&mut queue)).map(|e| e.tag).collect();
        assert_eq!(tags, [1, 2, 9]);
        assert_eq!((ledger.outstanding(), queue.len), (0, 0));
    }

    #[test]
    fn a_refused_work_leaves_no_trace() {
        let (mut ledger, mut queue) = (Ledger::new(), Queue::default());
        ledger.enter(&mut queue, entry(1));
        let refused = ledger.enter(&mut queue, entry(2)).expect("room");
        assert_eq!(ledger.withdraw_tail(&mut queue).map(|e| e.tag), Some(2));
        assert!(ledger.find(refused).is_none());
        ledger.enter(&mut queue, entry(3));
        let got: Vec<_> =
            std::iter::from_fn(|| ledger.retire_head(&mut queue)).map(|e| (e.tag, e.seq)).collect();
        assert_eq!(got, [(1, 0), (3, 1)]);
    }
}
