//! Extents: what one peer may reach, what it may not any more, and when memory goes to the next.

use proptest::prelude::*;
use wavetank_contract::error::{KeyError, RegisterError};
use wavetank_contract::{Hold, Lease, MrId, Op, Others, Pages, RemoteKey, SharedMemory};
use wavetank_engine::memory::{Exposed, ExtentId, ExtentPool, ExtentPoolConfig, MemoryError};
use wavetank_engine::{Port, PortConfig, RdmaOps, TransferSpec};
use wavetank_mock::{Fabric, Profile};

use crate::lab::{KIB, Lab, Plan, lab};

const EXTENT: u64 = 16 * KIB;

fn pool(bytes_max: u64) -> ExtentPool {
    let pages = Pages::Plain;
    ExtentPool::new(ExtentPoolConfig { extent_bytes: EXTENT, bytes_max, pages, ..Default::default() })
}

fn lease(lab: &Lab, pool: &mut ExtentPool, exposed: &mut Exposed, len: u64) -> Result<Lease, MemoryError> {
    lab.on(0, |d| exposed.lease(pool, d.context(), len))
}

fn close(lab: &Lab, pool: &mut ExtentPool, exposed: Exposed) {
    lab.on(0, |d| exposed.close(pool, d.context()));
}

fn key_of(exposed: &Exposed, lease: &Lease) -> (RemoteKey, u64) {
    let place = exposed.place(lease).unwrap();
    (exposed.key(place.extent).unwrap().clone(), place.offset)
}

/// What node 1 gets when it does this over a connection of its own with that key: the bytes read, or the error.
fn peer(lab: &mut Lab, key: &RemoteKey, offset: u64, write: Option<&[u8]>) -> Result<[u8; 8], &'static str> {
    let (_, ep) = lab.another_pair();
    let region = lab.on(1, |d| d.context().import(ep, key)).unwrap();
    let remote = region.at(offset, 8).unwrap();
    let op = if write.is_some() { Op::Write { remote, imm: None } } else { Op::Read { remote } };
    let spec = lab.spec(1, op, 8);
    spec.lease.write(0, write.unwrap_or(&[0x55; 8]));
    lab.submit(1, TransferSpec { ep, ..spec });
    lab.run();
    let end = lab.the_finished(1);
    end.result.map_err(|error| error.code())?;
    let mut bytes = [0; 8];
    end.lease.unwrap().read(0, &mut bytes);
    Ok(bytes)
}

#[test]
fn a_key_of_a_closed_session_is_dead_also_when_its_memory_has_gone_to_another() {
    let mut lab = lab(Plan::default());
    // Memory for one session only, so that the second gets what the first had.
    let mut pool = pool(EXTENT);
    let mut first = Exposed::new();
    let theirs = lease(&lab, &mut pool, &mut first, 100).unwrap();
    let (old_key, offset) = key_of(&first, &theirs);
    assert_eq!(peer(&mut lab, &old_key, offset, Some(b"a secret")), Ok(*b"a secret"));
    assert_eq!(peer(&mut lab, &old_key, offset, None), Ok(*b"a secret"), "the key opens what it is for");
    let place = theirs.region().downgrade();
    drop(theirs);
    close(&lab, &mut pool, first);
    for write in [None, Some(&b"too late"[..])] {
        assert_eq!(peer(&mut lab, &old_key, offset, write), Err("REM_ACCESS_ERR"));
    }

    let mut second = Exposed::new();
    let theirs = lease(&lab, &mut pool, &mut second, 100).unwrap();
    assert!(place.names(theirs.region()), "the same memory");
    let (new_key, offset) = key_of(&second, &theirs);
    assert_eq!(peer(&mut lab, &new_key, offset, None), Ok([0; 8]), "nothing of the first one's");
    assert_eq!(peer(&mut lab, &new_key, offset, Some(b"anothers")), Ok(*b"anothers"));
    for write in [None, Some(&b"intruder"[..])] {
        assert_eq!(peer(&mut lab, &old_key, offset, write), Err("REM_ACCESS_ERR"));
    }
    assert_eq!(peer(&mut lab, &new_key, offset, None), Ok(*b"anothers"), "and nothing was written");
    drop(theirs);
    close(&lab, &mut pool, second);
    assert_eq!((pool.stats().in_use_bytes, pool.stats().free_bytes), (0, EXTENT));
}

