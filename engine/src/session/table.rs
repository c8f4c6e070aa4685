//! The sessions of one engine.

use core::fmt;

use thiserror::Error;
use wavetank_contract::{EpId, Instant, Lease};

use super::holding::{Holding, HoldingId, HoldingKind, Holdings, Ledger};
use super::slab::{Key, NOWHERE, Slab};
use crate::deadline::Deadlines;

/// The name of a session. Once its session has ended, it names nothing for ever: no later session gets it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(Key);

impl SessionKey {
    /// As one number, for a peer to keep. Never 0.
    pub const fn to_u64(self) -> u64 {
        self.0.to_u64()
    }

    /// From a number that a peer sent. Any number will do: one that names nothing is refused where it is used.
    pub const fn from_u64(bits: u64) -> SessionKey {
        SessionKey(Key::from_u64(bits))
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0.index, self.0.generation)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({self})")
    }
}

/// What a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// Whose it is, in the caller's numbering.
    pub peer: u32,
    /// The endpoint it owns, closed when the session ends.
    pub ep: Option<EpId>,
    /// How long it lives after its last sign of life; [`SessionSpec::FOREVER_NS`] is until it is closed.
    pub ttl_ns: u64,
}

impl SessionSpec {
    /// The time to live of a session that never expires.
    pub const FOREVER_NS: u64 = u64::MAX;

    /// A session without an endpoint.
    pub const fn new(peer: u32, ttl_ns: u64) -> SessionSpec {
        SessionSpec {
            peer,
            ep: None,
            ttl_ns,
        }
    }
}

/// Why a call on sessions was refused. Nothing has changed, but for a lease that was to be held: it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// As many are open as may be.
    #[error("{limit} sessions are open, the limit; close one, wait for one to expire, or raise the limit")]
    Full {
        /// The limit.
        limit: u32,
    },
    /// Not open: closed, expired, or never made.
    #[error("session {0} is not open: it was closed, has expired or never was; create a new one")]
    Unknown(SessionKey),
    /// Its deadline has passed, and it is about to be swept.
    #[error("session {key} expired at {deadline}, it is {now} now; touch it earlier or give it a longer ttl_ns")]
    Expired {
        /// The session.
        key: SessionKey,
        /// When it ended.
        deadline: Instant,
        /// When it was touched.
        now: Instant,
    },
    /// It would be over when it begins.
    #[error("a session with ttl_ns 0 would expire at once; give at least 1, or u64::MAX for one that never does")]
    NoTtl,
    /// The session does not hold this (any more).
    #[error("session {key} holds no {id}: it was taken before, or is held by another session")]
    NotHeld {
        /// The session.
        key: SessionKey,
        /// What it was asked for.
        id: HoldingId,
    },
    /// The session holds it, but it is something else.
    #[error("holding {id} of session {key} is a {is}, and a {asked} was asked for")]
    WrongKind {
        /// The session.
        key: SessionKey,
        /// What it was asked for.
        id: HoldingId,
        /// What it is.
        is: HoldingKind,
        /// What it was to be.
        asked: HoldingKind,
    },
    /// No number is left for another holding.
    #[error("the sessions hold {0} things, as many as can be told apart; end a session first")]
    HoldingsFull(u32),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Somebody closed it.
    Closed,
    /// Its deadline came.
    Expired,
}

/// A session that has just ended, and all it held.
#[derive(Debug)]
pub struct Ended<'a> {
    /// What its name was.
    pub key: SessionKey,
    /// What it was. Its endpoint is to be closed.
    pub spec: SessionSpec,
    /// Why it ended.
    pub reason: EndReason,
    /// What is to be returned, the latest first.
    pub holdings: Holdings<'a>,
}

/// Flat rather than with a [`SessionSpec`] inside: that way it has no padding, and there may be millions.
#[derive(Clone, Copy, Debug)]
struct Session {
    ttl_ns: u64,
    ep: Option<EpId>,
    peer: u32,
    /// The first of its holdings, or [`NOWHERE`].
    holdings: u32,
}

