//! A send queue as a bystander sees it: which work each PSN belongs to.

use std::collections::VecDeque;

use wavetank_contract::{Mtu, OpKind, WorkId};

/// How far `a` is ahead of `b` among the 24 bits of PSNs; negative when it is behind.
pub(super) fn ahead(a: u32, b: u32) -> i32 {
    ((a.wrapping_sub(b) << 8) as i32) >> 8
}

/// `psn + n`, wrapping at 24 bits.
pub(super) fn add(psn: u32, n: u32) -> u32 {
    psn.wrapping_add(n) & 0xff_ffff
}

/// A work of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: WorkId,
    /// If it is of the operation that is explained: which of its works.
    pub(super) mine: Option<u32>,
    /// How many PSNs it takes.
    pub(super) psns: u32,
    /// Its first, once the queue's first packet was seen.
    first: u32,
    /// Whether its completion was seen, or that of one behind it.
    pub(super) completed: bool,
}

impl Entry {
    /// Its first PSN and its last.
    pub(super) fn range(&self) -> (u32, u32) {
        (self.first, add(self.first, self.psns - 1))
    }

    fn has(&self, psn: u32) -> bool {
        (0..self.psns as i32).contains(&ahead(psn, self.first))
    }
}

/// The works of one endpoint that may still be heard of.
#[derive(Debug)]
pub(super) struct SendQueue {
    mtu: Mtu,
    works: VecDeque<Entry>,
    /// The PSN of the next work to be posted; unknown before the first packet.
    next: Option<u32>,
    /// Everything before this PSN was answered.
    answered: Option<u32>,
    /// Repetitions since the last answer.
    pub(super) repetitions: u32,
}

impl SendQueue {
    pub(super) fn new(mtu: Mtu) -> SendQueue {
        SendQueue { mtu, works: VecDeque::new(), next: None, answered: None, repetitions: 0 }
    }

    /// A work was posted.
    pub(super) fn posted(&mut self, id: WorkId, kind: OpKind, len: u64, mine: Option<u32>) {
        let packets = len.div_ceil(u64::from(self.mtu.bytes())).max(1) as u32;
        let psns = if kind.is_atomic() { 1 } else { packets };
        let first = self.next.unwrap_or(0);
        self.next = self.next.map(|next| add(next, psns));
        self.works.push_back(Entry { id, mine, psns, first, completed: false });
    }

    /// A request left. The first one has the first PSN of the first work.
    pub(super) fn sent(&mut self, psn: u32) {
        if self.next.is_none() {
            let mut next = psn;
            for work in &mut self.works {
                work.first = next;
                next = add(next, work.psns);
            }
            (self.next, self.answered) = (Some(next), Some(psn));
        }
    }

    /// The work of the explained operation that has this PSN.
    pub(super) fn mine(&self, psn: u32) -> Option<&Entry> {
        self.next?;
        self.works.iter().find(|work| work.mine.is_some() && work.has(psn))
    }

    /// An answer up to this PSN was taken. Answers with the PSNs of mine that it settles besides its own, if any.
    pub(super) fn answered(&mut self, psn: u32) -> Option<(u32, u32)> {
        let before = self.answered?;
        if ahead(psn, before) < 0 {
            return None;
        }
        self.answered = Some(add(psn, 1));
        self.repetitions = 0;
        let settled = |work: &&Entry| {
            let (_, last) = work.range();
            work.mine.is_some() && ahead(last, before) >= 0 && ahead(psn, last) > 0
        };
        let mut settled = self.works.iter().filter(settled).map(Entry::range);
        let (first, last) = settled.next()?;
        Some((first, settled.next_back().map_or(last, |(_, last)| last)))
    }

    /// A completion of this endpoint: of this work and, silently, of those before it. Answers with the work.
    pub(super) fn completed(&mut self, id: WorkId) -> Option<Entry> {
        let at = self.works.iter().position(|work| work.id == id && !work.completed)?;
        self.works.iter_mut().take(at + 1).for_each(|work| work.completed = true);
        let entry = self.works[at];
        // Late packets of others tell nothing.
        self.works.retain(|work| work.mine.is_some() || !work.completed);
        Some(entry)
    }

    /// Whether works of the explained operation are under way.
    pub(super) fn has_mine(&self) -> bool {
        self.works.iter().any(|work| work.mine.is_some() && !work.completed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> SendQueue {
        let mut queue = SendQueue::new(Mtu::B1024);
        queue.posted(WorkId(1), OpKind::Write, 3000, None);
        queue.posted(WorkId(2), OpKind::Read, 2048, Some(0));
        queue.posted(WorkId(3), OpKind::FetchAdd, 8, None);
        queue.sent(0xff_fffd);
        queue.posted(WorkId(4), OpKind::Send, 0, Some(1));
        queue
    }

    #[test]
    fn works_take_psns_in_the_order_of_their_posting() {
        let queue = queue();
        // 3 packets of the WRITE, 2 of the READ's answer, 1 each.
        let mine: Vec<Option<u64>> =
            (0..8).map(|n| queue.mine(add(0xff_fffd, n)).map(|work| work.id.0)).collect();
        assert_eq!(mine, [None, None, None, Some(2), Some(2), None, Some(4), None]);
    }

    #[test]
    fn an_answer_settles_what_is_before_it_once() {
        let mut queue = queue();
        assert_eq!(queue.answered(2), Some((0, 1)));
        assert_eq!(queue.answered(2), None);
        assert_eq!(queue.answered(3), None);
    }

    #[test]
    fn a_completion_covers_the_silent_works_before_it() {
        let mut queue = queue();
        assert!(queue.completed(WorkId(3)).is_some_and(|work| work.mine.is_none()));
        assert!(queue.has_mine());
        assert!(queue.completed(WorkId(2)).is_none());
        assert!(queue.completed(WorkId(4)).is_some_and(|work| work.mine == Some(1)));
        assert!(!queue.has_mine());
    }
}