#[test]
fn one_session_does_not_reach_what_another_exposes() {
    let mut lab = lab(Plan::default());
    let mut pool = pool(4 * EXTENT);
    let (mut a, mut b) = (Exposed::new(), Exposed::new());
    let of_a = lease(&lab, &mut pool, &mut a, 8).unwrap();
    let of_b = lease(&lab, &mut pool, &mut b, 8).unwrap();
    assert!(!of_a.region().same_as(of_b.region()));
    assert_eq!(a.place(&of_b), None, "a lease of another's memory has no place here");
    let (key, offset) = key_of(&a, &of_a);
    let addresses = [&key, &key_of(&b, &of_b).0].map(|key| {
        let ep = lab.nodes[1].ep;
        lab.on(1, |d| d.context().import(ep, key)).unwrap().addr
    });
    // The key of a with the address of b: past the end, or before the beginning.
    let (_, ep) = lab.another_pair();
    let region = lab.on(1, |d| d.context().import(ep, &key)).unwrap();
    let remote = wavetank_contract::RemoteAddr { rkey: region.rkey, addr: addresses[1] };
    let spec = lab.spec(1, Op::Read { remote }, 8);
    lab.submit(1, TransferSpec { ep, ..spec });
    lab.run();
    assert_eq!(lab.the_finished(1).result.unwrap_err().code(), "REM_ACCESS_ERR");
    assert!(peer(&mut lab, &key, offset, None).is_ok());
    drop((of_a, of_b));
    close(&lab, &mut pool, a);
    close(&lab, &mut pool, b);
}

#[test]
fn a_lease_that_is_still_out_keeps_its_region_out_of_circulation() {
    let lab = lab(Plan::default());
    let mut pool = pool(EXTENT);
    let mut first = Exposed::new();
    let kept = lease(&lab, &mut pool, &mut first, 100).unwrap();
    let hold = kept.hold();
    close(&lab, &mut pool, first);
    assert_eq!((pool.stats().retiring_bytes, pool.stats().extents_retiring), (EXTENT, 1));
    let refused = lease(&lab, &mut pool, &mut Exposed::new(), 100).unwrap_err();
    let full = MemoryError::PoolFull {
        asked_bytes: EXTENT,
        limit_bytes: EXTENT,
        in_use_bytes: 0,
        retiring_bytes: EXTENT,
    };
    assert_eq!(refused, full);
    drop(kept);
    lab.on(0, |d| pool.sweep(d.context()));
    assert_eq!(pool.stats().retiring_bytes, EXTENT, "a work still has it");
    drop(hold);
    // The next one to need it sweeps by itself.
    let mut second = Exposed::new();
    assert!(lease(&lab, &mut pool, &mut second, 100).is_ok());
    assert_eq!((pool.stats().retiring_bytes, pool.stats().refusals), (0, 1));
    close(&lab, &mut pool, second);
}

#[test]
fn a_work_in_flight_keeps_its_region_out_of_circulation_until_it_is_flushed() {
    let mut lab = lab(Plan::default());
    let mut pool = pool(EXTENT);
    let mut exposed = Exposed::new();
    let lease = lease(&lab, &mut pool, &mut exposed, KIB).unwrap();
    let place = exposed.place(&lease).unwrap();
    // Node 0 fetches from node 1 into what it exposes.
    let spec = TransferSpec { lease, mr: place.mr, ..lab.read(0, 0, KIB) };
    lab.submit(0, spec);
    lab.on(0, |d| d.flush(lab.now()));
    assert_eq!(lab.outstanding(0), 1);
    close(&lab, &mut pool, exposed);
    assert_eq!(pool.stats().retiring_bytes, EXTENT);
    lab.run();
    let end = lab.the_finished(0);
    assert_eq!(end.result, Ok(KIB), "the registration was still there for it");
    drop(end);
    lab.on(0, |d| pool.sweep(d.context()));
    assert_eq!((pool.stats().retiring_bytes, pool.stats().free_bytes), (0, EXTENT));
    lab.assert_quiet();
}

