//! Extents: memory for what peers may reach, and where it is while no session has it.
//!
//! An *extent* is a region that is registered for one session alone, with remote read and write. When the session closes, its
//! endpoint first, the registration ends, so that the key is dead; only after that the region may serve another session, and
//! it is zeroed before it does. A region that leases or works still use stays aside until [`ExtentPool::sweep`] can end its
//! registration: it never goes back into circulation under a key that lives.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::error::DeregisterError;
use wavetank_contract::region::{PAGE_BYTES, REGION_BYTES_MAX};
use wavetank_contract::{Access, Lease, MrId, PageKind, Pages, PdId, Region, RegionSpec, RemoteKey};

use super::arena::Arena;
use super::error::MemoryError;
use super::stats::log_pages;
use crate::context::RdmaOps;

/// What peers may do with an extent: READ and WRITE, no atomics.
const ACCESS: Access =
    Access { local_write: true, remote_read: true, remote_write: true, remote_atomic: false };

/// What extents are made of, and how much there may be of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentPoolConfig {
    /// Bytes of the smallest extent. Longer ones have a power of two times as many, for a lease each.
    pub extent_bytes: u64,
    /// Bytes of all extents at most, whether in use, free or waiting for works.
    pub bytes_max: u64,
    /// Leases that share an extent start at multiples of this.
    pub granule_bytes: u64,
    /// The protection domain of the sessions' endpoints.
    pub pd: PdId,
    /// Which pages extents are to have.
    pub pages: Pages,
}

impl Default for ExtentPoolConfig {
    fn default() -> ExtentPoolConfig {
        ExtentPoolConfig {
            extent_bytes: 2 << 20,
            bytes_max: 1 << 30,
            granule_bytes: PAGE_BYTES,
            pd: PdId::default(),
            pages: Pages::Huge,
        }
    }
}

/// How much memory sessions expose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtentStats {
    /// Bytes that may be allocated at most.
    pub limit_bytes: u64,
    /// Bytes that open sessions have, leased or not.
    pub in_use_bytes: u64,
    /// Bytes that are registered for nobody and wait for a session.
    pub free_bytes: u64,
    /// Bytes of closed sessions that leases or works still use: their keys live.
    pub retiring_bytes: u64,
    /// The most that was ever allocated at a time.
    pub total_bytes_max: u64,
    /// Extents that open sessions have.
    pub extents: u32,
    /// Extents that are free.
    pub extents_free: u32,
    /// Extents whose registration waits to end.
    pub extents_retiring: u32,
    /// Bytes in huge pages, whoever has them.
    pub huge_bytes: u64,
    /// Bytes in transparent huge pages, as far as the kernel had some.
    pub transparent_bytes: u64,
    /// Bytes in plain pages.
    pub plain_bytes: u64,
    /// Extents that were asked for and not had.
    pub refusals: u64,
}

impl ExtentStats {
    /// Bytes allocated now.
    pub fn total_bytes(&self) -> u64 {
        self.in_use_bytes + self.free_bytes + self.retiring_bytes
    }
}

/// A region of a closed session that is still registered.
#[derive(Debug)]
pub(super) struct Retiring {
    pub(super) region: Region,
    pub(super) mr: MrId,
    pub(super) class: u32,
}

/// What sessions left behind that were dropped rather than closed.
pub(super) type Abandoned = Rc<RefCell<Vec<Retiring>>>;

/// Memory for what sessions expose: extents come from here and return here.
#[derive(Debug)]
pub struct ExtentPool {
    config: ExtentPoolConfig,
    /// What extents are cut from, if not from the device's own memory.
    outer: Option<Arena>,
    /// Registered for nobody, by class: `extent_bytes` times 2 to the power of the index.
    free: Vec<Vec<Region>>,
    retiring: Vec<Retiring>,
    pub(super) abandoned: Abandoned,
    total_bytes: u64,
    total_bytes_max: u64,
    pub(super) extents: u32,
    /// By [`PageKind::ALL`].
    kind_bytes: [u64; 3],
    pub(super) refusals: u64,
    /// The log has heard that pages are worse than asked for.
    told: bool,
}

