//! Completion queues, and what the NIC reports to its host.

use std::collections::VecDeque;
use std::rc::Rc;

use wavetank_contract::{AsyncEvent, Choices, Completion, CqId, Site};

use crate::endpoint::Qp;
use crate::marks::Mark;
use crate::nic::Shared;
use crate::tap::Happening;

/// Which work queue an entry frees a slot of when it is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Send,
    Recv,
}

/// A completion and the slots it frees: every work of its queue up to `seq`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) completion: Completion,
    pub(crate) side: Side,
    pub(crate) seq: u64,
}

/// One completion queue. After an overrun it takes nothing more (`ibv_poll_cq(3)`: "the CQ cannot be used").
#[derive(Debug)]
pub(crate) struct Cq {
    entries: VecDeque<Entry>,
    depth: u32,
    overrun: bool,
}

/// Everything the NIC tells its host: completion queues and asynchronous events.
#[derive(Debug)]
pub(crate) struct Reports {
    node: u16,
    shared: Rc<Shared>,
    pub(crate) cqs: Vec<Cq>,
    pub(crate) events: VecDeque<AsyncEvent>,
    /// Something was reported since the host was last told to look.
    pub(crate) fresh: bool,
    /// Queues that overran and whose endpoints are not dead yet.
    pub(crate) overrun: Vec<CqId>,
    /// Completions in all queues.
    queued: usize,
    /// The queue that last got a completion.
    latest: CqId,
}

impl Reports {
    pub(crate) fn new(node: u16, shared: Rc<Shared>) -> Reports {
        let (cqs, events, overrun) = (Vec::new(), VecDeque::new(), Vec::new());
        Reports { node, shared, cqs, events, fresh: false, overrun, queued: 0, latest: CqId(0) }
    }

    /// Tells the tap, if there is one, what happens at this node.
    #[inline(always)]
    pub(crate) fn tell<'a>(&self, happening: impl FnOnce(u16) -> Happening<'a>) {
        if self.shared.tap.is_on() {
            self.shared.tap.tell(self.shared.now.get(), &happening(self.node));
        }
    }

    /// Something happened that only a fault brings about.
    #[cold]
    pub(crate) fn pass(&self, mark: Mark) {
        self.shared.marks.pass(mark);
    }

    pub(crate) fn open_cq(&mut self, depth: u32) -> CqId {
        // Room is taken as it is needed: a deep queue that stays short stays in the cache.
        self.cqs.push(Cq { entries: VecDeque::with_capacity(depth.min(16) as usize), depth, overrun: false });
        CqId(self.cqs.len() as u32 - 1)
    }

    /// Whether it exists and can be used: not after an overrun.
    pub(crate) fn is_open(&self, cq: CqId) -> bool {
        self.cqs.get(cq.0 as usize).is_some_and(|queue| !queue.overrun)
    }

    /// Inlined, so that an entry is written where it belongs and not built elsewhere first: reading it back would wait
    /// for the payload's stores before it.
    #[inline(always)]
    pub(crate) fn complete(&mut self, cq: CqId, entry: Entry) {
        let queue = &mut self.cqs[cq.0 as usize];
        self.fresh = true;
        if queue.overrun {
            return;
        }
        if queue.entries.len() as u32 == queue.depth {
            queue.overrun = true;
            self.shared.marks.pass(Mark::CqOverrun);
            self.overrun.push(cq);
            self.event(AsyncEvent::CqErr(cq));
            return;
        }
        queue.entries.push_back(entry);
        self.queued += 1;
        self.latest = cq;
        if self.shared.tap.is_on() {
            self.tell_last(cq);
        }
    }

    /// Lets the latest completion overtake some of other endpoints, never one of its own.
    #[cold]
    pub(crate) fn shuffle(&mut self, choices: &mut dyn Choices) {
        let Some(queue) = self.cqs.get_mut(self.latest.0 as usize) else { return };
        let Some(last) = queue.entries.len().checked_sub(1) else { return };
        let ep = queue.entries[last].completion.ep;
        let others = queue.entries.iter().rev().skip(1).take_while(|entry| entry.completion.ep != ep).count();
        let places = choices.choose(Site::CompletionOrder, others as u64 + 1) as usize;
        if places > 0
            && let Some(entry) = queue.entries.pop_back()
        {
            queue.entries.insert(last - places, entry);
            self.shared.marks.pass(Mark::CompletionsShuffled);
        }
    }

    /// Read back from where it is, so that nothing is built elsewhere for a tap that is not there.
    #[cold]
    fn tell_last(&self, cq: CqId) {
        if let Some(Entry { completion, .. }) = self.cqs[cq.0 as usize].entries.back() {
            self.tell(|node| Happening::Completed { node, completion });
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self, cq: CqId) -> Option<Entry> {
        let entry = self.cqs.get_mut(cq.0 as usize)?.entries.pop_front()?;
        self.queued -= 1;
        Some(entry)
    }

    pub(crate) fn event(&mut self, event: AsyncEvent) {
        self.tell(|node| Happening::Event { node, event });
        self.fresh = true;
        self.events.push_back(event);
    }

    /// Forgets the completions of an endpoint that is no more.
    pub(crate) fn purge(&mut self, qp: &Qp) {
        let mut receives = 0;
        for cq in &mut self.cqs {
            cq.entries.retain(|e| {
                let forgotten = e.completion.ep == qp.ep;
                receives += u64::from(forgotten && e.side == Side::Recv);
                !forgotten
            });
        }
        if let Some(shared) = &qp.shared {
            shared.borrow_mut().free(receives);
        }
        self.queued = self.cqs.iter().map(|cq| cq.entries.len()).sum();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0 && self.events.is_empty()
    }
}