#[test]
fn a_long_lease_has_an_extent_of_its_own_and_short_ones_share() {
    let lab = lab(Plan::default());
    let mut pool = pool(16 * EXTENT);
    let mut exposed = Exposed::new();
    let short: Vec<Lease> = (0..4).map(|_| lease(&lab, &mut pool, &mut exposed, 4 * KIB).unwrap()).collect();
    assert_eq!(exposed.bytes(), EXTENT, "four granules of one extent");
    let long = lease(&lab, &mut pool, &mut exposed, 3 * EXTENT).unwrap();
    assert_eq!((long.len(), exposed.bytes()), (3 * EXTENT, 5 * EXTENT));
    let more = lease(&lab, &mut pool, &mut exposed, 1).unwrap();
    assert!(!more.region().same_as(long.region()));
    assert_eq!((exposed.leases(), pool.stats().extents), (6, 3));
    let ids: Vec<ExtentId> = [&short[0], &long, &more].map(|l| exposed.place(l).unwrap().extent).into();
    assert_eq!(ids, [ExtentId(0), ExtentId(1), ExtentId(2)]);
    drop(long);
    lab.on(0, |d| exposed.trim(&mut pool, d.context()));
    assert_eq!((exposed.bytes(), exposed.key(ExtentId(1))), (2 * EXTENT, None), "nobody leased of it");
    // What comes back later is another extent, though the memory may be the same.
    let long = lease(&lab, &mut pool, &mut exposed, 4 * EXTENT).unwrap();
    assert_eq!(exposed.place(&long).unwrap().extent, ExtentId(3));
    assert_eq!(pool.stats().total_bytes(), 6 * EXTENT);
    drop((short, long, more));
    close(&lab, &mut pool, exposed);
    assert_eq!((pool.stats().free_bytes, pool.stats().extents), (6 * EXTENT, 0));
}

#[test]
fn what_is_past_the_limit_is_refused_before_anything_is_allocated() {
    let lab = lab(Plan::default());
    let mut pool = pool(3 * EXTENT);
    let mut exposed = Exposed::new();
    assert_eq!(lease(&lab, &mut pool, &mut exposed, 0).unwrap_err(), MemoryError::Empty);
    for asked_bytes in [2 * EXTENT + 1, 1 << 40, u64::MAX] {
        let refused = lease(&lab, &mut pool, &mut exposed, asked_bytes).unwrap_err();
        assert_eq!(refused, MemoryError::TooLong { asked_bytes, limit_bytes: 2 * EXTENT });
    }
    assert_eq!((pool.stats().total_bytes(), pool.stats().refusals), (0, 3));
    // Free memory of the wrong size makes way.
    drop(lease(&lab, &mut pool, &mut exposed, 2 * EXTENT).unwrap());
    close(&lab, &mut pool, exposed);
    let mut exposed = Exposed::new();
    let leases: Vec<Lease> = (0..3).map(|_| lease(&lab, &mut pool, &mut exposed, EXTENT).unwrap()).collect();
    assert_eq!((pool.stats().in_use_bytes, pool.stats().free_bytes), (3 * EXTENT, 0));
    drop(leases);
    close(&lab, &mut pool, exposed);
    pool.shrink();
    assert_eq!((pool.stats().total_bytes(), pool.stats().plain_bytes), (0, 0));
}

#[test]
fn a_registration_that_fails_costs_nothing_but_the_lease() {
    let mut lab = lab(Plan::default());
    let mut pool = pool(EXTENT);
    let mut exposed = Exposed::new();
    lab.fabric.fail_registration(0, 0);
    let refused = lease(&lab, &mut pool, &mut exposed, 1).unwrap_err();
    assert!(matches!(refused, MemoryError::Register(RegisterError::System(_))), "{refused}");
    assert_eq!((exposed.bytes(), pool.stats().free_bytes), (0, EXTENT));
    assert!(lease(&lab, &mut pool, &mut exposed, 1).is_ok());
    close(&lab, &mut pool, exposed);
}

