//! The sessions of one engine.

use core::fmt;

use thiserror::Error;
use wavetank_contract::{EpId, Instant, Lease};

use super::holding::{Belongings, Holding, HoldingId, HoldingKind, Holdings};
use super::ledger::SessionLedger;
use crate::deadline::Deadlines;
use crate::memory::Exposed;
use crate::slab::{Key, NOWHERE, Slab};

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
        SessionSpec { peer, ep: None, ttl_ns }
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
    #[error(
        "session {key} expired at {deadline}, it is {now} now; touch it earlier or give it a longer ttl_ns"
    )]
    Expired {
        /// The session.
        key: SessionKey,
        /// When it ended.
        deadline: Instant,
        /// When it was touched.
        now: Instant,
    },
    /// It would be over when it begins.
    #[error(
        "a session with ttl_ns 0 would expire at once; give at least 1, or u64::MAX for one that never does"
    )]
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
        SessionSpec { peer: self.peer, ep: self.ep, ttl_ns: self.ttl_ns }
    }
}

/// All sessions, by key and by deadline.
///
/// An open session takes 52 bytes; vectors that have just doubled may have room for as many again. Creating, looking
/// up and closing take constant time for the sessions made or touched last, and O(log n) of all open ones at worst.
#[derive(Debug)]
pub struct Sessions {
    sessions: Slab<Session>,
    belongings: Belongings,
    deadlines: Deadlines,
    limit: u32,
}

impl Sessions {
    /// None yet, and never more than `limit` at a time. Memory grows with what is open, not with the limit.
    pub fn with_limit(limit: u32) -> Sessions {
        Sessions { sessions: Slab::new(), belongings: Belongings::new(), deadlines: Deadlines::new(), limit }
    }

    /// Makes room, so that the next `more` sessions allocate nothing. No more than the limit allows.
    pub fn reserve(&mut self, more: u32) {
        let more = more.min(self.limit - self.sessions.len());
        self.sessions.reserve(more as usize);
        // Vacant places are used again first, so no index goes past either of these.
        let places = self.sessions.places().max(self.sessions.len() + more);
        self.deadlines.reserve(places as usize);
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
        self.belongings.len()
    }

