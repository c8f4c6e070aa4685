//! Endpoints: a queue pair, what was posted to it, and the names its works travel under.

use wavetank_contract::error::PostError;
use wavetank_contract::{EndpointSpec, EpId, OpKind, QpState, WorkId};

use crate::handshake::Handshake;
use crate::sys::Qp;

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The iWARP connection, if it has one. Dropped first: the connection manager refers to the queue pair, whose destruction
    /// waits for that to end.
    pub(crate) handshake: Option<Handshake>,
    pub(crate) qp: Qp,
    pub(crate) spec: EndpointSpec,
    /// Where we moved it; the device may have moved it to ERR since.
    pub(crate) state: QpState,
    /// The first PSN of this life: another one for each, so that packets of an earlier life are not taken for new.
    pub(crate) psn: u32,
    pub(crate) sends: Works,
    pub(crate) receives: Works,
    pub(crate) rung: Tally,
}

/// What became of the works posted since the last doorbell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) taken: u32,
    /// Why the device stopped taking them.
    pub(crate) refused: Option<PostError>,
}

/// A posted work, as far as its completion needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posted {
    pub(crate) id: WorkId,
    pub(crate) kind: OpKind,
    pub(crate) len: u32,
}

/// A ring of posted works. Their numbers count up for as long as the endpoint lives, through resets too, so that a completion
/// of an earlier life is recognised.
#[derive(Debug)]
pub(crate) struct Works {
    ring: Box<[Posted]>,
    pub(crate) depth: u32,
    posted: u32,
    /// Every work before this one is complete.
    freed: u32,
}

impl Works {
    pub(crate) fn new(depth: u32) -> Works {
        let blank = Posted { id: WorkId(0), kind: OpKind::Recv, len: 0 };
        let slots = depth.max(1).next_power_of_two() as usize;
        Works { ring: vec![blank; slots].into(), depth, posted: 0, freed: 0 }
    }

    #[inline]
    fn slot(&self, seq: u32) -> usize {
        seq as usize & (self.ring.len() - 1)
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.posted.wrapping_sub(self.freed) >= self.depth
    }

    /// Enters a work and answers its number. The queue is not full.
    #[inline]
    pub(crate) fn enter(&mut self, work: Posted) -> u32 {
        let seq = self.posted;
        let slot = self.slot(seq);
        self.ring[slot] = work;
        self.posted = seq.wrapping_add(1);
        seq
    }

    /// Takes back the latest works: the device refused them.
    pub(crate) fn withdraw(&mut self, count: usize) {
        let outstanding = self.posted.wrapping_sub(self.freed);
        self.posted = self.posted.wrapping_sub((count as u32).min(outstanding));
    }

    /// The work of this number is complete, and so is every one before it. `None` when it is not outstanding.
    #[inline]
    pub(crate) fn complete(&mut self, seq: u32) -> Option<Posted> {
        if seq.wrapping_sub(self.freed) >= self.posted.wrapping_sub(self.freed) {
            return None;
        }
        self.freed = seq.wrapping_add(1);
        Some(self.ring[self.slot(seq)])
    }

    /// Ends the oldest work outstanding.
    pub(crate) fn next_outstanding(&mut self) -> Option<Posted> {
        self.complete(self.freed)
    }

    /// Forgets what is outstanding.
    pub(crate) fn forget(&mut self) {
        self.freed = self.posted;
    }
}

/// The name under which a work travels (`wr_id`). On failure a device tells nothing else that can be relied on, neither what
/// the work was nor which queue it was in; and a queue pair's number may belong to another one by then. So the name says it
/// all: two bits of queue, thirty of endpoint or shared queue, and the work's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkName {
    Send(EpId, u32),
    Recv(EpId, u32),
    /// A receive of a shared queue: the queue, and the place in it.
    Shared(u32, u32),
    /// The first message of an iWARP connection, which is ours.
    Hello(EpId),
}

/// Endpoints and shared queues that names can tell apart.
pub(crate) const NAMED_MAX: u32 = 1 << 30;

impl WorkName {
    #[inline]
    pub(crate) fn encode(self) -> u64 {
        let (queue, object, seq) = match self {
            WorkName::Send(ep, seq) => (0, ep.0, seq),
            WorkName::Recv(ep, seq) => (1, ep.0, seq),
            WorkName::Shared(srq, slot) => (2, srq, slot),
            WorkName::Hello(ep) => (3, ep.0, 0),
        };
        queue << 62 | u64::from(object & (NAMED_MAX - 1)) << 32 | u64::from(seq)
    }

    #[inline]
    pub(crate) fn decode(wr_id: u64) -> WorkName {
        let (object, seq) = ((wr_id >> 32) as u32 & (NAMED_MAX - 1), wr_id as u32);
        match wr_id >> 62 {
            0 => WorkName::Send(EpId(object), seq),
            1 => WorkName::Recv(EpId(object), seq),
            2 => WorkName::Shared(object, seq),
            _ => WorkName::Hello(EpId(object)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(id: u64) -> Posted {
        Posted { id: WorkId(id), kind: OpKind::Send, len: 0 }
    }

    #[test]
    fn names_come_back_as_they_went() {
        let ep = EpId(NAMED_MAX - 1);
        for name in [
            WorkName::Send(ep, 0),
            WorkName::Recv(ep, u32::MAX),
            WorkName::Shared(5, 6),
            WorkName::Send(EpId(0), 0),
            WorkName::Hello(ep),
        ] {
            assert_eq!(WorkName::decode(name.encode()), name);
        }
    }

    #[test]
    fn a_completion_frees_everything_before_it_and_counts_once() {
        let mut works = Works::new(3);
        let seqs: Vec<_> = (0..3).map(|id| works.enter(work(id))).collect();
        assert!(works.is_full());
        assert_eq!(works.complete(seqs[1]).map(|w| w.id), Some(WorkId(1)));
        assert!(works.complete(seqs[1]).is_none() && works.complete(seqs[0]).is_none());
        assert!(works.complete(seqs[2] + 1).is_none(), "not posted yet");
        assert!(!works.is_full());
        assert_eq!(works.complete(seqs[2]).map(|w| w.id), Some(WorkId(2)));
    }

    #[test]
    fn a_forgotten_work_does_not_complete_though_its_place_is_used_again() {
        let mut works = Works::new(1);
        let old = works.enter(work(1));
        works.forget();
        let new = works.enter(work(2));
        assert!(works.complete(old).is_none());
        assert_eq!(works.complete(new).map(|w| w.id), Some(WorkId(2)));
    }

    #[test]
    fn numbers_wrap_around() {
        let mut works = Works::new(2);
        (works.posted, works.freed) = (u32::MAX, u32::MAX);
        let last = works.enter(work(1));
        let first = works.enter(work(2));
        assert_eq!((last, first), (u32::MAX, 0));
        assert!(works.is_full());
        works.withdraw(1);
        assert!(works.complete(first).is_none() && works.complete(last).is_some());
    }
}
