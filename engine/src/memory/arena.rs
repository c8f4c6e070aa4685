//! An arena: one registered region, handed out in leases.

use wavetank_contract::{Lease, MrId, PageKind, Region};

use super::error::MemoryError;
use super::pool::Pool;
use super::stats::log_pages;

/// How full an arena is. Bytes are those of slots, not of the leases in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaStats {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that are not back yet: leased, or held by works.
    pub leased_bytes: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// The most that was ever out at a time.
    pub leased_bytes_max: u64,
    /// Leases that are not back yet.
    pub leases: u32,
    /// Which pages its region has.
    pub pages: PageKind,
}

/// How one size class is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassStats {
    /// Bytes of a slot: the granule times a power of two.
    pub slot_bytes: u64,
    /// Slots that are leased or held.
    pub live: u32,
    /// Slots that are free at this size. More can be cut from larger ones or merged from smaller ones.
    pub free: u32,
}

/// One region, registered once, cut into leases.
///
/// Slots are powers of two times the region's granule; at most half of a slot of more than one granule is unused.
/// A lease is refused only if no free, aligned slot of its class can be made of what is back.
#[derive(Debug)]
pub struct Arena {
    region: Region,
    mr: MrId,
    granule_shift: u32,
    pool: Pool,
}

impl Arena {
    /// Takes over a region and the registration that covers all of it.
    ///
    /// # Errors
    /// [`MemoryError::RegionInUse`] when parts of it are leased already.
    pub fn new(region: Region, mr: MrId) -> Result<Arena, MemoryError> {
        let arena = Arena::of(region, mr)?;
        log_pages("arena", arena.region.pages(), false);
        Ok(arena)
    }

    /// Takes over a region that no device hears of, or only in parts: its leases have no registration, and are in no work.
    ///
    /// # Errors
    /// [`MemoryError::RegionInUse`] when parts of it are leased already.
    pub fn unregistered(region: Region) -> Result<Arena, MemoryError> {
        Arena::of(region, MrId(u32::MAX))
    }

    /// Says nothing to the log.
    pub(super) fn of(region: Region, mr: MrId) -> Result<Arena, MemoryError> {
        let leases = region.live_leases();
        if leases != 0 {
            return Err(MemoryError::RegionInUse { leases });
        }
        region.collect_returned(|_| ());
        let granule_shift = region.granule_bytes().trailing_zeros();
        // A region has fewer than 2^32 granules; it counts them in 32 bits itself.
        let granules = (region.len() >> granule_shift) as u32;
        region.reserve_returns(granules as usize);
        Ok(Arena { region, mr, granule_shift, pool: Pool::new(granules) })
    }

    /// The region it cuts.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The registration that every lease of it is covered by.
    #[inline]
    pub fn mr(&self) -> MrId {
        self.mr
    }

    /// The longest lease it can ever give, in bytes.
    pub fn lease_bytes_max(&self) -> u64 {
        self.slot_bytes(self.pool.classes() - 1)
    }

    /// A lease of exactly `len_bytes`. Dropping it, and every hold on it, gives the memory back.
    ///
    /// The bytes are those of whoever had the place before.
    ///
    /// # Errors
    /// [`MemoryError::Empty`] and [`MemoryError::TooLong`] for what is never possible,
    /// [`MemoryError::Exhausted`] for what is not possible now.
    #[inline]
    pub fn acquire(&mut self, len_bytes: u64) -> Result<Lease, MemoryError> {
        let Some(last_byte) = len_bytes.checked_sub(1) else {
            return Err(MemoryError::Empty);
        };
        let last_granule = last_byte >> self.granule_shift;
        let class = u64::BITS - last_granule.leading_zeros();
        if class >= self.pool.classes() {
            return Err(MemoryError::TooLong { asked_bytes: len_bytes, limit_bytes: self.lease_bytes_max() });
        }
        self.collect();
        let Some(start) = self.pool.take(class) else {
            return Err(self.exhausted(len_bytes));
        };
        let offset = u64::from(start) << self.granule_shift;
        match self.region.lease(offset, len_bytes) {
            Some(lease) => Ok(lease),
            None => {
                self.pool.put(start);
                Err(MemoryError::LeasedElsewhere { offset })
            }
        }
    }

    /// Merges free slots as far as they go, which otherwise happens when a class has run out.
    pub fn coalesce(&mut self) {
        self.collect();
        self.pool.merge();
    }

