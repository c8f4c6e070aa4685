//! What one session exposes to its peer, under keys that die with the session.

use std::rc::Rc;

use wavetank_contract::{Lease, MrId, RemoteKey};

use super::arena::Arena;
use super::error::MemoryError;
use super::extent::{Abandoned, ExtentPool, Retiring};
use crate::context::RdmaOps;

/// The name of an extent among those of its session: never used again there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtentId(pub u32);

/// Where a lease is, for a work of ours and for the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The extent, whose key reaches it.
    pub extent: ExtentId,
    /// Bytes from the start of the extent's region.
    pub offset: u64,
    /// The registration, for works of this side.
    pub mr: MrId,
}

/// A region while it is registered for a session.
#[derive(Debug)]
struct Extent {
    id: ExtentId,
    class: u32,
    arena: Arena,
    key: RemoteKey,
}

impl Extent {
    fn retiring(self) -> Retiring {
        Retiring { region: self.arena.region().clone(), mr: self.arena.mr(), class: self.class }
    }
}

/// What one session exposes to its peer. Empty it allocates nothing.
///
/// Close it after the session's endpoint. If it is dropped instead, its extents wait as those of a closed one for the pool's
/// next [`sweep`](ExtentPool::sweep).
#[derive(Debug, Default)]
pub struct Exposed {
    /// By their ids.
    extents: Vec<Extent>,
    /// The one that gave the last lease: likely to give the next.
    recent: usize,
    next_id: u32,
    /// The pool they are of.
    home: Option<Abandoned>,
}

impl Exposed {
    /// Nothing yet.
    pub const fn new() -> Exposed {
        Exposed { extents: Vec::new(), recent: 0, next_id: 0, home: None }
    }

    /// A lease of exactly `len_bytes` in memory that the session's peer may reach. The context is the same in every call for
    /// one pool. Dropping it and every hold on it gives it
    /// back to the session, whose next lease may find its bytes there; nobody else does.
    ///
    /// # Errors
    /// [`MemoryError::Empty`] and [`MemoryError::TooLong`] for what is never possible; [`MemoryError::PoolFull`] and whatever
    /// the device refuses for what is not possible now.
    pub fn lease<C: RdmaOps>(
        &mut self,
        pool: &mut ExtentPool,
        context: &mut C,
        len_bytes: u64,
    ) -> Result<Lease, MemoryError> {
        if len_bytes == 0 {
            return Err(MemoryError::Empty);
        }
        if self.home.as_ref().is_some_and(|home| !Rc::ptr_eq(home, &pool.abandoned)) {
            return Err(MemoryError::OtherPool);
        }
        let class = pool.class(len_bytes).inspect_err(|_| pool.refusals += 1)?;
        if let Some(lease) = self.lease_here(class, len_bytes) {
            return Ok(lease);
        }
        self.grow(pool, context, class).inspect_err(|_| pool.refusals += 1)?;
        // It is whole and long enough.
        let fresh = self.extents.len() - 1;
        self.recent = fresh;
        self.extents[fresh].arena.acquire(len_bytes)
    }

    /// A lease of an extent that is there.
    fn lease_here(&mut self, class: u32, len_bytes: u64) -> Option<Lease> {
        let count = self.extents.len();
        for step in 0..count {
            let at = (self.recent + step) % count;
            let extent = &mut self.extents[at];
            // Short leases in a long extent would keep it from the long one that it is for.
            if extent.class == class
                && let Ok(lease) = extent.arena.acquire(len_bytes)
            {
                self.recent = at;
                return Some(lease);
            }
        }
        None
    }

    fn grow<C: RdmaOps>(
        &mut self,
        pool: &mut ExtentPool,
        context: &mut C,
        class: u32,
    ) -> Result<(), MemoryError> {
        let next_id = self.next_id.checked_add(1).ok_or(MemoryError::ExtentsUsedUp(self.next_id))?;
        let (arena, key) = pool.open(context, class)?;
        self.home.get_or_insert_with(|| pool.abandoned.clone());
        self.extents.push(Extent { id: ExtentId(self.next_id), class, arena, key });
        self.next_id = next_id;
        Ok(())
    }

    /// Where a lease is, if it is of this memory.
    pub fn place(&self, lease: &Lease) -> Option<Place> {
        let of = |extent: &&Extent| extent.arena.region().same_as(lease.region());
        let recent = self.extents.get(self.recent).filter(of);
        let extent = recent.or_else(|| self.extents.iter().find(of))?;
        Some(Place { extent: extent.id, offset: lease.offset(), mr: extent.arena.mr() })
    }

    /// The key that reaches an extent, to be handed to the session's peer and nobody else.
    pub fn key(&self, extent: ExtentId) -> Option<&RemoteKey> {
        let at = self.extents.binary_search_by_key(&extent, |extent| extent.id).ok()?;
        Some(&self.extents[at].key)
    }

    /// Gives back the extents of which nothing is leased: their keys die.
    pub fn trim<C: RdmaOps>(&mut self, pool: &mut ExtentPool, context: &mut C) {
        self.give_back(pool, context, Arena::is_whole);
    }

    /// Gives everything back: the keys die, at once or, where leases or works are still out, as soon as they are back. The
    /// session's endpoint is to be closed before.
    pub fn close<C: RdmaOps>(mut self, pool: &mut ExtentPool, context: &mut C) {
        self.give_back(pool, context, |_| true);
    }

    fn give_back<C: RdmaOps>(
        &mut self,
        pool: &mut ExtentPool,
        context: &mut C,
        mut which: impl FnMut(&mut Arena) -> bool,
    ) {
        // Another pool's extents wait for it where it will find them.
        if self.home.as_ref().is_none_or(|home| !Rc::ptr_eq(home, &pool.abandoned)) {
            return;
        }
        for extent in self.extents.extract_if(.., |extent| which(&mut extent.arena)) {
            pool.extents -= 1;
            pool.end(context, extent.retiring());
        }
        self.recent = 0;
    }

    /// Bytes of its extents, leased or not.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.arena.region().len()).sum()
    }

    /// Leases that are not back yet.
    pub fn leases(&self) -> u32 {
        self.extents.iter().map(|extent| extent.arena.region().live_leases()).sum()
    }

    /// The registrations of its extents.
    pub fn registrations(&self) -> impl Iterator<Item = MrId> {
        self.extents.iter().map(|extent| extent.arena.mr())
    }

    /// Its extents and the keys that reach them, in the order in which they came.
    pub fn extents(&self) -> impl Iterator<Item = (ExtentId, &RemoteKey)> {
        self.extents.iter().map(|extent| (extent.id, &extent.key))
    }
}

impl Drop for Exposed {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.borrow_mut().extend(self.extents.drain(..).map(Extent::retiring));
        }
    }
}