#[test]
fn what_is_dropped_rather_than_closed_is_found_by_the_next_sweep() {
    let lab = lab(Plan::default());
    let mut pool = pool(EXTENT);
    let mut exposed = Exposed::new();
    let mr: MrId = {
        let lease = lease(&lab, &mut pool, &mut exposed, 1).unwrap();
        exposed.place(&lease).unwrap().mr
    };
    drop(exposed);
    let stats = pool.stats();
    assert_eq!((stats.in_use_bytes, stats.retiring_bytes, stats.extents), (0, EXTENT, 0));
    assert!(lab.on(0, |d| d.context().export(mr)).is_ok(), "nobody has ended it yet");
    lab.on(0, |d| pool.sweep(d.context()));
    assert_eq!(lab.on(0, |d| d.context().export(mr)), Err(KeyError::Unknown(mr)));
    assert_eq!(pool.stats().free_bytes, EXTENT);
}

#[test]
fn a_session_takes_all_its_memory_from_one_pool() {
    let lab = lab(Plan::default());
    let (mut one, mut other) = (pool(EXTENT), pool(EXTENT));
    let mut exposed = Exposed::new();
    drop(lease(&lab, &mut one, &mut exposed, 1).unwrap());
    assert_eq!(lease(&lab, &mut other, &mut exposed, 1).unwrap_err(), MemoryError::OtherPool);
    close(&lab, &mut other, exposed);
    assert_eq!(other.stats().total_bytes(), 0);
    lab.on(0, |d| one.sweep(d.context()));
    assert_eq!(one.stats().free_bytes, EXTENT, "it went home all the same");
}

#[test]
fn odd_sizes_are_made_powers_of_two() {
    let config = ExtentPoolConfig { extent_bytes: 5000, granule_bytes: 0, ..Default::default() };
    let pool = ExtentPool::new(config);
    assert_eq!((pool.config().extent_bytes, pool.config().granule_bytes), (8192, 8));
    let config = ExtentPoolConfig { extent_bytes: u64::MAX, granule_bytes: u64::MAX, ..config };
    let mut pool = ExtentPool::new(ExtentPoolConfig { bytes_max: u64::MAX, ..config });
    assert_eq!(pool.config().extent_bytes, 1 << 40);
    let mut port = Port::new(Fabric::new(Profile::CX6).add_node(), PortConfig::default());
    let refused = Exposed::new().lease(&mut pool, &mut port, u64::MAX).unwrap_err();
    assert!(matches!(refused, MemoryError::TooLong { limit_bytes: 0x100_0000_0000, .. }), "{refused}");
}

#[test]
fn pages_are_as_asked_for_and_decide_nothing_that_a_peer_or_a_trace_sees() {
    let run = |pages| {
        let mut port = Port::new(Fabric::new(Profile::CX6).add_node(), PortConfig::default());
        let mut pool = ExtentPool::new(ExtentPoolConfig { pages, ..ExtentPoolConfig::default() });
        let mut exposed = Exposed::new();
        let lens = [10, 5 << 20, 2 << 20, 4096];
        let leases = lens.map(|len| exposed.lease(&mut pool, &mut port, len).unwrap());
        let places = leases.each_ref().map(|lease| exposed.place(lease));
        let keys: Vec<RemoteKey> = exposed.extents().map(|(_, key)| key.clone()).collect();
        let stats = pool.stats();
        let got = *leases[0].region().pages();
        drop(leases);
        exposed.close(&mut pool, &mut port);
        (places, keys, stats, got)
    };
    let (plain, huge) = (run(Pages::Plain), run(Pages::Huge));
    assert_eq!((&plain.0, &plain.1), (&huge.0, &huge.1), "the same places under the same keys");
    assert_eq!((plain.2.plain_bytes, plain.2.total_bytes()), (12 << 20, 12 << 20));
    assert_eq!((plain.3.asked, huge.3.asked), (Pages::Plain, Pages::Huge));
    // What there is differs from machine to machine; that it adds up does not.
    let stats = huge.2;
    assert_eq!(stats.huge_bytes + stats.transparent_bytes + stats.plain_bytes, 12 << 20);
    assert_eq!(huge.3.is_short(), huge.3.no_huge.is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Lease { session: usize, len: u64 },
    Drop { which: usize, hold: bool },
    Release { which: usize },
    Trim { session: usize },
    Close { session: usize, drop: bool },
    Sweep,
    Shrink,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4usize, 1..5 * EXTENT).prop_map(|(session, len)| Step::Lease { session, len }),
        4 => (0..4usize, 1..4 * KIB).prop_map(|(session, len)| Step::Lease { session, len }),
        6 => (0..99usize, any::<bool>()).prop_map(|(which, hold)| Step::Drop { which, hold }),
        3 => (0..99usize).prop_map(|which| Step::Release { which }),
        1 => (0..4usize).prop_map(|session| Step::Trim { session }),
        2 => (0..4usize, any::<bool>()).prop_map(|(session, drop)| Step::Close { session, drop }),
        2 => Just(Step::Sweep),
        1 => Just(Step::Shrink),
    ];
    prop::collection::vec(step, 1..120)
}

