//! Ports: a node's connection to the network.

use wavetank_contract::Instant;

use super::congestion::{Rate, Switch};
use crate::marks::{Mark, Marks};

/// A node's connection to the network: sends and receives at the profile's bandwidth, both at once.
#[derive(Debug, Default)]
pub(crate) struct Port {
    /// When the last packet given to it has left.
    pub(crate) sends_free: Instant,
    /// When it has taken in the last packet it set time aside for.
    pub(crate) receives_free: Instant,
    /// An event is planned for when it can take more to send.
    pub(crate) waiting: bool,
    /// The cable is out: nothing leaves, nothing arrives.
    pub(crate) down: bool,
    /// There is no device behind it: it was removed, or the node crashed.
    pub(crate) nobody: bool,
    /// Until when its peer asked it to send nothing.
    paused_until: Instant,
    pause_noted: bool,
    pub(crate) rate: Rate,
    /// What queues in the switch before it. `None`: as much as comes.
    pub(crate) switch: Option<Box<Switch>>,
}

impl Port {
    /// When it can send again.
    #[inline]
    pub(crate) fn sends_at(&self) -> Instant {
        self.sends_free.max(self.paused_until)
    }

    /// Nothing leaves it until then; `ZERO` ends a pause.
    pub(crate) fn pause(&mut self, until: Instant) {
        (self.paused_until, self.pause_noted) = (until, false);
    }

    /// Somebody has to wait. If for a pause, that is noted once per pause.
    #[inline]
    pub(crate) fn note_wait(&mut self, now: Instant, marks: &Marks) {
        if self.paused_until > now && !self.pause_noted {
            self.pause_noted = true;
            marks.pass(Mark::PfcPaused);
        }
    }
}