impl ExtentPool {
    /// An empty pool. Sizes that are no powers of two are rounded up to one: an extent has at least one granule, a granule at
    /// least 8 bytes.
    pub fn new(config: ExtentPoolConfig) -> ExtentPool {
        let power = |bytes: u64, min: u64| bytes.clamp(min, REGION_BYTES_MAX).next_power_of_two();
        let granule_bytes = power(config.granule_bytes, 8);
        let extent_bytes = power(config.extent_bytes, granule_bytes);
        ExtentPool {
            config: ExtentPoolConfig { extent_bytes, granule_bytes, ..config },
            outer: None,
            free: Vec::new(),
            retiring: Vec::new(),
            abandoned: Rc::default(),
            total_bytes: 0,
            total_bytes_max: 0,
            extents: 0,
            kind_bytes: [0; 3],
            refusals: 0,
            told: false,
        }
    }

    /// Cuts extents from a region from now on, instead of asking the device for memory: from shared memory, so that other processes
    /// find in it what peers write. Only before there is an extent.
    ///
    /// # Errors
    /// [`MemoryError::RegionInUse`] when parts of it are leased already, or there are extents.
    pub fn cut_from(&mut self, region: Region) -> Result<(), MemoryError> {
        if self.total_bytes > 0 {
            return Err(MemoryError::RegionInUse { leases: self.extents.max(1) });
        }
        self.outer = Some(Arena::unregistered(region)?);
        Ok(())
    }

    /// What it was made with, rounded.
    pub fn config(&self) -> &ExtentPoolConfig {
        &self.config
    }

    /// How much there is of what.
    pub fn stats(&self) -> ExtentStats {
        let abandoned = self.abandoned.borrow();
        let free = || self.free.iter().flatten();
        let free_bytes = free().map(Region::len).sum();
        let retiring_bytes = self.retiring.iter().chain(&*abandoned).map(|kept| kept.region.len()).sum();
        let extents_retiring = self.retiring.len() as u32 + abandoned.len() as u32;
        let [huge_bytes, transparent_bytes, plain_bytes] = self.kind_bytes;
        ExtentStats {
            limit_bytes: self.config.bytes_max,
            in_use_bytes: self.total_bytes - free_bytes - retiring_bytes,
            free_bytes,
            retiring_bytes,
            total_bytes_max: self.total_bytes_max,
            extents: self.extents - abandoned.len() as u32,
            extents_free: free().count() as u32,
            extents_retiring,
            huge_bytes,
            transparent_bytes,
            plain_bytes,
            refusals: self.refusals,
        }
    }

    /// Tries again to end the registrations that leases and works still used.
    pub fn sweep<C: RdmaOps>(&mut self, context: &mut C) {
        let abandoned = std::mem::take(&mut *self.abandoned.borrow_mut());
        self.extents -= abandoned.len() as u32;
        self.retiring.extend(abandoned);
        for retiring in std::mem::take(&mut self.retiring) {
            self.end(context, retiring);
        }
    }

    /// Gives every free extent back to the system.
    pub fn shrink(&mut self) {
        self.make_room(u64::MAX);
    }

    /// Ends a registration, now or later. The region is free only when its key is dead.
    pub(super) fn end<C: RdmaOps>(&mut self, context: &mut C, retiring: Retiring) {
        let ended = retiring.region.live_leases() == 0
            && matches!(context.deregister(retiring.mr), Ok(()) | Err(DeregisterError::Unknown(_)));
        if ended {
            self.put(retiring.region, retiring.class);
        } else {
            self.retiring.push(retiring);
        }
    }

    /// The class of an extent for a lease of that many bytes.
    pub(super) fn class(&self, len_bytes: u64) -> Result<u32, MemoryError> {
        let ExtentPoolConfig { extent_bytes, bytes_max, .. } = self.config;
        // The longest extent there can be: a power of two.
        let longest = 1 << (bytes_max.clamp(1, REGION_BYTES_MAX)).ilog2();
        let limit_bytes = if longest < extent_bytes { 0 } else { longest };
        if len_bytes > limit_bytes {
            return Err(MemoryError::TooLong { asked_bytes: len_bytes, limit_bytes });
        }
        let bytes = len_bytes.max(extent_bytes).next_power_of_two();
        Ok(bytes.trailing_zeros() - extent_bytes.trailing_zeros())
    }

