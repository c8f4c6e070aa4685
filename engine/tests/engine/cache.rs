//! The cache of registrations: what it keeps, what it gives up, and what it never hands out.

use proptest::prelude::*;
use wavetank_contract::error::{KeyError, RegisterError};
use wavetank_contract::{Lease, MrId, Region, RegionSpec};
use wavetank_engine::memory::{CacheConfig, CacheError, Cached, RegistrationCache};
use wavetank_engine::{Port, PortConfig, RdmaOps};
use wavetank_mock::{Fabric, MockNic, Profile};

const PAGE: u64 = 4096;

fn port() -> (Fabric, Port<MockNic>) {
    let mut fabric = Fabric::new(Profile::CX6);
    let port = Port::new(fabric.add_node(), PortConfig::default());
    (fabric, port)
}

fn region(pages: u64) -> Region {
    Region::allocate(&RegionSpec::new(pages * PAGE)).unwrap()
}

fn cache(count_max: u32, pages_max: u64) -> RegistrationCache {
    RegistrationCache::new(CacheConfig { count_max, bytes_max: pages_max * PAGE, ..CacheConfig::default() })
}

fn addr(region: &Region) -> u64 {
    region.base().as_ptr() as u64
}

/// Whether the device still has it: it was given no remote right.
fn is_registered(port: &Port<MockNic>, mr: MrId) -> bool {
    match port.export(mr) {
        Err(KeyError::LocalOnly(_)) => true,
        Err(KeyError::Unknown(_)) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_buffer_that_is_used_again_keeps_its_registration() {
    let (_fabric, mut port) = port();
    let mut cache = cache(4, 64);
    let (a, b) = (region(2), region(3));
    let first = cache.register(&mut port, &a).unwrap();
    let other = cache.register(&mut port, &b).unwrap();
    let again = cache.register(&mut port, &a.clone()).unwrap();
    assert_eq!(first.mr(), again.mr());
    assert_ne!(first.mr(), other.mr());
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.count, stats.bytes), (1, 2, 2, 5 * PAGE));
    let piece = other.piece(addr(&b) + 100, 8).unwrap();
    assert_eq!((piece.mr, piece.offset, piece.len), (other.mr(), 100, 8));
    assert!(other.piece(addr(&b) + 3 * PAGE - 7, 8).is_none(), "past the end");
    assert!(other.piece(addr(&b) - 1, 8).is_none() && other.piece(u64::MAX, u32::MAX).is_none());
}

#[test]
fn an_address_inside_a_buffer_finds_its_registration_and_one_outside_none() {
    let (_fabric, mut port) = port();
    let mut cache = cache(8, 64);
    let regions: Vec<Region> = (1..5).map(region).collect();
    let mrs: Vec<MrId> = regions.iter().map(|r| cache.register(&mut port, r).unwrap().mr()).collect();
    for (region, mr) in regions.iter().zip(&mrs) {
        let (start, len) = (addr(region), region.len());
        for (at, bytes) in [(start, len), (start, 0), (start + len - 1, 1), (start + 100, 17)] {
            assert_eq!(cache.find(at, bytes).map(|cached| cached.mr()), Some(*mr));
        }
        assert!(cache.find(start, len + 1).is_none() && cache.find(start + len - 1, 2).is_none());
        assert!(cache.find(start + 1, u64::MAX).is_none());
    }
    assert!(cache.find(0, 1).is_none() && cache.find(u64::MAX, 1).is_none());
    assert_eq!(cache.stats().misses, 4, "a look registers nothing");
}

#[test]
fn the_buffer_unused_for_longest_goes_first_and_a_used_one_never() {
    let (_fabric, mut port) = port();
    let mut cache = cache(3, 64);
    let regions: Vec<Region> = (0..5).map(|_| region(1)).collect();
    let guard = cache.register(&mut port, &regions[0]).unwrap();
    let lease = regions[1].lease(0, 8).unwrap();
    let leased = cache.register(&mut port, &regions[1]).unwrap().mr();
    let third = cache.register(&mut port, &regions[2]).unwrap().mr();
    let fourth = cache.register(&mut port, &regions[3]).unwrap();
    assert!(is_registered(&port, guard.mr()) && is_registered(&port, leased), "a guard, a lease");
    assert!(!is_registered(&port, third), "the only one that nobody used");
    // Now all three are used.
    let full = cache.register(&mut port, &regions[4]).unwrap_err();
    assert!(matches!(full, CacheError::Full { count: 3, count_max: 3, .. }), "{full}");
    drop((guard, lease, fourth));
    assert!(cache.register(&mut port, &regions[4]).is_ok());
    assert_eq!((cache.stats().evictions, cache.stats().refusals), (2, 1));
    assert_eq!(cache.clear(&mut port), 0);
}

