//! What happens next: events by time, ties by the order in which they were planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use wavetank_contract::Instant;

/// Something planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The first packet of a link arrives. Only the first of each link is planned: links keep their order, so the
    /// agenda stays as small as the network, however much is in flight.
    Arrival { from: u16, to: u16 },
    /// A port can take more to send.
    PortFree { node: u16 },
    /// An endpoint's timer fires.
    Timer { node: u16, ep: u32 },
}

/// The agenda.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    planned: u64,
}

impl Agenda {
    #[inline]
    pub(crate) fn push(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        self.heap.push(Reverse((at, self.planned, event)));
    }

    /// The next event; it stays on the agenda.
    #[inline]
    pub(crate) fn first(&self) -> Option<(Instant, Event)> {
        self.heap.peek().map(|Reverse((at, _, event))| (*at, *event))
    }

    /// Takes the next event off.
    #[inline]
    pub(crate) fn pop(&mut self) {
        self.heap.pop();
    }

    /// Plans the next event for later, as if it were taken off and planned anew.
    #[inline]
    pub(crate) fn postpone(&mut self, to: Instant) {
        if let Some(mut first) = self.heap.peek_mut() {
            self.planned += 1;
            let Reverse((at, planned, _)) = &mut *first;
            (*at, *planned) = (to, self.planned);
        }
    }

    #[inline]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.first().map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_broken_by_the_order_of_planning() {
        let mut agenda = Agenda::default();
        for (at, node) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            agenda.push(Instant(at), Event::PortFree { node });
        }
        let next = || {
            let first = agenda.first();
            agenda.pop();
            first.map(|(_, event)| event)
        };
        let nodes: Vec<_> = std::iter::from_fn(next).collect();
        assert_eq!(nodes, [1, 3, 0, 2].map(|node| Event::PortFree { node }));
    }
}
