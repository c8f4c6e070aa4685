//! A lab whose devices lie, and that can have its links go down.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::{Instant, Wake};
use wavetank_harness::lab::{Cause, DeviceFault, Lab, LabError, Skip, Sleeper, Waited};

use super::liar::Liars;
use super::{Lie, Lying};

/// One of so many wake-ups is lost, by whoever loses some.
const LOST_ONE_IN: u32 = 7;

#[derive(Debug)]
pub(crate) struct LyingLab<L> {
    inner: L,
    lie: Lie,
    liars: Rc<RefCell<Liars>>,
    wakes: u32,
}

impl<L: Lab> LyingLab<L> {
    pub(crate) fn new(inner: L, lie: Lie) -> LyingLab<L> {
        LyingLab { inner, lie, liars: Rc::default(), wakes: 0 }
    }
}

impl<L: Lab> Lab for LyingLab<L> {
    type Device = Lying<L::Device>;

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn open(&mut self, node: u16) -> Result<Lying<L::Device>, LabError> {
        Ok(Lying::new(self.inner.open(node)?, node, self.lie, Rc::clone(&self.liars)))
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wait(&mut self, sleepers: &[Sleeper<'_>], until: Instant) -> Waited {
        if self.lie != Lie::LosesWakeUps {
            return self.inner.wait(sleepers, until);
        }
        self.wakes += 1;
        if !self.wakes.is_multiple_of(LOST_ONE_IN) {
            return self.inner.wait(sleepers, until);
        }
        // Everybody sleeps on, whatever comes.
        let asleep: Vec<_> = sleepers.iter().map(|_| Sleeper { wake: Wake::Idle, notifier: None }).collect();
        while self.inner.wait(&asleep, until) == Waited::Woken {}
        Waited::Reached
    }

    fn inject(&mut self, cause: Cause) -> Result<(), Skip> {
        match cause {
            Cause::Device { node, fault: DeviceFault::PortDown } => {
                self.liars.borrow_mut().links.push((node, false))
            }
            Cause::Device { node, fault: DeviceFault::PortUp } => {
                self.liars.borrow_mut().links.push((node, true))
            }
            _ => self.inner.inject(cause)?,
        }
        Ok(())
    }

    fn undo(&mut self) {
        self.inner.undo();
    }
}
