//! Registrations of users' own buffers, kept for the next time.
//!
//! Registering costs microseconds and more: pages are pinned and a device's tables written. A buffer that is used again is
//! found here by its address and costs a look. What nobody uses is given up when room is needed, the least recently used first.
//!
//! An address says nothing: memory that is freed and had again may begin where other memory did. So an entry is of one
//! [`Region`], by [`WeakRegion`], and of one epoch. As soon as its region is gone or another is at its address, or the epoch is
//! over, it is never handed out again and its registration ends when the last guard and the last lease are back. No
//! [`MrId`] is ever used for other memory: backends see to that.
//!
//! Addresses are compared and never sorted by: what is evicted depends on the order of use alone.

mod error;
mod stats;

use std::collections::BTreeMap;
use std::rc::Rc;

use wavetank_contract::error::{DeregisterError, RegisterError, SystemError};
use wavetank_contract::{Access, MrId, PdId, Region, Sge, WeakRegion};

pub use error::CacheError;
pub use stats::CacheStats;

use crate::context::RdmaOps;
use crate::slab::{Key, NOWHERE, Slab};

/// `ENOMEM` of `errno(3)`.
const ENOMEM: i32 = 12;

/// Entries looked at with every miss, whether their regions are gone.
const LOOKED_AT: u32 = 2;

/// What a cache registers, and how much it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes registered at most, used or not.
    pub bytes_max: u64,
    /// Registrations at most, used or not.
    pub count_max: u32,
    /// The protection domain of the endpoints that use them.
    pub pd: PdId,
    /// What the device may do there. Nothing is exported from here, so local rights are enough.
    pub access: Access,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig { bytes_max: 1 << 30, count_max: 1024, pd: PdId::default(), access: Access::LOCAL }
    }
}

/// What guards of one registration share.
#[derive(Debug)]
struct Pin {
    mr: MrId,
    /// Where the buffer begins.
    addr: u64,
    len: u64,
}

/// A registration in use: it does not end while one of these is there.
#[derive(Clone, Debug)]
pub struct Cached(Rc<Pin>);

impl Cached {
    /// The registration.
    #[inline]
    pub fn mr(&self) -> MrId {
        self.0.mr
    }

    /// Bytes of the buffer.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Never: a region has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The piece of memory a work names, by its address. `None` if not all inside the buffer.
    pub fn piece(&self, addr: u64, len: u32) -> Option<Sge> {
        let offset = addr.checked_sub(self.0.addr)?;
        let end = offset.checked_add(u64::from(len))?;
        (end <= self.0.len).then_some(Sge { mr: self.0.mr, len, offset })
    }
}

#[derive(Debug)]
struct Entry {
    pin: Rc<Pin>,
    region: WeakRegion,
    /// Handles of the region that the backend has.
    kept: usize,
    epoch: u64,
    /// Used next before this.
    older: u32,
    /// Used next after this.
    newer: u32,
}

impl Entry {
    fn is_used(&self) -> bool {
        Rc::strong_count(&self.pin) > 1 || self.region.live_leases() > 0
    }
}

/// Registrations of users' own buffers, by address.
///
/// One cache is of one context. [`clear`](RegistrationCache::clear) it before it is dropped: the device does not learn otherwise
/// that its registrations are not wanted any more.
#[derive(Debug)]
pub struct RegistrationCache {
    config: CacheConfig,
    entries: Slab<Entry>,
    /// The entries that may be handed out, by where their buffers begin. They do not overlap.
    by_addr: BTreeMap<u64, Key>,
    oldest: u32,
    newest: u32,
    /// Never handed out again, and not ended yet.
    retiring: Vec<Entry>,
    epoch: u64,
    stats: CacheStats,
}