#[test]
fn bytes_are_a_limit_too() {
    let (_fabric, mut port) = port();
    let mut cache = cache(100, 8);
    let (a, b, c) = (region(3), region(4), region(6));
    let mrs = [&a, &b].map(|r| cache.register(&mut port, r).unwrap().mr());
    let too_long = cache.register(&mut port, &region(9)).unwrap_err();
    assert_eq!(too_long, CacheError::TooLong { len_bytes: 9 * PAGE, limit_bytes: 8 * PAGE });
    assert!(mrs.iter().all(|mr| is_registered(&port, *mr)), "that cost nobody anything");
    cache.register(&mut port, &c).unwrap();
    assert_eq!(mrs.map(|mr| is_registered(&port, mr)), [false, false]);
    assert_eq!((cache.stats().bytes, cache.stats().count), (6 * PAGE, 1));
}

#[test]
fn a_device_without_room_gets_the_unused_back_and_is_asked_once_more() {
    let (mut fabric, mut port) = port();
    let mut cache = cache(8, 64);
    let (a, b, c) = (region(1), region(1), region(1));
    let used = cache.register(&mut port, &a).unwrap();
    let unused = cache.register(&mut port, &b).unwrap().mr();
    fabric.fail_registration(0, 0);
    let third = cache.register(&mut port, &c).unwrap();
    assert!(is_registered(&port, used.mr()) && !is_registered(&port, unused));
    assert_eq!((cache.stats().retries, cache.stats().evictions), (1, 1));
    // With nothing to give back the answer would be the same.
    fabric.fail_registration(0, 0);
    let refused = cache.register(&mut port, &b).unwrap_err();
    assert!(matches!(refused, CacheError::Register(RegisterError::System(_))), "{refused}");
    assert_eq!((cache.stats().retries, cache.stats().refusals, cache.stats().count), (1, 1, 2));
    drop(third);
}

#[test]
fn an_address_that_is_used_again_never_meets_an_old_key() {
    let (_fabric, mut port) = port();
    let mut cache = cache(64, 1024);
    let mut met = 0;
    let mut seen: Vec<MrId> = Vec::new();
    for _ in 0..50 {
        let old = region(2);
        let place = addr(&old);
        let mr = cache.register(&mut port, &old).unwrap().mr();
        assert!(!seen.contains(&mr));
        seen.push(mr);
        // Somebody ends the registration behind the cache's back and frees the memory.
        port.deregister(mr).unwrap();
        drop(old);
        assert!(cache.find(place, 1).is_none(), "its region is gone");
        let new = region(2);
        if addr(&new) == place {
            met += 1;
            assert!(cache.find(place, 1).is_none());
            let fresh = cache.register(&mut port, &new).unwrap();
            assert!(!seen.contains(&fresh.mr()) && is_registered(&port, fresh.mr()));
            assert_eq!(cache.find(place, 1).map(|cached| cached.mr()), Some(fresh.mr()));
            seen.push(fresh.mr());
        }
    }
    assert!(met > 0, "the allocator never gave the same address twice: this test saw nothing");
    assert!(cache.stats().invalidations >= met);
}

#[test]
fn memory_that_nobody_has_any_more_goes_back_with_the_next_sweep() {
    let (_fabric, mut port) = port();
    let mut cache = cache(8, 64);
    let (kept, gone) = (region(1), region(1));
    let place = addr(&gone);
    let mr = cache.register(&mut port, &gone).unwrap().mr();
    let guard = cache.register(&mut port, &kept).unwrap();
    let name = gone.downgrade();
    drop(gone);
    assert!(name.is_alive(), "the device keeps what is registered");
    assert!(cache.find(place, 1).is_none(), "but nobody is to use it");
    cache.sweep(&mut port);
    assert!(!name.is_alive() && !is_registered(&port, mr));
    // What is used is gone as well, and ends when it is not used any more.
    let place = addr(&kept);
    drop(kept);
    cache.sweep(&mut port);
    assert!(cache.find(place, 1).is_none());
    assert_eq!((is_registered(&port, guard.mr()), cache.stats().retiring), (true, 1));
    let mr = guard.mr();
    drop(guard);
    cache.sweep(&mut port);
    assert_eq!((is_registered(&port, mr), cache.stats().count, cache.stats().bytes), (false, 0, 0));
    assert_eq!(cache.stats().invalidations, 2);
}

