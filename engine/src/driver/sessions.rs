//! Sessions as the driver keeps them: what they hold comes back when they end.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{EpId, Instant};

use super::{Driver, Retiring};
use crate::context::RdmaOps;
use crate::memory::Exposed;
use crate::session::{Ended, Holding, HoldingId, SessionError, SessionKey, SessionSpec};
use crate::slab::Key;
use crate::transfer::TransferError;

impl<C: RdmaOps> Driver<C> {
    /// Opens a session.
    ///
    /// # Errors
    /// See [`Sessions::create`](crate::session::Sessions::create).
    pub fn create_session(&mut self, now: Instant, spec: SessionSpec) -> Result<SessionKey, SessionError> {
        self.sessions.create(now, spec)
    }

    /// Pushes a session's expiry out.
    ///
    /// # Errors
    /// See [`Sessions::touch`](crate::session::Sessions::touch).
    pub fn touch_session(&mut self, key: SessionKey, now: Instant) -> Result<(), SessionError> {
        self.sessions.touch(key, now)
    }

    /// Lets a session keep something; it is returned when the session ends.
    ///
    /// # Errors
    /// See [`Sessions::hold`](crate::session::Sessions::hold).
    pub fn hold(&mut self, key: SessionKey, holding: Holding) -> Result<HoldingId, SessionError> {
        self.sessions.hold(key, holding)
    }

    /// What a session exposes, to lease of it with the device that comes along.
    ///
    /// # Errors
    /// See [`Sessions::exposed`](crate::session::Sessions::exposed).
    pub fn exposed(
        &mut self,
        key: SessionKey,
        id: HoldingId,
    ) -> Result<(&mut Exposed, &mut C), SessionError> {
        Ok((self.sessions.exposed(key, id)?, &mut self.context))
    }

    /// Ends a session now and returns everything it held.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn close_session(&mut self, key: SessionKey, now: Instant) -> Result<(), SessionError> {
        let held = unpack(self.sessions.close(key)?);
        self.release(held, now);
        Ok(())
    }

    /// Returns what an ended session held. Its endpoint goes first, so that its works come back at once.
    pub(super) fn release(&mut self, (ep, holdings): (Option<EpId>, Vec<Holding>), now: Instant) {
        if let Some(ep) = ep {
            self.context.close(ep);
        }
        for holding in holdings {
            match holding {
                Holding::Transfer(_) if planted::is(Bug::KeepTransfersOfSession) => {}
                Holding::Transfer(id) => {
                    self.abandon(Key::from_u64(id), TransferError::SessionEnded, now);
                }
                Holding::Registration(mr) => self.retiring.push(Retiring::new(mr)),
                // Works that still use it hold it.
                Holding::Lease(lease) => drop(lease),
                // The keys die here, as soon as they can. The memory waits for its pool, which finds them dead.
                Holding::Exposed(exposed) => {
                    self.retiring.extend(exposed.registrations().map(Retiring::new));
                }
            }
        }
        self.retire(now);
        // Orders that wait there are to be refused. There is no lane where nothing was ever submitted.
        if let Some(ep) = ep
            && (ep.0 as usize) < self.lanes.len()
        {
            self.mark(ep);
        }
    }
}

pub(super) fn unpack(ended: Ended<'_>) -> (Option<EpId>, Vec<Holding>) {
    (ended.spec.ep, ended.holdings.collect())
}
