//! Waiting on the bench: by wake-ups, and never without an end.

use wavetank_contract::{AsyncEvent, CqId, Instant};

use super::post::variant;
use super::{Bench, DEADLINE_NS, side_name};
use crate::kit::stop::{Ended, Stop, ensure, fail};
use crate::lab::{Lab, Sleeper, Waited};

/// Wake-ups in a row that bring nothing before a device counts as restless. Arming a notification may cost one each, and
/// looking every millisecond until the deadline is five thousand.
const EMPTY_WAKES_MAX: u32 = 20_000;

impl<L: Lab> Bench<'_, L> {
    /// Sleeps until a device that is polled may have something to say.
    fn sleep(&mut self, until: Instant) -> Waited {
        let polled = self.sides.iter().filter(|side| side.polled);
        let sleepers: Vec<_> = polled.map(|side| Sleeper::device(&side.device)).collect();
        self.lab.wait(&sleepers, until)
    }

    fn was_woken_for_nothing(&mut self) -> Ended {
        self.empty_wakes += 1;
        ensure!(self.empty_wakes < EMPTY_WAKES_MAX, "woken again and again with nothing to say");
        Ok(())
    }

    /// Polls, or waits until there is something to poll. False when it is too late.
    pub(in crate::kit) fn turn(&mut self, deadline: Instant) -> Result<bool, Stop> {
        if self.pump()? {
            self.empty_wakes = 0;
            return Ok(true);
        }
        if self.now() >= deadline {
            return Ok(false);
        }
        if self.sleep(deadline) == Waited::Reached {
            ensure!(!self.pump()?, "something came and nobody was woken for it");
            return Ok(false);
        }
        self.was_woken_for_nothing()?;
        Ok(true)
    }

    /// Polls what comes until a point in time: for what nobody is woken for.
    pub(in crate::kit) fn look_until(&mut self, until: Instant) -> Ended {
        while self.now() < until {
            if self.pump()? {
                self.empty_wakes = 0;
            }
            self.sleep(until);
            self.was_woken_for_nothing()?;
        }
        self.pump().map(drop)
    }

    /// Lets time pass and polls nothing.
    pub(in crate::kit) fn pass(&mut self, ns: u64) {
        let until = self.now() + ns;
        while self.now() < until {
            self.lab.wait(&[], until);
        }
    }

    /// Lets time pass with nothing to do. How often somebody was woken.
    pub(in crate::kit) fn idle(&mut self, ns: u64) -> Result<u32, Stop> {
        while self.pump()? {}
        let until = self.now() + ns;
        let mut woken = 0;
        while self.now() < until && woken < 1000 {
            if self.sleep(until) == Waited::Woken {
                woken += 1;
                self.pump()?;
            }
        }
        Ok(woken)
    }

    /// Nobody polls this side from now on.
    pub(in crate::kit) fn leave_alone(&mut self, side: usize) {
        self.sides[side].polled = false;
    }

    /// Somebody polls it again.
    pub(in crate::kit) fn attend(&mut self, side: usize) {
        self.sides[side].polled = true;
    }

    /// The queue is polled like the main one.
    pub(in crate::kit) fn poll_too(&mut self, side: usize, cq: CqId) {
        self.sides[side].cqs.push(cq);
    }

    /// The queue is polled by hand again.
    pub(in crate::kit) fn poll_no_more(&mut self, side: usize, cq: CqId) {
        self.sides[side].cqs.retain(|other| *other != cq);
    }

    /// Waits for an event.
    pub(in crate::kit) fn event(&mut self, side: usize, wanted: AsyncEvent) -> Ended {
        let deadline = self.now() + DEADLINE_NS;
        let name = format!("{}: event {}", side_name(side), self.event_name(side, &wanted));
        loop {
            if let Some(at) = self.sides[side].events.iter().position(|event| *event == wanted) {
                self.sides[side].events.remove(at);
                self.note(name);
                return Ok(());
            }
            if !self.turn(deadline)? {
                fail!("{name} never came");
            }
        }
    }

    /// Events that came and that nobody asked for yet.
    pub(in crate::kit) fn events(&self, side: usize) -> &[AsyncEvent] {
        &self.sides[side].events
    }

    /// An event as it is written down.
    pub(in crate::kit) fn event_name(&self, side: usize, event: &AsyncEvent) -> String {
        match event {
            AsyncEvent::QpFatal(ep)
            | AsyncEvent::QpReqErr(ep)
            | AsyncEvent::QpAccessErr(ep)
            | AsyncEvent::CommEst(ep)
            | AsyncEvent::SqDrained(ep)
            | AsyncEvent::LastWqeReached(ep) => format!("{} of {}", variant(event), self.ep_name(side, *ep)),
            _ => variant(event),
        }
    }
}
