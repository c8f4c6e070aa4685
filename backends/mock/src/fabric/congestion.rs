//! Congestion: switches that drop or mark what queues before a port, and senders that slow down.
//!
//! Modelled, not validated: rxe knows neither PFC nor ECN, so there was nothing to compare this with. It is DCQCN in small
//! (Zhu et al., SIGCOMM 2015): one rate for each port instead of one for each queue pair, and no byte counter.

use std::collections::VecDeque;

use wavetank_contract::{Choices, Instant};

use super::agenda::Event;
use super::link::InFlight;
use super::{Fabric, Step};
use crate::marks::Mark;

/// A packet that queued longer than this is marked.
const MARK_ABOVE_NS: u64 = 2_000;

/// A rate is cut at most once in this time: the interval between congestion notifications of one sender.
const CUT_NS: u64 = 50_000;

/// A rate that was not cut for this long makes a step back to the full one.
const STEP_NS: u64 = 55_000;

/// No port gets slower than this, in thousandths of its bandwidth.
const RATE_MIN: u16 = 10;

const RATE_FULL: u16 = 1_000;

/// The queue of a switch before one port.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    /// Room for packets that wait, in bytes. `None`: endless.
    pub(crate) buffer_bytes: Option<u32>,
    /// Mark packets that waited long.
    pub(crate) marks: bool,
    /// With the time at which each came.
    queue: VecDeque<(Instant, InFlight)>,
    queued_bytes: u64,
}

impl Switch {
    /// Whether it is no different from none.
    pub(crate) fn is_idle(&self) -> bool {
        self.buffer_bytes.is_none() && !self.marks && self.queue.is_empty()
    }

    fn has_room(&self, bytes: u32) -> bool {
        self.buffer_bytes.is_none_or(|room| self.queued_bytes + u64::from(bytes) <= u64::from(room))
    }
}

/// How much of its bandwidth a port uses.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// What is missing to the full rate, in thousandths.
    missing: u16,
    cut_at: Option<Instant>,
    stepped_at: Instant,
}

impl Rate {
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.missing > 0
    }

    /// How long a packet takes at this rate that takes `ns` at the full one.
    pub(crate) fn stretched_ns(&mut self, now: Instant, ns: u64) -> u64 {
        self.recover(now);
        ns.saturating_mul(RATE_FULL.into()) / u64::from(RATE_FULL - self.missing)
    }

    /// Halves the rate, unless that was done a moment ago.
    fn cut(&mut self, now: Instant) -> bool {
        self.recover(now);
        if self.cut_at.is_some_and(|at| now < at + CUT_NS) {
            return false;
        }
        self.missing = RATE_FULL - ((RATE_FULL - self.missing) / 2).max(RATE_MIN);
        (self.cut_at, self.stepped_at) = (Some(now), now);
        true
    }

    /// Each step gives back half of what is missing.
    fn recover(&mut self, now: Instant) {
        while self.missing > 0 && self.stepped_at + STEP_NS <= now {
            self.missing /= 2;
            self.stepped_at = self.stepped_at + STEP_NS;
        }
    }
}

impl Fabric {
    /// The first packet of a link comes to a port behind a switch that somebody set up.
    #[cold]
    pub(super) fn switch<C: Choices + ?Sized>(
        &mut self,
        at: Instant,
        from: u16,
        to: u16,
        mut choices: &mut C,
    ) -> Option<Step> {
        let (in_flight, next) = self.links[from as usize][to as usize].pop(at);
        if let Some(next) = next {
            self.agenda.push(next, Event::Arrival { from, to });
        }
        let mut in_flight = in_flight?;
        let port = &mut self.ports[to as usize];
        if let Some(switch) = &mut port.switch
            && in_flight.lost.is_none()
            && !in_flight.admitted
        {
            let bytes = in_flight.packet.wire_bytes();
            let ready = port.receives_free + self.profile.serialise_ns(u64::from(bytes));
            if switch.queue.is_empty() && ready <= at {
                port.receives_free = at;
            } else if switch.has_room(bytes) {
                if switch.queue.is_empty() {
                    port.receives_free = ready;
                    self.agenda.push(ready, Event::Switched { node: to });
                }
                switch.queued_bytes += u64::from(bytes);
                switch.queue.push_back((at, in_flight));
                return None;
            } else {
                in_flight.lost = Some(Mark::BufferOverflow);
            }
        }
        Some(self.take_in(at, to, in_flight, &mut choices))
    }

    /// A port takes in the next packet that queues before it.
    #[cold]
    pub(super) fn switched<C: Choices + ?Sized>(
        &mut self,
        at: Instant,
        node: u16,
        mut choices: &mut C,
    ) -> Option<Step> {
        let port = &mut self.ports[node as usize];
        let switch = port.switch.as_mut()?;
        let (came, in_flight) = switch.queue.pop_front()?;
        switch.queued_bytes -= u64::from(in_flight.packet.wire_bytes());
        let marked = switch.marks && at.since_ns(came) > MARK_ABOVE_NS;
        if let Some((_, next)) = switch.queue.front() {
            let ready = at + self.profile.serialise_ns(u64::from(next.packet.wire_bytes()));
            port.receives_free = ready;
            self.agenda.push(ready, Event::Switched { node });
        }
        self.close_switch(node);
        if marked {
            self.shared.marks.pass(Mark::EcnMarked);
            let sender = in_flight.packet.from_node;
            if self.ports[sender as usize].rate.cut(at) {
                self.shared.marks.pass(Mark::RateCut);
            }
        }
        Some(self.take_in(at, node, in_flight, &mut choices))
    }

    /// Sets up a switch before a port, or changes the one that is there.
    pub(super) fn set_switch(&mut self, node: u16, set: impl FnOnce(&mut Switch)) {
        set(self.ports[node as usize].switch.get_or_insert_default());
        self.close_switch(node);
    }

    /// Takes a switch away that makes no difference any more.
    fn close_switch(&mut self, node: u16) {
        self.ports[node as usize].switch.take_if(|switch| switch.is_idle());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_halved_once_per_interval_and_comes_back_in_steps() {
        let mut rate = Rate::default();
        let at = |us: u64| Instant(us * 1_000);
        assert_eq!(rate.stretched_ns(at(0), 100), 100);
        assert!(rate.cut(at(1_000)) && !rate.cut(at(1_049)));
        assert_eq!(rate.stretched_ns(at(1_049), 100), 200);
        assert!(rate.cut(at(1_050)));
        assert_eq!(rate.stretched_ns(at(1_050), 100), 400);
        // A quarter; then 625, 813, 907 thousandths, and at last all of it.
        assert_eq!(rate.stretched_ns(at(1_105), 1_000), 1_600);
        assert_eq!(rate.stretched_ns(at(1_160), 1_000), 1_230);
        assert_eq!(rate.stretched_ns(at(1_215), 1_000), 1_102);
        assert_eq!(rate.stretched_ns(at(2_000), 1_000), 1_000);
        assert!(!rate.is_cut());
    }

    #[test]
    fn a_rate_never_gets_slower_than_a_hundredth() {
        let mut rate = Rate::default();
        for cut in 0..20 {
            assert!(rate.cut(Instant(1 + cut * CUT_NS)));
        }
        assert_eq!(rate.stretched_ns(Instant(19 * CUT_NS), 10), 1_000);
    }
}
