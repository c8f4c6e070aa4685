//! What all conversations of an engine have in common.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use wavetank_contract::Instant;

use super::limits::ClientLimits;
use super::sessions::{Session, SessionId, Sessions, uuid};
use super::stats::Stats;
use crate::reads::About;

/// What all conversations of an engine have in common. Clones are the same.
#[derive(Clone)]
pub struct Commons(pub(crate) Rc<Common>);

pub(crate) struct Common {
    pub(crate) about: About,
    pub(crate) arena_bytes: u64,
    pub(crate) limits: ClientLimits,
    pub(crate) stats: Stats,
    pub(crate) sessions: RefCell<Sessions>,
    /// Where processes of this user find the arena.
    pub(crate) shm_path: String,
    unix_ns_at_zero: u64,
    chance: RefCell<Box<dyn FnMut() -> u64>>,
    loans: Cell<u64>,
}

impl fmt::Debug for Commons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commons({} sessions)", self.0.sessions.borrow().len())
    }
}

impl Commons {
    /// For an engine.
    ///
    /// `shm_path` is where other processes of this user may open the arena; `unix_ns_at_zero` is the Unix time at
    /// [`Instant::ZERO`]; `chance` gives random words, of which sessions get names that nobody can guess.
    pub fn new(
        about: About,
        arena_bytes: u64,
        limits: ClientLimits,
        shm_path: String,
        unix_ns_at_zero: u64,
        chance: impl FnMut() -> u64 + 'static,
    ) -> Commons {
        Commons(Rc::new(Common {
            about,
            arena_bytes,
            limits,
            stats: Stats::default(),
            sessions: RefCell::default(),
            shm_path,
            unix_ns_at_zero,
            chance: RefCell::new(Box::new(chance)),
            loans: Cell::new(0),
        }))
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// Limits.
    pub fn limits(&self) -> &ClientLimits {
        &self.0.limits
    }

    /// Ends sessions whose time is over.
    pub fn expire(&self, now: Instant) {
        loop {
            let due = self.0.sessions.borrow_mut().pop_due(now);
            let Some(session) = due else { return };
            self.0.stats.sessions_expired.add(1);
            self.0.session_over(&session);
        }
    }

    /// When the next session's time is over.
    pub fn next_end(&self) -> Instant {
        self.0.sessions.borrow().next_end()
    }

    /// Ends all sessions.
    pub fn shut(&self) {
        let ended = std::mem::take(&mut *self.0.sessions.borrow_mut());
        for session in ended.into_all() {
            self.0.session_over(&session);
        }
    }
}

impl Common {
    pub(crate) fn unix_ns(&self, now: Instant) -> u64 {
        self.unix_ns_at_zero.saturating_add(now.0)
    }

    pub(crate) fn session_id(&self) -> SessionId {
        let mut chance = self.chance.borrow_mut();
        uuid(u128::from(chance()) << 64 | u128::from(chance()))
    }

    pub(crate) fn session_over(&self, session: &Session) {
        self.stats.sessions_now.sub(1);
        if session.found.as_ref().is_some_and(|found| found.lease.is_some()) {
            self.stats.leases_now.sub(1);
        }
    }

    /// A name for a loan, which no other loan of this engine has.
    pub(crate) fn loan(&self) -> u64 {
        self.loans.set(self.loans.get() + 1);
        self.loans.get()
    }
}