impl Session {
    #[inline]
    fn spec(self) -> SessionSpec {
        SessionSpec {
            peer: self.peer,
            ep: self.ep,
            ttl_ns: self.ttl_ns,
        }
    }
}

/// All sessions, by key and by deadline.
///
/// An open session takes 52 bytes; vectors that have just doubled may have room for as many again. Creating, looking
/// up and closing take constant time for the sessions made or touched last, and O(log n) of all open ones at worst.
#[derive(Debug)]
pub struct Sessions {
    sessions: Slab<Session>,
    ledger: Ledger,
    deadlines: Deadlines,
    limit: u32,
}

impl Sessions {
    /// None yet, and never more than `limit` at a time. Memory grows with what is open, not with the limit.
    pub fn with_limit(limit: u32) -> Sessions {
        Sessions {
            sessions: Slab::new(),
            ledger: Ledger::new(),
            deadlines: Deadlines::new(),
            limit,
        }
    }

    /// Makes room, so that the next `more` sessions allocate nothing. No more than the limit allows.
    pub fn reserve(&mut self, more: u32) {
        let more = more.min(self.limit - self.sessions.len()) as usize;
        self.sessions.reserve(more);
        self.deadlines.reserve(more);
    }

    /// How many are open.
    #[inline]
    pub fn len(&self) -> u32 {
        self.sessions.len()
    }

