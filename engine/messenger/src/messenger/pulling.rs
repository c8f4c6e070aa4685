//! READs of a peer's memory that the user asks for, by keys that the peer handed out in messages of its own.

use wavetank_contract::error::KeyError;
use wavetank_contract::{EpId, Instant, Lease, MrId, Op, RemoteKey, RemoteRegion};
use wavetank_engine::slab::Key;
use wavetank_engine::{Finished, RdmaOps, SubmitReason, TransferError, TransferSpec};

use super::{Messenger, Move, Moving};
use crate::connection::{Connection, ConnectionId};
use crate::error::{PullError, PullReason};
use crate::event::{Cause, Event};

/// Memory of a peer that this side may read, for as long as its connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    connection: ConnectionId,
    /// Which of its endpoints: keys are imported for one.
    ep: EpId,
    lives: u32,
    region: RemoteRegion,
}

impl Reached {
    /// The connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.region.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.region.len == 0
    }
}

/// Names of the two ends of a connection: no other connection has the same two, as far as instances differ. For whoever binds
/// something to this connection alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// This side's.
    pub ours: u64,
    /// The peer's.
    pub peers: u64,
    /// How often it was established.
    pub lives: u32,
}

impl<C: RdmaOps> Messenger<C> {
    /// The names of a connection's ends, while it is established.
    pub fn ends(&self, connection: ConnectionId) -> Option<Ends> {
        let there = self.connections.get(connection.0).filter(|there| there.is_open())?;
        Some(Ends { ours: there.life, peers: there.peer_life, lives: there.stats.lives })
    }

    /// Makes a key of the peer's usable for [`pull`](Self::pull), while this connection holds.
    ///
    /// # Errors
    /// No open connection, or a key that is none.
    pub fn reach(&mut self, connection: ConnectionId, key: &RemoteKey) -> Result<Reached, PullReason> {
        let there = self.connections.get(connection.0).filter(|there| there.is_open());
        let open = there.and_then(|there| there.ep.map(|ep| (ep, there.stats.lives)));
        let (ep, lives) = open.ok_or(PullReason::NotConnected(connection))?;
        let region = self.driver.context().import(ep, key)?;
        Ok(Reached { connection, ep, lives, region })
    }

    /// READs `len` bytes at `offset` of a peer's memory into the start of a lease: of this messenger's own memory, or of what the
    /// connection exposes. Its end comes as [`Event::Pulled`]. The peer's processor has no part in it, so whoever pulls finds
    /// out by itself whether what came is what it wants.
    ///
    /// # Errors
    /// [`PullError`], with the lease back.
    #[allow(clippy::too_many_arguments)] // each says something else
    pub fn pull(
        &mut self,
        now: Instant,
        from: &Reached,
        offset: u64,
        lease: Lease,
        len: u64,
        deadline: Instant,
        tag: u64,
    ) -> Result<(), PullError> {
        let Reached { connection, ep, lives, region } = *from;
        let key = connection.0;
        let same =
            |there: &&Connection| there.is_open() && there.ep == Some(ep) && there.stats.lives == lives;
        let Some(there) = self.connections.get(key).filter(same) else {
            return Err(PullError { reason: PullReason::NotConnected(connection), lease: Box::new(lease) });
        };
        let mr = there.exposed.place(&lease).map(|place| place.mr).or_else(|| self.own(&lease));
        let Some(mr) = mr else {
            return Err(PullError { reason: PullReason::Foreign, lease: Box::new(lease) });
        };
        let Some(remote) = region.at(offset, len).filter(|_| len > 0) else {
            let reason = PullReason::Outside { offset, len, there: region.len };
            return Err(PullError { reason, lease: Box::new(lease) });
        };
        let Some(moving) = self.moves.insert(Move { connection: key, what: Moving::Pull { tag } }) else {
            unreachable!("2^32 - 1 moves do not fit into memory")
        };
        let (op, tag) = (Op::Read { remote }, moving.to_u64());
        let spec = TransferSpec { ep, op, lease, mr, len, deadline, session: None, tag };
        if let Err(error) = self.driver.submit(now, spec) {
            self.moves.discard(moving);
            return Err(PullError { reason: error.reason.into(), lease: error.lease });
        }
        if let Some(there) = self.connections.get_mut(key) {
            if there.moving == 0 {
                there.moved_at = now;
            }
            there.moving += 1;
        }
        self.mark(key);
        self.set_timer(key, now);
        Ok(())
    }

    /// Where a lease of this side's own memory is registered.
    fn own(&self, lease: &Lease) -> Option<MrId> {
        let arenas = [&self.pool, &self.landing];
        arenas.into_iter().find(|arena| arena.region().same_as(lease.region())).map(|arena| arena.mr())
    }

    /// A READ of the user's ended. `current`: on the endpoint that its connection has.
    pub(super) fn pulled(&mut self, key: Key, tag: u64, finished: Finished, current: bool, now: Instant) {
        let Finished { result, lease, .. } = finished;
        // Whoever did not want to wait any longer has broken nothing.
        let broke = match &result {
            Err(error @ (TransferError::Failed { .. } | TransferError::Refused { .. })) if current => {
                Some(Cause::Transfer(error.clone()))
            }
            _ => None,
        };
        let result = match (result, lease) {
            (Ok(_), Some(lease)) => Ok(lease),
            (Ok(_), None) => Err(Box::new(TransferError::Cancelled)),
            (Err(error), _) => Err(Box::new(error)),
        };
        self.events.push_back(Event::Pulled { connection: ConnectionId(key), tag, result });
        match broke {
            Some(cause) => self.fault(key, cause, now),
            None => self.mark(key),
        }
    }
}

impl From<SubmitReason> for PullReason {
    fn from(reason: SubmitReason) -> PullReason {
        PullReason::Refused(reason)
    }
}

impl From<KeyError> for PullReason {
    fn from(error: KeyError) -> PullReason {
        PullReason::Key(error)
    }
}
