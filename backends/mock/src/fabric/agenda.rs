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
    /// A port takes in the next packet of the switch before it.
    Switched { node: u16 },
    /// An endpoint's timer fires.
    Timer { node: u16, ep: u32 },
}

/// An event, when it is due, and how many were planned before it.
type Planned = (Instant, u64, Event);

/// The agenda: a list with the next event last, and a heap of timers.
///
/// Packets are planned a little ahead, one per link, and find their place within a few steps from the end of the list.
/// Timers are planned far ahead, one per endpoint, and most are never heard of again: they stay out of the way.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    soon: Vec<Planned>,
    timers: BinaryHeap<Reverse<Planned>>,
    planned: u64,
}

impl Agenda {
    #[inline]
    pub(crate) fn push(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        let planned = (at, self.planned, event);
        if matches!(event, Event::Timer { .. }) {
            self.timers.push(Reverse(planned));
        } else {
            // Of equal instants the one planned first comes first: the new one goes before all that are not later.
            let sooner = self.soon.iter().rev().take_while(|(other, ..)| *other <= at).count();
            self.soon.insert(self.soon.len() - sooner, planned);
        }
    }

    /// When the next event is due.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        match (self.soon.last(), timer) {
            (Some((at, ..)), Some(timer)) => Some(timer.min(*at)),
            (soon, timer) => soon.map(|(at, ..)| *at).or(timer),
        }
    }

    /// Takes the next event off.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Instant, Event)> {
        let timer_first = match (self.timers.peek(), self.soon.last()) {
            (Some(Reverse(timer)), Some(soon)) => (timer.0, timer.1) < (soon.0, soon.1),
            (timer, _) => timer.is_some(),
        };
        let next = if timer_first { self.timers.pop().map(|Reverse(timer)| timer) } else { self.soon.pop() };
        next.map(|(at, _, event)| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything off, in order.
    fn drain(agenda: &mut Agenda) -> Vec<(Instant, Event)> {
        std::iter::from_fn(|| agenda.pop()).collect()
    }

    #[test]
    fn ties_are_broken_by_the_order_of_planning() {
        let mut agenda = Agenda::default();
        let port = |node| Event::PortFree { node };
        let timer = |ep| Event::Timer { node: 0, ep };
        for (at, event) in
            [(5, port(0)), (3, timer(1)), (5, timer(2)), (3, port(3)), (5, port(4)), (3, timer(5))]
        {
            agenda.push(Instant(at), event);
        }
        let order: Vec<_> = drain(&mut agenda).into_iter().map(|(_, event)| event).collect();
        assert_eq!(order, [timer(1), port(3), timer(5), port(0), timer(2), port(4)]);
    }

    #[test]
    fn events_come_in_the_order_of_a_sort_by_time() {
        use wavetank_contract::{Choices, Seeded, Site};
        let mut choices = Seeded::new(3);
        let mut agenda = Agenda::default();
        let mut model = Vec::new();
        for number in 0..500u32 {
            let at = Instant(choices.choose(Site::WorkloadArrival, 50));
            let event = match number % 3 {
                0 => Event::Timer { node: 0, ep: number },
                _ => Event::Arrival { from: number as u16, to: 0 },
            };
            agenda.push(at, event);
            model.push((at, event));
            assert_eq!(agenda.next_at(), model.iter().map(|(at, _)| *at).min());
            if number % 7 == 0
                && let Some((at, event)) = agenda.pop()
            {
                agenda.push(at + 20, event);
                let taken = model.iter().position(|m| *m == (at, event)).expect("on the agenda");
                model.remove(taken);
                model.push((at + 20, event));
            }
        }
        model.sort_by_key(|(at, _)| *at);
        assert_eq!(drain(&mut agenda), model, "a stable sort keeps the order of planning");
    }
}