    /// A region that holds nothing of anybody and is registered for nobody.
    fn take<C: RdmaOps>(&mut self, context: &mut C, class: u32) -> Result<Region, MemoryError> {
        let ExtentPoolConfig { extent_bytes, bytes_max, granule_bytes, pages, .. } = self.config;
        let index = class as usize;
        if self.free.get(index).is_none_or(Vec::is_empty) {
            self.sweep(context);
        }
        if let Some(region) = self.free.get_mut(index).and_then(Vec::pop) {
            region.zero();
            return Ok(region);
        }
        let len_bytes = extent_bytes << class;
        let short = len_bytes.saturating_sub(bytes_max.saturating_sub(self.total_bytes));
        let stats = self.stats();
        if short > stats.free_bytes {
            return Err(MemoryError::PoolFull {
                asked_bytes: len_bytes,
                limit_bytes: bytes_max,
                in_use_bytes: stats.in_use_bytes,
                retiring_bytes: stats.retiring_bytes,
            });
        }
        self.make_room(short);
        // A long extent has one lease: it needs no granules.
        let granule_bytes = if class == 0 { granule_bytes } else { len_bytes };
        let region = match self.cut(len_bytes) {
            None => context.allocate(&RegionSpec { len_bytes, granule_bytes, pages })?,
            Some(lease) => {
                let region = Region::within(lease?, granule_bytes)?;
                // It is as its last user left it.
                region.zero();
                region
            }
        };
        self.total_bytes += region.len();
        self.total_bytes_max = self.total_bytes_max.max(self.total_bytes);
        self.kind_bytes[region.pages().kind as usize] += region.len();
        log_pages("extent", region.pages(), self.told);
        self.told |= region.pages().is_short();
        Ok(region)
    }

    /// Part of the outer region, if there is one: free extents of other sizes may be in the way.
    fn cut(&mut self, len_bytes: u64) -> Option<Result<Lease, MemoryError>> {
        match self.outer.as_mut()?.acquire(len_bytes) {
            Err(MemoryError::Exhausted { .. }) => {}
            done => return Some(done),
        }
        self.make_room(u64::MAX);
        Some(self.outer.as_mut()?.acquire(len_bytes))
    }

    /// Gives free extents back to the system, the longest first, until that many bytes are gone or none is left.
    fn make_room(&mut self, bytes: u64) {
        let mut gone = 0;
        for free in self.free.iter_mut().rev() {
            while gone < bytes {
                let Some(region) = free.pop() else { break };
                gone += region.len();
                self.total_bytes -= region.len();
                self.kind_bytes[region.pages().kind as usize] -= region.len();
            }
        }
    }

    /// A region registered for one session, and the key to it.
    pub(super) fn open<C: RdmaOps>(
        &mut self,
        context: &mut C,
        class: u32,
    ) -> Result<(Arena, RemoteKey), MemoryError> {
        let region = self.take(context, class)?;
        let mr = match context.register(&region, self.config.pd, ACCESS) {
            Ok(mr) => mr,
            Err(error) => {
                self.put(region, class);
                return Err(error.into());
            }
        };
        let opened = match context.export(mr) {
            Ok(key) => Arena::of(region.clone(), mr).map(|arena| (arena, key)),
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok(_) => self.extents += 1,
            Err(_) => self.end(context, Retiring { region, mr, class }),
        }
        opened
    }

    fn put(&mut self, region: Region, class: u32) {
        let class = class as usize;
        if self.free.len() <= class {
            self.free.resize_with(class + 1, Vec::new);
        }
        self.free[class].push(region);
    }
}

/// A kind of pages is its own place in the list of them.
const _: () = assert!(
    PageKind::ALL[0] as usize == 0 && PageKind::ALL[1] as usize == 1 && PageKind::ALL[2] as usize == 2
);