impl RegistrationCache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> RegistrationCache {
        RegistrationCache {
            config,
            entries: Slab::new(),
            by_addr: BTreeMap::new(),
            oldest: NOWHERE,
            newest: NOWHERE,
            retiring: Vec::new(),
            epoch: 0,
            stats: CacheStats::default(),
        }
    }

    /// How it is doing.
    pub fn stats(&self) -> CacheStats {
        CacheStats { retiring: self.retiring.len() as u32, ..self.stats }
    }

    /// The registration of a buffer: the one it has, or a new one.
    ///
    /// # Errors
    /// [`CacheError`]: limits first, then the device's, once more after what was unused has been given up.
    #[inline]
    pub fn register<C: RdmaOps>(&mut self, context: &mut C, region: &Region) -> Result<Cached, CacheError> {
        let addr = address(region);
        // A buffer is mostly used again at once.
        let found = match self.entries.key_at(self.newest) {
            Some(key) if self.is_of(key, region) => Some(key),
            _ => self.by_addr.get(&addr).copied().filter(|key| self.is_of(*key, region)),
        };
        if let Some(key) = found
            && let Some(cached) = self.hit(key)
        {
            return Ok(cached);
        }
        self.miss(context, region, addr).inspect_err(|_| self.stats.refusals += 1)
    }

    /// The registration that `len` bytes at an address are in, if there is one and the memory is still the one it was made for.
    /// Nothing is registered: of what nobody named as a region it is not known how long it stays.
    pub fn find(&mut self, addr: u64, len: u64) -> Option<Cached> {
        let (_, key) = self.by_addr.range(..=addr).next_back()?;
        let key = *key;
        let entry = self.entries.get(key)?;
        let end = addr.checked_add(len)?;
        let inside = end <= entry.pin.addr + entry.pin.len;
        if !inside || self.is_gone(entry) || entry.epoch != self.epoch {
            return None;
        }
        self.hit(key)
    }

    /// Gives up the registrations of all buffers that have a byte in this range, used or not: whoever unmaps memory that is not a
    /// region's own to free says so before.
    pub fn invalidate<C: RdmaOps>(&mut self, context: &mut C, addr: u64, len: u64) {
        self.retire_overlapping(addr, len);
        self.end_retiring(context);
    }

    /// Gives up everything: whatever was registered up to now is never handed out again. For when the device begins anew.
    pub fn next_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Gives up what is gone or of an earlier epoch, and tries again to end what was still used.
    pub fn sweep<C: RdmaOps>(&mut self, context: &mut C) {
        let mut at = self.oldest;
        while let Some(key) = self.entries.key_at(at) {
            let Some(entry) = self.entries.get(key) else { break };
            at = entry.newer;
            if self.is_gone(entry) || entry.epoch != self.epoch {
                self.stats.invalidations += 1;
                self.retire(key);
            }
        }
        self.end_retiring(context);
    }

    /// Gives up everything and ends what can be ended. Answers how many registrations are still there, because guards or leases
    /// are: [`sweep`](RegistrationCache::sweep) ends them later.
    pub fn clear<C: RdmaOps>(&mut self, context: &mut C) -> u32 {
        while let Some(key) = self.entries.key_at(self.oldest) {
            self.retire(key);
        }
        self.end_retiring(context);
        self.retiring.len() as u32
    }

    /// Whether an entry may be handed out for a region.
    #[inline]
    fn is_of(&self, key: Key, region: &Region) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.region.names(region) && entry.epoch == self.epoch)
    }

    /// Whether nobody has the region but the backend, for this registration and for earlier ones from here.
    fn is_gone(&self, entry: &Entry) -> bool {
        let earlier = self.retiring.iter().filter(|other| other.region.same_as(&entry.region));
        entry.region.handles() <= entry.kept + earlier.map(|other| other.kept).sum::<usize>()
    }

    #[inline]
    fn hit(&mut self, key: Key) -> Option<Cached> {
        if key.index != self.newest {
            self.unlink(key.index);
            self.link(key.index);
        }
        let pin = self.entries.get(key)?.pin.clone();
        self.stats.hits += 1;
        Some(Cached(pin))
    }

    fn miss<C: RdmaOps>(
        &mut self,
        context: &mut C,
        region: &Region,
        addr: u64,
    ) -> Result<Cached, CacheError> {
        let CacheConfig { bytes_max, pd, access, .. } = self.config;
        let len_bytes = region.len();
        if len_bytes > bytes_max {
            return Err(CacheError::TooLong { len_bytes, limit_bytes: bytes_max });
        }
        self.stats.misses += 1;
        // Whatever was at this address before has been replaced.
        self.retire_overlapping(addr, len_bytes);
        self.look_for_gone();
        self.end_retiring(context);
        self.make_room(context, len_bytes)?;
        let before = region.handles();
        let mr = match context.register(region, pd, access) {
            Err(error) if is_want_of_room(&error) && self.evict_unused(context) > 0 => {
                self.stats.retries += 1;
                context.register(region, pd, access)
            }
            answer => answer,
        }?;
        let entry = Entry {
            pin: Rc::new(Pin { mr, addr, len: len_bytes }),
            region: region.downgrade(),
            kept: region.handles().saturating_sub(before),
            epoch: self.epoch,
            older: NOWHERE,
            newer: NOWHERE,
        };
        let pin = entry.pin.clone();
        self.stats.bytes += len_bytes;
        self.stats.bytes_max_seen = self.stats.bytes_max_seen.max(self.stats.bytes);
        self.stats.count += 1;
        match self.entries.insert(entry) {
            Some(key) => {
                self.by_addr.insert(addr, key);
                self.link(key.index);
            }
            // 2^32 entries are more than any limit of a device: `make_room` said so before.
            None => unreachable!("count_max fits the slab"),
        }
        Ok(Cached(pin))
    }

    /// Makes room for one more registration of that many bytes.
    fn make_room<C: RdmaOps>(&mut self, context: &mut C, len_bytes: u64) -> Result<(), CacheError> {
        let CacheConfig { bytes_max, count_max, .. } = self.config;
        // The slab has fewer places than that.
        let count_limit = count_max.min(NOWHERE - 1);
        let mut at = self.oldest;
        while self.stats.count >= count_limit || self.stats.bytes > bytes_max - len_bytes {
            let Some(key) = self.entries.key_at(at) else {
                let (count, bytes) = (self.stats.count, self.stats.bytes);
                return Err(CacheError::Full { len_bytes, count, count_max, bytes, bytes_max });
            };
            at = self.entries.get(key).map_or(NOWHERE, |entry| entry.newer);
            self.evict(context, key);
        }
        Ok(())
    }

    /// Gives up everything that nobody uses. Answers how many registrations ended.
    fn evict_unused<C: RdmaOps>(&mut self, context: &mut C) -> u32 {
        let (before, mut at) = (self.stats.count, self.oldest);
        while let Some(key) = self.entries.key_at(at) {
            at = self.entries.get(key).map_or(NOWHERE, |entry| entry.newer);
            self.evict(context, key);
        }
        before - self.stats.count
    }

    /// Ends a registration that nobody uses, and forgets it.
    fn evict<C: RdmaOps>(&mut self, context: &mut C, key: Key) {
        if self.entries.get(key).is_some_and(|entry| !entry.is_used()) {
            self.stats.evictions += 1;
            self.retire(key);
            self.end_retiring(context);
        }
    }

    /// The entries that were not used for longest may be of regions that nobody has any more.
    fn look_for_gone(&mut self) {
        for _ in 0..LOOKED_AT {
            match self.entries.key_at(self.oldest) {
                Some(key) if self.entries.get(key).is_some_and(|entry| self.is_gone(entry)) => {
                    self.stats.invalidations += 1;
                    self.retire(key);
                }
                _ => return,
            }
        }
    }

    fn retire_overlapping(&mut self, addr: u64, len: u64) {
        let end = addr.saturating_add(len);
        // They do not overlap each other, so the last one that begins before the end is the last one to look at.
        while let Some((start, key)) =
            self.by_addr.range(..end).next_back().map(|(start, key)| (*start, *key))
            && let Some(entry) = self.entries.get(key)
            && start + entry.pin.len > addr
        {
            self.stats.invalidations += 1;
            self.retire(key);
        }
    }

    /// Takes an entry out of whatever can be found.
    fn retire(&mut self, key: Key) {
        self.unlink(key.index);
        if let Some(entry) = self.entries.remove(key) {
            self.by_addr.remove(&entry.pin.addr);
            self.retiring.push(entry);
        }
    }

    /// Ends the registrations that are not wanted, where nobody uses them any more.
    fn end_retiring<C: RdmaOps>(&mut self, context: &mut C) {
        let stats = &mut self.stats;
        self.retiring.retain(|entry| {
            let ended = !entry.is_used()
                && matches!(context.deregister(entry.pin.mr), Ok(()) | Err(DeregisterError::Unknown(_)));
            if ended {
                stats.bytes -= entry.pin.len;
                stats.count -= 1;
            }
            !ended
        });
    }

    /// Puts an entry to where the ones used last are.
    #[inline]
    fn link(&mut self, index: u32) {
        let newest = core::mem::replace(&mut self.newest, index);
        match self.entries.at_mut(newest) {
            Some(before) => before.newer = index,
            None => self.oldest = index,
        }
        if let Some(entry) = self.entries.at_mut(index) {
            (entry.older, entry.newer) = (newest, NOWHERE);
        }
    }

    #[inline]
    fn unlink(&mut self, index: u32) {
        let Some(entry) = self.entries.at_mut(index) else { return };
        let (older, newer) = (entry.older, entry.newer);
        match self.entries.at_mut(older) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.at_mut(newer) {
            Some(after) => after.older = older,
            None => self.newest = older,
        }
    }
}

/// Where a region begins.
#[inline]
pub(crate) fn address(region: &Region) -> u64 {
    region.base().as_ptr() as u64
}

/// Whether a registration may succeed once others have ended.
fn is_want_of_room(error: &RegisterError) -> bool {
    matches!(
        error,
        RegisterError::TooMany(_)
            | RegisterError::Memlock { .. }
            | RegisterError::System(SystemError { errno: ENOMEM, .. })
    )
}