    /// How full it is.
    pub fn stats(&mut self) -> ArenaStats {
        self.collect();
        let live_granules = self.pool.live_granules();
        ArenaStats {
            total_bytes: self.bytes(self.pool.granules()),
            leased_bytes: self.bytes(live_granules),
            free_bytes: self.bytes(self.pool.granules() - live_granules),
            leased_bytes_max: self.bytes(self.pool.live_granules_max()),
            leases: self.region.live_leases(),
            pages: self.region.pages().kind,
        }
    }

    /// How each size class is used, the smallest first.
    pub fn classes(&mut self) -> impl Iterator<Item = ClassStats> + '_ {
        self.collect();
        (0..self.pool.classes()).map(|class| ClassStats {
            slot_bytes: self.slot_bytes(class),
            live: self.pool.live(class),
            free: self.pool.free(class),
        })
    }

    /// Whether every lease is back, and so are the holds of every work: no at the end of a run is a leak.
    pub fn is_whole(&mut self) -> bool {
        self.collect();
        self.pool.live_granules() == 0 && self.region.live_leases() == 0
    }

    /// Looks for a granule that is lost or out twice, and for sums that do not add up. Slow: for tests and checks.
    ///
    /// # Errors
    /// The first contradiction, in words.
    pub fn check(&mut self) -> Result<(), String> {
        self.collect();
        self.pool.check()?;
        let live: u32 = (0..self.pool.classes()).map(|class| self.pool.live(class)).sum();
        if live != self.region.live_leases() {
            return Err(format!(
                "{live} slots are live, and {} leases of the region",
                self.region.live_leases()
            ));
        }
        Ok(())
    }

    /// Takes back what was dropped since the last look. In the order of the drops, so it does not matter when.
    #[inline]
    fn collect(&mut self) {
        let Arena { region, pool, granule_shift, .. } = self;
        region.collect_returned(|offset| pool.put((offset >> *granule_shift) as u32));
    }

    #[cold]
    fn exhausted(&self, asked_bytes: u64) -> MemoryError {
        MemoryError::Exhausted {
            asked_bytes,
            free_bytes: self.bytes(self.pool.granules() - self.pool.live_granules()),
            largest_free_bytes: self.pool.largest_free().map_or(0, |class| self.slot_bytes(class)),
            leases: self.region.live_leases(),
        }
    }

    fn bytes(&self, granules: u32) -> u64 {
        u64::from(granules) << self.granule_shift
    }

    fn slot_bytes(&self, class: u32) -> u64 {
        1 << (class + self.granule_shift)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wavetank_contract::{Hold, RegionSpec};

    use super::*;

    const KIB: u64 = 1024;

    fn arena(len_bytes: u64, granule_bytes: u64) -> Arena {
        let spec = RegionSpec { granule_bytes, ..RegionSpec::new(len_bytes) };
        let region = Region::allocate(&spec).expect("small region");
        Arena::new(region, MrId(7)).expect("fresh region")
    }

    #[test]
    fn a_lease_has_the_length_asked_for_in_a_slot_of_its_class() {
        let mut arena = arena(64 * KIB, 4 * KIB);
        let lease = arena.acquire(9 * KIB).expect("free");
        assert_eq!(lease.len(), 9 * KIB);
        assert_eq!(arena.stats().leased_bytes, 16 * KIB);
        assert!(lease.piece(arena.mr(), 9 * KIB, 1).is_none(), "the rest of the slot is nobody's");
        let exact = arena.acquire(16 * KIB).expect("free");
        assert_eq!(arena.stats().leased_bytes, 32 * KIB);
        assert_eq!((lease.offset(), exact.offset()), (0, 16 * KIB));
    }

    #[test]
    fn what_can_never_be_leased_is_refused_as_such() {
        let mut arena = arena(24 * KIB, 4 * KIB);
        assert_eq!(arena.acquire(0).expect_err("refused"), MemoryError::Empty);
        for asked_bytes in [16 * KIB + 1, 24 * KIB, 1 << 63, u64::MAX] {
            let refused = arena.acquire(asked_bytes).expect_err("refused");
            let limit_bytes = 16 * KIB;
            assert_eq!(refused, MemoryError::TooLong { asked_bytes, limit_bytes });
        }
        assert!(arena.acquire(16 * KIB).is_ok());
    }

    #[test]
    fn an_exhausted_arena_says_what_would_still_fit() {
        let mut arena = arena(32 * KIB, 4 * KIB);
        let leases: Vec<Lease> = (0..8).map(|_| arena.acquire(4 * KIB).expect("free")).collect();
        // Every other slot comes back: half is free, none of it in one piece.
        let kept: Vec<Lease> = leases.into_iter().filter(|l| l.offset() / (4 * KIB) % 2 == 1).collect();
        let refused = arena.acquire(8 * KIB).expect_err("refused");
        let expected = MemoryError::Exhausted {
            asked_bytes: 8 * KIB,
            free_bytes: 16 * KIB,
            largest_free_bytes: 4 * KIB,
            leases: 4,
        };
        assert_eq!(refused, expected);
        assert!(refused.to_string().contains("drop leases"));
        drop(kept);
        assert!(arena.acquire(32 * KIB).is_ok(), "all of it is one slot again");
    }

    #[test]
    fn a_held_place_is_not_leased_again_before_the_hold_is_dropped() {
        let mut arena = arena(4 * KIB, 4 * KIB);
        let lease = arena.acquire(1).expect("free");
        let hold = lease.hold();
        drop(lease);
        assert!(matches!(arena.acquire(1), Err(MemoryError::Exhausted { leases: 1, .. })));
        assert!(!arena.is_whole());
        drop(hold);
        assert!(arena.is_whole());
        assert!(arena.acquire(1).is_ok());
    }

    #[test]
    fn the_next_lease_of_a_place_has_another_generation() {
        let mut arena = arena(16 * KIB, 4 * KIB);
        let first = arena.acquire(KIB).expect("free");
        let name = (first.offset(), first.generation());
        drop(first);
        let second = arena.acquire(2 * KIB).expect("free");
        assert_eq!(second.offset(), name.0);
        assert_ne!(second.generation(), name.1);
    }

    #[test]
    fn leases_outlive_their_arena() {
        let mut arena = arena(16 * KIB, 4 * KIB);
        let lease = arena.acquire(4).expect("free");
        drop(arena);
        lease.write(0, &[1, 2, 3, 4]);
        let mut back = [0; 4];
        lease.read(0, &mut back);
        assert_eq!(back, [1, 2, 3, 4]);
    }

    #[test]
    fn a_region_that_others_lease_from_makes_no_arena_and_no_overlap() {
        let region = Region::allocate(&RegionSpec::new(8 * KIB)).expect("small region");
        let foreign = region.lease(0, 1).expect("free");
        let refused = Arena::new(region.clone(), MrId(0)).map(|_| ()).expect_err("refused");
        assert_eq!(refused, MemoryError::RegionInUse { leases: 1 });
        drop(foreign);

        let mut arena = Arena::new(region.clone(), MrId(0)).expect("free now");
        let foreign = region.lease(0, 1).expect("free");
        assert_eq!(arena.acquire(1).expect_err("refused"), MemoryError::LeasedElsewhere { offset: 0 });
        drop(foreign);
        assert_eq!(arena.check(), Ok(()));
        assert!(arena.is_whole());
        assert!(arena.acquire(8 * KIB).is_ok());
    }

    #[test]
    fn statistics_add_up_and_remember_the_high_water_mark() {
        let mut arena = arena(28 * KIB, 4 * KIB);
        let a = arena.acquire(16 * KIB).expect("free");
        let b = arena.acquire(5 * KIB).expect("free");
        drop(a);
        let stats = arena.stats();
        assert_eq!((stats.total_bytes, stats.leased_bytes, stats.free_bytes), (28 * KIB, 8 * KIB, 20 * KIB));
        assert_eq!((stats.leased_bytes_max, stats.leases), (24 * KIB, 1));
        let classes: Vec<ClassStats> = arena.classes().collect();
        let class = |slot_bytes, live, free| ClassStats { slot_bytes, live, free };
        assert_eq!(classes, [class(4 * KIB, 0, 1), class(8 * KIB, 1, 0), class(16 * KIB, 0, 1)]);
        drop(b);
        assert!(arena.is_whole());
    }

    #[test]
    fn looking_at_an_arena_does_not_change_where_leases_go() {
        let run = |look: bool| {
            let mut arena = arena(1024 * KIB, 4 * KIB);
            let mut live = Vec::new();
            let mut places = Vec::new();
            for step in 0u64..600 {
                let lease = arena.acquire(1 + step * 2654 % (20 * KIB)).expect("room");
                places.push(lease.offset());
                live.push(lease);
                if live.len() > 20 {
                    drop(live.swap_remove((step * 7 % 20) as usize));
                }
                if look {
                    arena.stats();
                    assert!(!arena.is_whole());
                    assert_eq!(arena.check(), Ok(()));
                }
            }
            places
        };
        assert_eq!(run(true), run(false));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Acquire(u64),
        Drop(usize),
        Hold(usize),
        DropHold(usize),
        Coalesce,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            6 => prop_oneof![4 => 1..20u64, 2 => 1..200u64, 1 => 0..3000u64].prop_map(Act::Acquire),
            4 => any::<usize>().prop_map(Act::Drop),
            2 => any::<usize>().prop_map(Act::Hold),
            2 => any::<usize>().prop_map(Act::DropHold),
            1 => Just(Act::Coalesce),
        ]
    }

    /// A place that is out: its first byte, its slot's length, and who keeps it out.
    struct Out {
        offset: u64,
        slot_bytes: u64,
        lease: Option<Lease>,
        holds: Vec<Hold>,
    }

    /// Whether an aligned slot of this length lies in the region and overlaps nothing that is out.
    fn fits(out: &[Out], total_bytes: u64, slot_bytes: u64) -> bool {
        (0..total_bytes / slot_bytes).map(|i| i * slot_bytes).any(|start| {
            out.iter().all(|o| o.offset + o.slot_bytes <= start || start + slot_bytes <= o.offset)
        })
    }

    proptest! {
        #[test]
        fn leases_never_overlap_are_refused_only_without_room_and_all_come_back(
            granules in 1..150u64,
            acts in proptest::collection::vec(act(), 0..300),
        ) {
            const GRANULE: u64 = 8;
            let mut arena = arena(granules * GRANULE, GRANULE);
            let total_bytes = granules * GRANULE;
            let whole: Vec<ClassStats> = arena.classes().collect();
            let mut out: Vec<Out> = Vec::new();
            let mut leased_bytes_max = 0;
            for act in acts {
                match act {
                    Act::Acquire(len) => {
                        let slot_bytes = len.max(GRANULE).next_power_of_two();
                        match arena.acquire(len) {
                            Ok(lease) => {
                                prop_assert_eq!(lease.len(), len);
                                let offset = lease.offset();
                                prop_assert!(offset % slot_bytes == 0 && offset + slot_bytes <= total_bytes);
                                for other in &out {
                                    prop_assert!(
                                        other.offset + other.slot_bytes <= offset
                                            || offset + slot_bytes <= other.offset
                                    );
                                }
                                out.push(Out { offset, slot_bytes, lease: Some(lease), holds: Vec::new() });
                            }
                            Err(MemoryError::Empty) => prop_assert_eq!(len, 0),
                            Err(MemoryError::TooLong { .. }) => prop_assert!(slot_bytes > total_bytes),
                            Err(MemoryError::Exhausted { largest_free_bytes, leases, .. }) => {
                                prop_assert!(!fits(&out, total_bytes, slot_bytes));
                                prop_assert_eq!(leases as usize, out.len());
                                let largest = (0..20)
                                    .map(|shift| GRANULE << shift)
                                    .filter(|bytes| *bytes <= total_bytes && fits(&out, total_bytes, *bytes))
                                    .max();
                                prop_assert_eq!(largest_free_bytes, largest.unwrap_or(0));
                            }
                            Err(other) => prop_assert!(false, "{}", other),
                        }
                    }
                    Act::Drop(i) if !out.is_empty() => {
                        let i = i % out.len();
                        out[i].lease = None;
                    }
                    Act::Hold(i) if !out.is_empty() => {
                        let i = i % out.len();
                        if let Some(lease) = &out[i].lease {
                            let hold = lease.hold();
                            out[i].holds.push(hold);
                        }
                    }
                    Act::DropHold(i) if !out.is_empty() => {
                        let i = i % out.len();
                        out[i].holds.pop();
                    }
                    Act::Coalesce => arena.coalesce(),
                    Act::Drop(_) | Act::Hold(_) | Act::DropHold(_) => {}
                }
                out.retain(|o| o.lease.is_some() || !o.holds.is_empty());
                prop_assert_eq!(arena.check(), Ok(()));
                let leased_bytes: u64 = out.iter().map(|o| o.slot_bytes).sum();
                leased_bytes_max = leased_bytes_max.max(leased_bytes);
                let stats = arena.stats();
                prop_assert_eq!(stats.leased_bytes, leased_bytes);
                prop_assert_eq!(stats.free_bytes + leased_bytes, total_bytes);
                prop_assert_eq!(stats.leased_bytes_max, leased_bytes_max);
                prop_assert_eq!(stats.leases as usize, out.len());
                prop_assert_eq!(arena.is_whole(), out.is_empty());
            }
            out.clear();
            prop_assert!(arena.is_whole());
            arena.coalesce();
            prop_assert_eq!(arena.classes().collect::<Vec<_>>(), whole);
        }
    }
}