    /// Bytes allocated for all of this, used or not.
    pub fn bytes_in_use(&self) -> usize {
        self.sessions.bytes_in_use() + self.belongings.bytes_in_use() + self.deadlines.bytes_in_use()
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
        let session = Session { ttl_ns, ep, peer, holdings: NOWHERE };
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
    pub fn set_endpoint(&mut self, key: SessionKey, ep: Option<EpId>) -> Result<Option<EpId>, SessionError> {
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
        self.sessions.iter().map(|(key, session)| (SessionKey(key), session.spec()))
    }

    /// Puts something into a session's keeping. Allocates only when more is held than ever before.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and then a lease is dropped: its memory goes back.
    pub fn hold(&mut self, key: SessionKey, holding: Holding) -> Result<HoldingId, SessionError> {
        let session = self.sessions.get_mut(key.0).ok_or(SessionError::Unknown(key))?;
        self.belongings
            .push(key.0.index, &mut session.holdings, holding)
            .ok_or(SessionError::HoldingsFull(self.belongings.len()))
    }

    /// Takes something out of a session's keeping.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::NotHeld`].
    pub fn take(&mut self, key: SessionKey, id: HoldingId) -> Result<Holding, SessionError> {
        let session = self.sessions.get_mut(key.0).ok_or(SessionError::Unknown(key))?;
        self.belongings.take(key.0.index, &mut session.holdings, id).ok_or(SessionError::NotHeld { key, id })
    }

    /// Looks at a lease that a session holds.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::NotHeld`], [`SessionError::WrongKind`].
    pub fn lease(&self, key: SessionKey, id: HoldingId) -> Result<&Lease, SessionError> {
        self.session(key)?;
        match self.belongings.get(key.0.index, id) {
            None => Err(SessionError::NotHeld { key, id }),
            Some(Holding::Lease(lease)) => Ok(lease),
            Some(other) => {
                Err(SessionError::WrongKind { key, id, is: other.kind(), asked: HoldingKind::Lease })
            }
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
        Ok(self.belongings.iter(self.session(key)?.holdings))
    }

    /// What a session exposes, if this holding is that.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::NotHeld`], [`SessionError::WrongKind`].
    pub fn exposed(&mut self, key: SessionKey, id: HoldingId) -> Result<&mut Exposed, SessionError> {
        self.session(key)?;
        match self.belongings.get_mut(key.0.index, id) {
            None => Err(SessionError::NotHeld { key, id }),
            Some(Holding::Exposed(exposed)) => Ok(exposed),
            Some(other) => {
                Err(SessionError::WrongKind { key, id, is: other.kind(), asked: HoldingKind::Exposed })
            }
        }
    }

    /// What a session holds, in figures. Takes as long as it holds things.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn ledger(&self, key: SessionKey) -> Result<SessionLedger, SessionError> {
        let session = self.session(key)?;
        let endpoints = u32::from(session.ep.is_some());
        let mut ledger = SessionLedger { endpoints, ..SessionLedger::default() };
        self.belongings.iter(session.holdings).for_each(|(_, holding)| ledger.enter(holding));
        Ok(ledger)
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
            holdings: self.belongings.drain(session.holdings),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use wavetank_contract::{MrId, Region, RegionSpec};

    use super::*;

    const MS: u64 = 1_000_000;

    /// One byte of a region of as many bytes as leases are wanted, less or more.
    fn region() -> Region {
        let spec = RegionSpec { granule_bytes: 8, ..RegionSpec::new(4096) };
        Region::allocate(&spec).expect("small region")
    }

    fn spec(ttl_ns: u64) -> SessionSpec {
        SessionSpec::new(1, ttl_ns)
    }

    #[test]
    fn a_session_expires_at_its_deadline_and_not_a_nanosecond_before() {
        let mut sessions = Sessions::with_limit(10);
        let key = sessions.create(Instant(5), spec(MS)).expect("room");
        assert_eq!(sessions.next_deadline(), Some(Instant(MS + 5)));
        assert!(sessions.expire_due(Instant(MS + 4)).is_none());
        assert_eq!(sessions.get(key), Ok(spec(MS)));
        let ended = sessions.expire_due(Instant(MS + 5)).expect("due");
        assert_eq!((ended.key, ended.reason), (key, EndReason::Expired));
        drop(ended);
        assert_eq!(sessions.get(key), Err(SessionError::Unknown(key)));
        assert_eq!(sessions.next_deadline(), None);
    }

    #[test]
    fn a_touch_pushes_the_deadline_out_and_never_in() {
        let mut sessions = Sessions::with_limit(10);
        let key = sessions.create(Instant(100), spec(50)).expect("room");
        assert_eq!(sessions.touch(key, Instant(149)), Ok(()));
        assert_eq!(sessions.deadline(key), Ok(Instant(199)));
        assert_eq!(sessions.touch(key, Instant(120)), Ok(()));
        assert_eq!(sessions.deadline(key), Ok(Instant(199)));
        sessions.touch(key, Instant(u64::MAX - 60)).expect_err("too late");
        assert_eq!(sessions.deadline(key), Ok(Instant(199)));
    }

    #[test]
    fn a_session_past_its_deadline_cannot_be_touched_to_life() {
        let mut sessions = Sessions::with_limit(10);
        let key = sessions.create(Instant(0), spec(50)).expect("room");
        let (deadline, now) = (Instant(50), Instant(50));
        assert_eq!(sessions.touch(key, now), Err(SessionError::Expired { key, deadline, now }));
        assert_eq!(sessions.expire_due(now).map(|ended| ended.key), Some(key));
    }

    #[test]
    fn a_session_for_ever_has_no_deadline() {
        let mut sessions = Sessions::with_limit(10);
        let key = sessions.create(Instant(9), spec(SessionSpec::FOREVER_NS)).expect("room");
        assert_eq!(sessions.next_deadline(), None);
        assert_eq!(sessions.deadline(key), Ok(Instant::FAR));
        assert_eq!(sessions.touch(key, Instant(u64::MAX)), Ok(()));
        assert!(sessions.expire_due(Instant::FAR).is_none());
        assert!(sessions.close(key).is_ok());
    }

    #[test]
    fn the_limit_is_kept_and_named() {
        let mut sessions = Sessions::with_limit(2);
        let first = sessions.create(Instant(0), spec(9)).expect("room");
        sessions.create(Instant(0), spec(9)).expect("room");
        let refused = sessions.create(Instant(0), spec(9)).expect_err("refused");
        assert_eq!(refused, SessionError::Full { limit: 2 });
        assert!(refused.to_string().starts_with("2 sessions are open, the limit"));
        sessions.close(first).expect("open");
        assert!(sessions.create(Instant(0), spec(9)).is_ok());
        let mut none = Sessions::with_limit(0);
        assert_eq!(none.create(Instant(0), spec(9)), Err(SessionError::Full { limit: 0 }));
        assert_eq!(sessions.create(Instant(0), spec(0)), Err(SessionError::NoTtl));
    }

    #[test]
    fn a_key_of_an_ended_session_names_nothing_for_ever() {
        let mut sessions = Sessions::with_limit(4);
        let stale = sessions.create(Instant(0), spec(9)).expect("room");
        sessions.close(stale).expect("open");
        let key = sessions.create(Instant(0), spec(9)).expect("room");
        assert_ne!(key, stale);
        let unknown = SessionError::Unknown(stale);
        assert_eq!(sessions.get(stale), Err(unknown));
        assert_eq!(sessions.touch(stale, Instant(1)), Err(unknown));
        assert_eq!(sessions.deadline(stale), Err(unknown));
        assert_eq!(sessions.set_endpoint(stale, Some(EpId(1))), Err(unknown));
        assert_eq!(sessions.hold(stale, Holding::Transfer(1)), Err(unknown));
        assert!(sessions.close(stale).is_err() && sessions.holdings(stale).is_err());
        assert_eq!((sessions.len(), sessions.holdings_len()), (1, 0));
    }

    #[test]
    fn a_place_whose_generations_have_run_out_has_no_second_first_session() {
        let mut sessions = Sessions::with_limit(4);
        let first = sessions.create(Instant(0), spec(9)).expect("room");
        sessions.close(first).expect("open");
        sessions.sessions.age(0, u32::MAX - 1);
        let last = sessions.create(Instant(0), spec(9)).expect("room");
        sessions.close(last).expect("open");
        let next = sessions.create(Instant(0), spec(9)).expect("room");
        assert!(next != first && next != last);
        assert!(sessions.get(first).is_err() && sessions.get(last).is_err());
    }

    #[test]
    fn numbers_a_peer_made_up_name_nothing() {
        let mut sessions = Sessions::with_limit(4);
        let key = sessions.create(Instant(0), spec(9)).expect("room");
        assert_eq!(SessionKey::from_u64(key.to_u64()), key);
        for bits in [0, 1, key.to_u64() ^ 1, key.to_u64() + (1 << 32), u64::MAX, u64::from(u32::MAX)] {
            assert!(sessions.get(SessionKey::from_u64(bits)).is_err(), "{bits:#x}");
            let id = HoldingId::from_u64(bits);
            assert!(sessions.take(key, id).is_err(), "{bits:#x}");
        }
    }

    #[test]
    fn everything_held_comes_back_when_a_session_ends_the_latest_first() {
        let region = region();
        let mut sessions = Sessions::with_limit(4);
        let key = sessions.create(Instant(0), spec(9)).expect("room");
        sessions.set_endpoint(key, Some(EpId(3))).expect("open");
        let lease = region.lease(0, 8).expect("free");
        sessions.hold(key, Holding::Registration(MrId(7))).expect("open");
        sessions.hold(key, Holding::Lease(lease)).expect("open");
        sessions.hold(key, Holding::Transfer(42)).expect("open");
        let Ended { spec, holdings, .. } = sessions.expire_due(Instant(9)).expect("due");
        assert_eq!(spec.ep, Some(EpId(3)));
        let kinds: Vec<HoldingKind> = holdings.map(|holding| holding.kind()).collect();
        use HoldingKind::{Lease, Registration, Transfer};
        assert_eq!(kinds, [Transfer, Lease, Registration]);
        assert_eq!(region.live_leases(), 0);
        assert_eq!(sessions.holdings_len(), 0);
    }

    #[test]
    fn what_nobody_takes_from_an_ended_session_is_dropped_with_it() {
        let region = region();
        let mut sessions = Sessions::with_limit(4);
        let key = sessions.create(Instant(0), spec(9)).expect("room");
        for place in 0..5 {
            let lease = region.lease(place * 8, 8).expect("free");
            sessions.hold(key, Holding::Lease(lease)).expect("open");
        }
        let mut ended = sessions.close(key).expect("open");
        let first = ended.holdings.next();
        drop(ended);
        assert_eq!(region.live_leases(), 1, "only what was taken is still out");
        drop(first);
        assert_eq!((region.live_leases(), sessions.holdings_len()), (0, 0));
    }

    #[test]
    fn a_lease_for_a_stale_session_goes_back_to_its_region() {
        let region = region();
        let mut sessions = Sessions::with_limit(4);
        let key = sessions.create(Instant(0), spec(9)).expect("room");
        sessions.close(key).expect("open");
        let lease = region.lease(0, 8).expect("free");
        assert!(sessions.hold(key, Holding::Lease(lease)).is_err());
        assert_eq!(region.live_leases(), 0);
    }

    #[test]
    fn a_session_cannot_reach_what_another_holds() {
        let region = region();
        let mut sessions = Sessions::with_limit(4);
        let ours = sessions.create(Instant(0), spec(9)).expect("room");
        let theirs = sessions.create(Instant(0), spec(9)).expect("room");
        let lease = region.lease(0, 8).expect("free");
        let id = sessions.hold(theirs, Holding::Lease(lease)).expect("open");
        let refused = sessions.take_lease(ours, id).expect_err("refused");
        assert_eq!(refused, SessionError::NotHeld { key: ours, id });
        assert!(sessions.lease(theirs, id).is_ok());
        assert!(sessions.take_lease(theirs, id).is_ok());
        assert!(sessions.take(theirs, id).is_err(), "taken once");
    }

    #[test]
    fn a_transfer_is_not_taken_for_a_lease() {
        let mut sessions = Sessions::with_limit(4);
        let key = sessions.create(Instant(0), spec(9)).expect("room");
        let id = sessions.hold(key, Holding::Transfer(5)).expect("open");
        let refused = sessions.take_lease(key, id).expect_err("refused");
        assert!(refused.to_string().contains("is a transfer, and a lease was asked for"));
        assert!(matches!(sessions.take(key, id), Ok(Holding::Transfer(5))));
    }

    #[test]
    fn closing_all_leaves_nothing_behind() {
        let region = region();
        let mut sessions = Sessions::with_limit(100);
        for place in 0..20 {
            let key = sessions.create(Instant(0), spec(9)).expect("room");
            let lease = region.lease(place * 8, 8).expect("free");
            sessions.hold(key, Holding::Lease(lease)).expect("open");
        }
        sessions.expire_due(Instant(9));
        let mut ended = 0;
        sessions.close_all(|_| ended += 1);
        assert_eq!(ended, 19);
        assert!(sessions.is_empty() && sessions.next_deadline().is_none());
        assert_eq!((region.live_leases(), sessions.holdings_len()), (0, 0));
    }

    #[test]
    fn a_session_costs_at_most_128_bytes_even_when_every_vector_has_just_doubled() {
        let mut sessions = Sessions::with_limit(u32::MAX);
        for i in 0..5000 {
            sessions.create(Instant(i), spec(MS)).expect("room");
            let each = sessions.bytes_in_use() / sessions.len() as usize;
            assert!(each <= 128 || i < 4, "{each} bytes each with {} open", i + 1);
        }
    }

    #[test]
    fn a_reserved_table_does_not_grow() {
        let mut sessions = Sessions::with_limit(1000);
        sessions.reserve(u32::MAX);
        let before = sessions.bytes_in_use();
        assert!(before > 0);
        let keys: Vec<_> = (0..1000).map(|i| sessions.create(Instant(i), spec(MS)).expect("room")).collect();
        for key in keys {
            sessions.close(key).expect("open");
            sessions.create(Instant(0), spec(MS)).expect("room");
        }
        assert_eq!(sessions.bytes_in_use(), before);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Create(u64),
        Touch(usize),
        Close(usize),
        Wait(u64),
        Hold(usize, u8),
        Take(usize, usize),
        Sweep,
    }

    fn act() -> impl Strategy<Value = Act> {
        let ttl_ns = prop_oneof![8 => 1..50u64, 1 => Just(SessionSpec::FOREVER_NS)];
        prop_oneof![
            6 => ttl_ns.prop_map(Act::Create),
            4 => any::<usize>().prop_map(Act::Touch),
            2 => any::<usize>().prop_map(Act::Close),
            4 => (0..15u64).prop_map(Act::Wait),
            6 => (any::<usize>(), 0..3u8).prop_map(|(key, kind)| Act::Hold(key, kind)),
            2 => (any::<usize>(), any::<usize>()).prop_map(|(key, id)| Act::Take(key, id)),
            4 => Just(Act::Sweep),
        ]
    }

    /// What the model knows of an open session: its deadline, and what it holds with the latest last.
    struct Known {
        spec: SessionSpec,
        deadline: Instant,
        holdings: Vec<(HoldingId, u64)>,
    }

    /// The serial number that the test gave to a holding.
    fn serial(holding: &Holding) -> u64 {
        match holding {
            Holding::Lease(lease) => lease.offset() / 8,
            Holding::Registration(mr) => u64::from(mr.0),
            Holding::Transfer(id) => *id,
            Holding::Exposed(_) => unreachable!("none is held here"),
        }
    }

    fn ended_as_known(ended: Ended<'_>, known: &Known) {
        assert_eq!(ended.spec, known.spec);
        let held: Vec<u64> = ended.holdings.map(|holding| serial(&holding)).collect();
        let expected: Vec<u64> = known.holdings.iter().rev().map(|(_, serial)| *serial).collect();
        assert_eq!(held, expected);
    }

    proptest! {
        #[test]
        fn sessions_agree_with_a_map(acts in proptest::collection::vec(act(), 0..400)) {
            const LIMIT: u32 = 12;
            let region = region();
            let mut sessions = Sessions::with_limit(LIMIT);
            let mut now = Instant(0);
            let mut serials = 0..;
            let mut model: BTreeMap<SessionKey, Known> = BTreeMap::new();
            // Every key there ever was, the stale ones among them.
            let mut keys: Vec<SessionKey> = Vec::new();
            let mut once: BTreeSet<SessionKey> = BTreeSet::new();
            let mut ids: Vec<HoldingId> = Vec::new();
            for act in acts {
                let pick = |i: usize| (!keys.is_empty()).then(|| keys[i % keys.len()]);
                match act {
                    Act::Create(ttl_ns) => {
                        let spec = SessionSpec { peer: keys.len() as u32, ep: None, ttl_ns };
                        match sessions.create(now, spec) {
                            Ok(key) => {
                                prop_assert!(model.len() < LIMIT as usize);
                                prop_assert!(once.insert(key), "a key is valid once");
                                keys.push(key);
                                model.insert(key, Known { spec, deadline: now + ttl_ns, holdings: Vec::new() });
                            }
                            Err(error) => {
                                prop_assert_eq!(error, SessionError::Full { limit: LIMIT });
                                prop_assert_eq!(model.len(), LIMIT as usize);
                            }
                        }
                    }
                    Act::Touch(i) => if let Some(key) = pick(i) {
                        let touched = sessions.touch(key, now);
                        match model.get_mut(&key) {
                            None => prop_assert_eq!(touched, Err(SessionError::Unknown(key))),
                            Some(known) if known.deadline > now => {
                                prop_assert_eq!(touched, Ok(()));
                                known.deadline = now + known.spec.ttl_ns;
                            }
                            Some(known) => {
                                let deadline = known.deadline;
                                prop_assert_eq!(touched, Err(SessionError::Expired { key, deadline, now }));
                            }
                        }
                    },
                    Act::Close(i) => if let Some(key) = pick(i) {
                        match (sessions.close(key), model.remove(&key)) {
                            (Ok(ended), Some(known)) => {
                                prop_assert_eq!((ended.key, ended.reason), (key, EndReason::Closed));
                                ended_as_known(ended, &known);
                            }
                            (Err(error), None) => prop_assert_eq!(error, SessionError::Unknown(key)),
                            (ended, _) => prop_assert!(false, "{ended:?}"),
                        }
                    },
                    Act::Wait(ns) => now = now + ns,
                    Act::Hold(i, kind) => if let Some(key) = pick(i) {
                        let serial = serials.next().unwrap_or(0);
                        let holding = match kind {
                            0 => Holding::Lease(region.lease(serial * 8, 8).expect("serials are fresh")),
                            1 => Holding::Registration(MrId(serial as u32)),
                            _ => Holding::Transfer(serial),
                        };
                        match (sessions.hold(key, holding), model.get_mut(&key)) {
                            (Ok(id), Some(known)) => {
                                known.holdings.push((id, serial));
                                ids.push(id);
                            }
                            (Err(error), None) => prop_assert_eq!(error, SessionError::Unknown(key)),
                            (held, _) => prop_assert!(false, "{held:?}"),
                        }
                    },
                    Act::Take(i, j) => if let (Some(key), false) = (pick(i), ids.is_empty()) {
                        let id = ids[j % ids.len()];
                        let taken = sessions.take(key, id).map(|holding| serial(&holding));
                        match model.get_mut(&key) {
                            None => prop_assert_eq!(taken, Err(SessionError::Unknown(key))),
                            Some(known) => match known.holdings.iter().position(|(held, _)| *held == id) {
                                None => prop_assert_eq!(taken, Err(SessionError::NotHeld { key, id })),
                                Some(place) => prop_assert_eq!(taken, Ok(known.holdings.remove(place).1)),
                            },
                        }
                    },
                    Act::Sweep => {
                        let mut due: Vec<(Instant, u32, SessionKey)> = model
                            .iter()
                            .filter(|(_, known)| known.deadline <= now)
                            .map(|(key, known)| (known.deadline, key.0.index, *key))
                            .collect();
                        due.sort();
                        for (_, _, key) in due {
                            let known = model.remove(&key).expect("it is due");
                            let ended = sessions.expire_due(now).expect("it is due");
                            prop_assert_eq!((ended.key, ended.reason), (key, EndReason::Expired));
                            ended_as_known(ended, &known);
                        }
                        prop_assert!(sessions.expire_due(now).is_none());
                    }
                }
                prop_assert_eq!(sessions.len() as usize, model.len());
                let next = model.values().map(|known| known.deadline).filter(|at| *at != Instant::FAR).min();
                prop_assert_eq!(sessions.next_deadline(), next);
                let held: usize = model.values().map(|known| known.holdings.len()).sum();
                prop_assert_eq!(sessions.holdings_len() as usize, held);
                for key in &keys {
                    match model.get(key) {
                        None => prop_assert_eq!(sessions.get(*key), Err(SessionError::Unknown(*key))),
                        Some(known) => {
                            prop_assert_eq!(sessions.get(*key), Ok(known.spec));
                            prop_assert_eq!(sessions.deadline(*key), Ok(known.deadline));
                            let held = sessions.holdings(*key).expect("open").map(|(id, h)| (id, serial(h)));
                            prop_assert!(held.eq(known.holdings.iter().rev().copied()));
                        }
                    }
                }
            }
            sessions.close_all(|_| ());
            prop_assert_eq!((region.live_leases(), sessions.holdings_len()), (0, 0));
        }
    }
}