/// A lease, and which opening of which session it is of.
struct Out {
    lease: Lease,
    session: usize,
    life: u64,
    mr: MrId,
    mark: u8,
}

proptest! {
    /// Memory is with one session at a time, clean when it comes, and its key lives exactly as long as that session or what is
    /// still out of it.
    #[test]
    fn memory_is_never_with_two_sessions_and_dead_keys_stay_dead(steps in steps()) {
        let mut fabric = Fabric::new(Profile::CX6);
        let mut port = Port::new(fabric.add_node(), PortConfig::default());
        let limit_bytes = 12 * EXTENT;
        let mut pool = pool(limit_bytes);
        let mut sessions: [Exposed; 4] = Default::default();
        let mut lives = [0u64; 4];
        let mut out: Vec<Out> = Vec::new();
        let mut holds: Vec<(Hold, usize, u64, MrId)> = Vec::new();
        let mut dead: Vec<MrId> = Vec::new();
        // Every registration ever, and whose it was.
        let mut known: Vec<(MrId, usize, u64)> = Vec::new();
        let mut mark = 0u8;
        for step in steps {
            match step {
                Step::Lease { session, len } => match sessions[session].lease(&mut pool, &mut port, len) {
                    Ok(lease) => {
                        let place = sessions[session].place(&lease).expect("of this memory");
                        prop_assert_eq!((lease.len(), lease.offset()), (len, place.offset));
                        let owner = (place.mr, session, lives[session]);
                        match known.iter().find(|(mr, ..)| *mr == place.mr) {
                            Some(known) => prop_assert_eq!(*known, owner, "a registration has one owner"),
                            None => {
                                // New to the session: nothing of anybody in all of it.
                                let region = lease.region();
                                let clean = region.cells(0, region.len() as usize).iter().all(|b| b.get() == 0);
                                prop_assert!(clean, "bytes of another session");
                                known.push(owner);
                            }
                        }
                        for other in &out {
                            if other.lease.region().same_as(lease.region()) {
                                prop_assert_eq!((other.session, other.life), (session, lives[session]));
                                let (a, b) = (lease.offset(), other.lease.offset());
                                prop_assert!(a + len <= b || b + other.lease.len() <= a, "two leases overlap");
                            }
                        }
                        mark = mark.wrapping_add(1).max(1);
                        lease.write(0, &[mark]);
                        lease.write(len - 1, &[mark]);
                        out.push(Out { lease, session, life: lives[session], mr: place.mr, mark });
                    }
                    Err(MemoryError::PoolFull { .. }) => {
                        let class = len.max(EXTENT).next_power_of_two();
                        let stats = pool.stats();
                        prop_assert!(stats.in_use_bytes + stats.retiring_bytes + class > limit_bytes);
                    }
                    Err(other) => prop_assert!(false, "{}", other),
                },
                Step::Drop { which, hold } if !out.is_empty() => {
                    let gone = out.swap_remove(which % out.len());
                    let mut edges = [[0]; 2];
                    gone.lease.read(0, &mut edges[0]);
                    gone.lease.read(gone.lease.len() - 1, &mut edges[1]);
                    prop_assert_eq!(edges, [[gone.mark]; 2], "somebody else wrote there");
                    if hold {
                        holds.push((gone.lease.hold(), gone.session, gone.life, gone.mr));
                    }
                }
                Step::Release { which } if !holds.is_empty() => {
                    holds.swap_remove(which % holds.len());
                }
                Step::Trim { session } => sessions[session].trim(&mut pool, &mut port),
                Step::Close { session, drop: dropped } => {
                    let exposed = std::mem::take(&mut sessions[session]);
                    lives[session] += 1;
                    if dropped { drop(exposed) } else { exposed.close(&mut pool, &mut port) }
                }
                Step::Sweep => pool.sweep(&mut port),
                Step::Shrink => pool.shrink(),
                Step::Drop { .. } | Step::Release { .. } => {}
            }
            let stats = pool.stats();
            prop_assert!(stats.total_bytes() <= limit_bytes && stats.total_bytes() <= stats.total_bytes_max);
            prop_assert_eq!(stats.huge_bytes + stats.transparent_bytes + stats.plain_bytes, stats.total_bytes());
            prop_assert_eq!(stats.in_use_bytes, sessions.iter().map(Exposed::bytes).sum::<u64>());
            prop_assert_eq!(stats.extents as usize, sessions.iter().map(|s| s.extents().count()).sum::<usize>());
            for (mr, session, life) in &known {
                let used = out.iter().any(|o| o.mr == *mr) || holds.iter().any(|(.., held)| held == mr);
                let alive = port.export(*mr).is_ok();
                prop_assert!(alive || !used, "memory in use lost its registration");
                prop_assert!(!(alive && dead.contains(mr)), "a key came back to life");
                if !alive && !dead.contains(mr) {
                    dead.push(*mr);
                }
                // Closed, swept and not used: nothing may keep the key alive.
                if alive && lives[*session] != *life && !used && stats.extents_retiring == 0 {
                    prop_assert!(false, "the key of a closed session lives");
                }
            }
        }
        for exposed in sessions {
            exposed.close(&mut pool, &mut port);
        }
        drop((out, holds));
        pool.sweep(&mut port);
        let stats = pool.stats();
        prop_assert_eq!((stats.in_use_bytes, stats.retiring_bytes, stats.extents), (0, 0, 0));
        prop_assert!(known.iter().all(|(mr, ..)| port.export(*mr).is_err()));
    }
}