#[test]
fn what_is_invalidated_or_of_an_earlier_epoch_is_never_handed_out_again() {
    let (_fabric, mut port) = port();
    let mut cache = cache(8, 64);
    let (a, b) = (region(2), region(2));
    let [first, other] = [&a, &b].map(|r| cache.register(&mut port, r).unwrap());
    cache.invalidate(&mut port, addr(&a) + PAGE, 1);
    assert!(cache.find(addr(&a), 1).is_none() && cache.find(addr(&b), 1).is_some());
    let second = cache.register(&mut port, &a).unwrap();
    assert_ne!(first.mr(), second.mr());
    assert!(is_registered(&port, first.mr()), "a guard still has it");
    cache.next_epoch();
    assert!(cache.find(addr(&a), 1).is_none() && cache.find(addr(&b), 1).is_none());
    let third = cache.register(&mut port, &a).unwrap();
    assert!(third.mr() != first.mr() && third.mr() != second.mr());
    assert_eq!(cache.clear(&mut port), 4, "all four have guards");
    drop((first, second, third, other));
    assert_eq!(cache.clear(&mut port), 0);
    assert_eq!(cache.stats().bytes, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Register { which: usize, keep: bool },
    Find { which: usize, at: u64, len: u64 },
    Release { which: usize },
    Lease { which: usize },
    Return { which: usize },
    Replace { which: usize, pages: u64 },
    Invalidate { which: usize },
    Fail,
    Epoch,
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..6usize;
    let step = prop_oneof![
        12 => (which.clone(), any::<bool>()).prop_map(|(which, keep)| Step::Register { which, keep }),
        4 => (which.clone(), 0..5 * PAGE, 0..2 * PAGE).prop_map(|(which, at, len)| Step::Find { which, at, len }),
        6 => (0..99usize).prop_map(|which| Step::Release { which }),
        2 => which.clone().prop_map(|which| Step::Lease { which }),
        2 => (0..99usize).prop_map(|which| Step::Return { which }),
        3 => (which.clone(), 1..4u64).prop_map(|(which, pages)| Step::Replace { which, pages }),
        1 => which.prop_map(|which| Step::Invalidate { which }),
        1 => Just(Step::Fail),
        1 => Just(Step::Epoch),
        2 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 1..150)
}

/// What the model knows of a registration.
#[derive(Clone, Debug)]
struct Known {
    uid: usize,
    mr: MrId,
    len: u64,
    epoch: u64,
}

const COUNT_MAX: u32 = 4;
const PAGES_MAX: u64 = 8;

/// The cache as a list: the least recently used first.
#[derive(Default)]
struct Model {
    valid: Vec<Known>,
    retiring: Vec<Known>,
    guards: Vec<(Cached, usize)>,
    leases: Vec<(Lease, usize)>,
    epoch: u64,
    /// The region that each name stands for now.
    current: Vec<usize>,
}

impl Model {
    fn is_used(&self, known: &Known) -> bool {
        self.guards.iter().any(|(guard, _)| guard.mr() == known.mr)
            || self.leases.iter().any(|(_, uid)| *uid == known.uid)
    }

    fn is_gone(&self, known: &Known) -> bool {
        !self.current.contains(&known.uid) && !self.leases.iter().any(|(_, uid)| *uid == known.uid)
    }

    fn settle(&mut self) {
        let retiring = std::mem::take(&mut self.retiring);
        self.retiring = retiring.into_iter().filter(|known| self.is_used(known)).collect();
    }

    fn retire_if(&mut self, which: impl Fn(&Model, &Known) -> bool) {
        let (out, stay) = std::mem::take(&mut self.valid).into_iter().partition(|known| which(self, known));
        self.valid = stay;
        self.retiring.extend::<Vec<Known>>(out);
        self.settle();
    }

    fn count(&self) -> usize {
        self.valid.len() + self.retiring.len()
    }

    fn bytes(&self) -> u64 {
        self.valid.iter().chain(&self.retiring).map(|known| known.len).sum()
    }

    /// The place of the entry that may be handed out for a region.
    fn find(&self, uid: usize) -> Option<usize> {
        self.valid.iter().position(|known| known.uid == uid && known.epoch == self.epoch)
    }

    /// What a miss does before it registers. False when there is no room.
    fn make_room(&mut self, uid: usize, len: u64) -> bool {
        self.retire_if(|_, known| known.uid == uid);
        for _ in 0..2 {
            match self.valid.first() {
                Some(oldest) if self.is_gone(oldest) => {
                    let oldest = self.valid.remove(0);
                    self.retiring.push(oldest);
                }
                _ => break,
            }
        }
        self.settle();
        while self.count() >= COUNT_MAX as usize || self.bytes() + len > PAGES_MAX * PAGE {
            match (0..self.valid.len()).find(|at| !self.is_used(&self.valid[*at])) {
                Some(at) => drop(self.valid.remove(at)),
                None => return false,
            }
        }
        true
    }
}

proptest! {
    /// The cache hands out what the model does, evicts what the model evicts, and no registration lives that the model has ended.
    #[test]
    fn the_cache_does_what_a_plain_list_would(steps in steps()) {
        let (mut fabric, mut port) = port();
        let mut cache = cache(COUNT_MAX, PAGES_MAX);
        let mut regions: Vec<Region> = (0..6).map(|at| region(1 + at % 3)).collect();
        let mut next_uid = 6;
        let mut model = Model { current: (0..6).collect(), ..Model::default() };
        let mut seen: Vec<MrId> = Vec::new();
        let mut failing = false;
        for step in steps {
            match step {
                Step::Register { which, keep } => {
                    let (uid, len) = (model.current[which], regions[which].len());
                    let hit = model.find(uid);
                    let got = cache.register(&mut port, &regions[which]);
                    match hit {
                        Some(at) => {
                            let known = model.valid.remove(at);
                            prop_assert_eq!(got.as_ref().map(Cached::mr), Ok(known.mr));
                            model.valid.push(known);
                        }
                        None if !model.make_room(uid, len) => {
                            prop_assert!(matches!(got, Err(CacheError::Full { .. })), "{:?}", got);
                        }
                        None => {
                            let refused = failing && {
                                let before = model.count();
                                let unused = |model: &Model, known: &Known| !model.is_used(known);
                                model.retire_if(unused);
                                before == model.count()
                            };
                            failing = false;
                            if refused {
                                prop_assert!(matches!(got, Err(CacheError::Register(_))), "{:?}", got);
                            } else {
                                prop_assert!(got.is_ok(), "{:?}", got);
                                let mr = got.as_ref().unwrap().mr();
                                prop_assert!(!seen.contains(&mr), "a name was given twice");
                                seen.push(mr);
                                model.valid.push(Known { uid, mr, len, epoch: model.epoch });
                            }
                        }
                    }
                    if keep && let Ok(guard) = got {
                        model.guards.push((guard, uid));
                    }
                }
                Step::Find { which, at, len } => {
                    let region = &regions[which];
                    let found = cache.find(addr(region) + at, len).map(|cached| cached.mr());
                    // What lies beyond the region may be another's, which is right as well.
                    if at < region.len() {
                        let known = model.find(model.current[which]).filter(|_| at + len <= region.len());
                        prop_assert_eq!(found, known.map(|at| model.valid[at].mr));
                    }
                    if let Some(mr) = found
                        && let Some(at) = model.valid.iter().position(|known| known.mr == mr)
                    {
                        let known = model.valid.remove(at);
                        model.valid.push(known);
                    }
                }
                Step::Release { which } if !model.guards.is_empty() => {
                    let count = model.guards.len();
                    model.guards.swap_remove(which % count);
                }
                Step::Lease { which } => {
                    if let Some(lease) = regions[which].lease(0, 8) {
                        model.leases.push((lease, model.current[which]));
                    }
                }
                Step::Return { which } if !model.leases.is_empty() => {
                    let count = model.leases.len();
                    model.leases.swap_remove(which % count);
                }
                Step::Replace { which, pages } => {
                    regions[which] = region(pages);
                    model.current[which] = next_uid;
                    next_uid += 1;
                }
                Step::Invalidate { which } => {
                    let (uid, region) = (model.current[which], &regions[which]);
                    cache.invalidate(&mut port, addr(region), region.len());
                    model.retire_if(|_, known| known.uid == uid);
                }
                Step::Fail => {
                    fabric.fail_registration(0, 0);
                    failing = true;
                }
                Step::Epoch => {
                    cache.next_epoch();
                    model.epoch += 1;
                }
                Step::Sweep => {
                    cache.sweep(&mut port);
                    model.retire_if(|model, known| model.is_gone(known) || known.epoch != model.epoch);
                }
                Step::Release { .. } | Step::Return { .. } => {}
            }
            let stats = cache.stats();
            prop_assert_eq!((stats.count as usize, stats.bytes), (model.count(), model.bytes()));
            prop_assert_eq!(stats.retiring as usize, model.retiring.len());
            prop_assert!(stats.count <= COUNT_MAX && stats.bytes <= PAGES_MAX * PAGE);
            for mr in &seen {
                let kept = model.valid.iter().chain(&model.retiring).any(|known| known.mr == *mr);
                prop_assert_eq!(is_registered(&port, *mr), kept, "{:?}", mr);
            }
        }
        model.guards.clear();
        model.leases.clear();
        prop_assert_eq!(cache.clear(&mut port), 0);
        prop_assert!(seen.iter().all(|mr| !is_registered(&port, *mr)));
    }
}
