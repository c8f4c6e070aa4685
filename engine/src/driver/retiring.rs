//! Registrations of ended sessions: ended as soon as nothing uses them any more.

use wavetank_contract::error::DeregisterError;
use wavetank_contract::{Instant, MrId};

use super::Driver;
use crate::context::RdmaOps;

/// When a device that refused is asked again for the first time. Twice as long after each further time.
const WAIT_NS_MIN: u64 = 1_000_000;

/// How long it is left alone at most.
const WAIT_NS_MAX: u64 = 1_000_000_000;

/// A registration that is to end.
#[derive(Debug)]
pub(super) struct Retiring {
    pub(super) mr: MrId,
    /// When to try again; with every turn if nothing is said.
    again_at: Option<Instant>,
    wait_ns: u64,
}

impl Retiring {
    pub(super) fn new(mr: MrId) -> Retiring {
        Retiring { mr, again_at: None, wait_ns: WAIT_NS_MIN }
    }
}

impl<C: RdmaOps> Driver<C> {
    /// Ends the registrations that nothing uses any more.
    #[inline]
    pub(super) fn retire(&mut self, now: Instant) {
        if self.retiring.is_empty() {
            return;
        }
        let context = &mut self.context;
        self.retiring.retain_mut(|retiring| {
            if retiring.again_at.is_some_and(|at| at > now) {
                return true;
            }
            match context.deregister(retiring.mr) {
                Ok(()) | Err(DeregisterError::Unknown(_)) => false,
                // Whatever returns the lease or closes the window is seen with the next turn.
                Err(DeregisterError::LeasesLive { .. } | DeregisterError::WindowsBound { .. }) => {
                    retiring.again_at = None;
                    true
                }
                // UCX says EBUSY while a peer that was stopped is in the middle of a write. Nobody tells when it is over, and
                // asking is not free.
                Err(_) => {
                    retiring.again_at = Some(now + retiring.wait_ns);
                    retiring.wait_ns = (2 * retiring.wait_ns).min(WAIT_NS_MAX);
                    true
                }
            }
        });
    }

    /// When a device that refused is to be asked again.
    pub(super) fn retire_next(&self) -> Option<Instant> {
        self.retiring.iter().filter_map(|retiring| retiring.again_at).min()
    }
}