#[test]
fn what_a_peer_writes_to_shared_memory_is_seen_by_whoever_maps_it() {
    let mut lab = lab(Plan::default());
    let shared = SharedMemory::create("extents", 4 * EXTENT, Others::Read, Pages::Plain).unwrap();
    let other = SharedMemory::attach(shared.fd().try_clone_to_owned().unwrap(), 1 << 20).unwrap();
    let mut pool = pool(4 * EXTENT);
    pool.cut_from(shared.region(4096).unwrap()).unwrap();
    let mut exposed = Exposed::new();
    let before = lease(&lab, &mut pool, &mut exposed, 5000).unwrap();
    let theirs = lease(&lab, &mut pool, &mut exposed, 100).unwrap();
    let (key, offset) = key_of(&exposed, &theirs);
    assert_eq!(peer(&mut lab, &key, offset, Some(b"in plain")), Ok(*b"in plain"));
    let at = theirs.region().origin() + theirs.offset();
    assert_eq!(other.bytes(at, 8), Some(&b"in plain"[..]));

    // One long extent takes the place of all short ones, and finds nothing of theirs.
    drop((before, theirs));
    close(&lab, &mut pool, exposed);
    let mut second = Exposed::new();
    let long = lease(&lab, &mut pool, &mut second, 4 * EXTENT).unwrap();
    assert_eq!(other.bytes(at, 8), Some(&[0; 8][..]));
    assert!(lease(&lab, &mut pool, &mut second, 1).is_err(), "all is leased");
    drop(long);
    close(&lab, &mut pool, second);
    let late = SharedMemory::create("late", 4 * EXTENT, Others::Read, Pages::Plain).unwrap();
    assert!(pool.cut_from(late.region(4096).unwrap()).is_err(), "there are extents already");
}