    /// Whether none is open.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.sessions.len() == 0
    }

    /// How many may be open.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// How many things they hold, endpoints aside.
    pub fn holdings_len(&self) -> u32 {
        self.ledger.len()
    }

    /// Bytes allocated for all of this, used or not.
    pub fn bytes_in_use(&self) -> usize {
        self.sessions.bytes_in_use() + self.ledger.bytes_in_use() + self.deadlines.bytes_in_use()
    }

    /// Opens a session that expires at `now + ttl_ns`.
    ///
    /// # Errors
    /// [`SessionError::Full`] at the limit, [`SessionError::NoTtl`] for one that would be over at once.
    #[inline]
    pub fn create(&mut self, now: Instant, spec: SessionSpec) -> Result<SessionKey, SessionError> {
        let SessionSpec { peer, ep, ttl_ns } = spec;
        if ttl_ns == 0 {
            return Err(SessionError::NoTtl);
        }
        let full = SessionError::Full { limit: self.limit };
        if self.sessions.len() >= self.limit {
            return Err(full);
        }
        let session = Session {
            ttl_ns,
            ep,
            peer,
            holdings: NOWHERE,
        };
        let key = self.sessions.insert(session).ok_or(full)?;
        self.deadlines.set(key.index, now + ttl_ns);
        Ok(SessionKey(key))
    }

    /// What an open session is. One whose deadline has passed is open until [`expire_due`](Self::expire_due) takes it.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    #[inline]
    pub fn get(&self, key: SessionKey) -> Result<SessionSpec, SessionError> {
        self.session(key).map(|session| session.spec())
    }

    /// When a session will expire if nothing touches it.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn deadline(&self, key: SessionKey) -> Result<Instant, SessionError> {
        self.session(key)?;
        Ok(self.deadlines.get(key.0.index).unwrap_or(Instant::FAR))
    }

    /// A sign of life: the session now expires at `now + ttl_ns`, and never earlier than it would have.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and [`SessionError::Expired`] from the deadline on, swept or not: how often
    /// somebody sweeps does not decide who lives.
    #[inline]
    pub fn touch(&mut self, key: SessionKey, now: Instant) -> Result<(), SessionError> {
        let ttl_ns = self.session(key)?.ttl_ns;
        let Some(deadline) = self.deadlines.get(key.0.index) else {
            return Ok(());
        };
        if deadline <= now {
            return Err(SessionError::Expired { key, deadline, now });
        }
        let later = now + ttl_ns;
        if later > deadline {
            self.deadlines.set(key.0.index, later);
        }
        Ok(())
    }

    /// Gives a session its endpoint, or takes it away. Returns the one it had.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn set_endpoint(
        &mut self,
        key: SessionKey,
        ep: Option<EpId>,
    ) -> Result<Option<EpId>, SessionError> {
        let session = self.sessions.get_mut(key.0).ok_or(SessionError::Unknown(key))?;
        Ok(core::mem::replace(&mut session.ep, ep))
    }

    /// Ends a session. What it held comes out with it.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    #[inline]
    pub fn close(&mut self, key: SessionKey) -> Result<Ended<'_>, SessionError> {
        self.end(key.0, EndReason::Closed).ok_or(SessionError::Unknown(key))
    }

    /// Ends the session with the earliest deadline, if that is `now` or earlier. Call until `None`; sessions come in
    /// the order of their deadlines.
    #[inline]
    pub fn expire_due(&mut self, now: Instant) -> Option<Ended<'_>> {
        let index = self.deadlines.pop_due(now)?;
        let key = self.sessions.key_at(index)?;
        self.end(key, EndReason::Expired)
    }

    /// When the next session will expire, if any ever will.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| at)
    }

    /// Closes all of them, in no order that means anything, but the same in every run.
    pub fn close_all(&mut self, mut each: impl FnMut(Ended<'_>)) {
        for index in 0..self.sessions.places() {
            if let Some(key) = self.sessions.key_at(index)
                && let Some(ended) = self.end(key, EndReason::Closed)
            {
                each(ended);
            }
        }
    }

    /// The open ones, in the same order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionKey, SessionSpec)> + '_ {
        self.sessions
            .iter()
            .map(|(key, session)| (SessionKey(key), session.spec()))
    }

    /// Puts something into a session's keeping. Allocates only when more is held than ever before.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and then a lease is dropped: its memory goes back.
    pub fn hold(&mut self, key: SessionKey, holding: Holding) -> Result<HoldingId, SessionError> {
        let session = self.sessions.get_mut(key.0).ok_or(SessionError::Unknown(key))?;
        self.ledger
            .push(key.0.index, &mut session.holdings, holding)
            .ok_or(SessionError::HoldingsFull(self.ledger.len()))
    }

    /// Takes something out of a session's keeping.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::NotHeld`].
    pub fn take(&mut self, key: SessionKey, id: HoldingId) -> Result<Holding, SessionError> {
        let session = self.sessions.get_mut(key.0).ok_or(SessionError::Unknown(key))?;
        self.ledger
            .take(key.0.index, &mut session.holdings, id)
            .ok_or(SessionError::NotHeld { key, id })
    }

    /// Looks at a lease that a session holds.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::NotHeld`], [`SessionError::WrongKind`].
    pub fn lease(&self, key: SessionKey, id: HoldingId) -> Result<&Lease, SessionError> {
        self.session(key)?;
        match self.ledger.get(key.0.index, id) {
            None => Err(SessionError::NotHeld { key, id }),
            Some(Holding::Lease(lease)) => Ok(lease),
            Some(other) => Err(SessionError::WrongKind {
                key,
                id,
                is: other.kind(),
                asked: HoldingKind::Lease,
            }),
        }
    }

    /// Takes a lease out of a session's keeping. Anything else stays where it is.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::NotHeld`], [`SessionError::WrongKind`].
    pub fn take_lease(&mut self, key: SessionKey, id: HoldingId) -> Result<Lease, SessionError> {
        self.lease(key, id)?;
        match self.take(key, id)? {
            Holding::Lease(lease) => Ok(lease),
            _ => Err(SessionError::NotHeld { key, id }),
        }
    }

    /// What a session holds, the latest first.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn holdings(
        &self,
        key: SessionKey,
    ) -> Result<impl Iterator<Item = (HoldingId, &Holding)>, SessionError> {
        Ok(self.ledger.iter(self.session(key)?.holdings))
    }

    #[inline]
    fn session(&self, key: SessionKey) -> Result<&Session, SessionError> {
        self.sessions.get(key.0).ok_or(SessionError::Unknown(key))
    }

    #[inline]
    fn end(&mut self, key: Key, reason: EndReason) -> Option<Ended<'_>> {
        let session = self.sessions.remove(key)?;
        self.deadlines.remove(key.index);
        Some(Ended {
            key: SessionKey(key),
            spec: session.spec(),
            reason,
            holdings: self.ledger.drain(session.holdings),
        })
    }
}
