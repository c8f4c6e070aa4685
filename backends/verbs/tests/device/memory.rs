//! Registrations and keys.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use wavetank_contract::error::{DeregisterError, KeyError, RegisterError};
use wavetank_contract::memlock;
use wavetank_contract::{Access, Backend, MrId, Op, Pages, RegionSpec, RemoteKey, Status};

use crate::lab::{Pair, REGION, Side, devices, pd};

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn rights_that_contradict_each_other_and_keys_that_are_none_are_refused() {
    let Some((a, _)) = devices() else { return };
    let mut side = Side::open(&a);
    for access in
        [Access { local_write: false, ..Access::ALL }, Access { remote_atomic: true, ..Access::REMOTE_READ }]
    {
        let answer = side.dev.register(&side.region, pd(0), access);
        assert_eq!(answer, Err(RegisterError::RemoteWriteNeedsLocalWrite));
    }
    let local = side.dev.register(&side.region, pd(0), Access::LOCAL).expect("room");
    assert_eq!(side.dev.export(local), Err(KeyError::LocalOnly(local)));
    assert_eq!(side.dev.export(MrId(12345)), Err(KeyError::Unknown(MrId(12345))));
    let junk = RemoteKey::from_bytes(&[7; 24]).expect("short");
    assert!(matches!(side.dev.import(side.ep, &junk), Err(KeyError::Malformed { len_bytes: 24, .. })));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_deregistered_region_is_out_of_reach_and_its_name_is_never_used_again() {
    let Some(mut p) = Pair::open() else { return };
    let lease = p.b.region.lease(0, 100).expect("free");
    let mr = p.b.mr;
    assert_eq!(p.b.dev.deregister(mr), Err(DeregisterError::LeasesLive { mr, leases: 1 }));
    drop(lease);
    assert_eq!(p.b.dev.deregister(mr), Ok(()));
    assert_eq!(p.b.dev.deregister(mr), Err(DeregisterError::Unknown(mr)));
    p.b.fill(0, 64, 1);
    let (piece, remote) = (p.a.piece(0, 64), p.remote(0));
    let id = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    let status = p.finish(id).status;
    // An iWARP caller learns only that the connection is over.
    assert!(matches!(status, Status::RemAccessErr | Status::WrFlushErr), "{status}");
    assert!(p.b.holds(0, 64, 1), "nothing was written");
    let small = p.b.dev.allocate(&RegionSpec::new(4096)).expect("memory");
    for _ in 0..5000 {
        let again = p.b.dev.register(&small, pd(0), Access::LOCAL).expect("room");
        assert_ne!(again, mr);
        p.b.dev.deregister(again).expect("registered");
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_region_is_registered_more_than_once_with_rights_of_its_own_each_time() {
    let Some(mut p) = Pair::open() else { return };
    let readable = p.b.dev.register(&p.b.region, pd(0), Access::REMOTE_READ).expect("room");
    let key = p.b.dev.export(readable).expect("remote");
    let twin = p.a.dev.import(p.a.ep, &key).expect("ours");
    p.b.dev.deregister(p.b.mr).expect("registered");
    p.b.fill(0, 100, 2);
    let take = p.a.piece(0, 100);
    let id = p.a.post(Op::Read { remote: twin.at(0, 100).expect("inside") }, &[take]);
    assert_eq!(p.finish(id).status, Status::Success);
    assert!(p.a.holds(0, 100, 2));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn five_hundred_regions_are_registered_at_a_time() {
    let Some((a, _)) = devices() else { return };
    let mut side = Side::open(&a);
    let region = side.dev.allocate(&RegionSpec::new(8192)).expect("memory");
    let mut names: Vec<_> =
        (0..500).map(|_| side.dev.register(&region, pd(0), Access::ALL).expect("room")).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 500);
    for mr in names {
        side.dev.deregister(mr).expect("registered");
    }
}

/// Lets this thread count as one that the limit of locked memory holds for, and gives back what it was when it is dropped.
struct Limited {
    sets: CapabilitySets,
    limit: Rlimit,
}

impl Limited {
    fn to(bytes: u64) -> Limited {
        let was =
            Limited { sets: capabilities(None).expect("capabilities"), limit: getrlimit(Resource::Memlock) };
        let effective = was.sets.effective - CapabilitySet::IPC_LOCK;
        set_capabilities(None, CapabilitySets { effective, ..was.sets }).expect("fewer are always allowed");
        setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: was.limit.maximum })
            .expect("less");
        was
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = set_capabilities(None, self.sets);
        let _ = setrlimit(Resource::Memlock, self.limit);
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn memory_past_the_limit_is_refused_before_the_device_is_asked_whoever_pinned_the_rest() {
    let Some((a, b)) = devices() else { return };
    let limit_bytes = 8 << 20;
    // The other device's registrations are made while nothing limits them, and count all the same.
    let mut other = Side::open(&b);
    let big = other.dev.allocate(&RegionSpec::new(4 << 20)).expect("memory");
    let theirs = other.dev.register(&big, pd(0), Access::LOCAL).expect("room");
    let limited = Limited::to(limit_bytes);
    let mut side = Side::open(&a);
    let pinned_bytes = memlock::pinned_bytes();
    assert!(pinned_bytes >= (4 << 20) + 2 * REGION, "{pinned_bytes}: the kernel counts them");
    // What there is room for the kernel takes too: it counts as we do.
    let fits = side.dev.allocate(&RegionSpec::new(limit_bytes - pinned_bytes)).expect("memory");
    let ours = side.dev.register(&fits, pd(0), Access::LOCAL).expect("exactly the limit");
    let page = side.dev.allocate(&RegionSpec::new(1)).expect("memory");
    let refused = side.dev.register(&page, pd(0), Access::LOCAL);
    let need_bytes = limit_bytes + 4096;
    let expected =
        RegisterError::Memlock { len_bytes: 4096, pinned_bytes: limit_bytes, need_bytes, limit_bytes };
    assert_eq!(refused, Err(expected));
    other.dev.deregister(theirs).expect("registered");
    let page_mr = side.dev.register(&page, pd(0), Access::LOCAL).expect("room again");
    for mr in [ours, page_mr] {
        side.dev.deregister(mr).expect("registered");
    }
    drop(limited);
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn memory_in_large_pages_carries_data_like_any_other() {
    let Some(mut p) = Pair::open() else { return };
    // Not a whole number of large pages.
    let spec = RegionSpec { pages: Pages::Huge, ..RegionSpec::new((4 << 20) + 8192) };
    let region = p.b.dev.allocate(&spec).expect("memory");
    assert_eq!(region.pages().asked, Pages::Huge);
    let mr = p.b.dev.register(&region, pd(0), Access::ALL).expect("room");
    let key = p.b.dev.export(mr).expect("remote");
    let large = p.a.dev.import(p.a.ep, &key).expect("ours");
    p.a.fill(0, 8192, 9);
    // Across the border of two pages, and the last byte.
    for offset in [(2 << 20) - 4096, region.len() - 8192] {
        let take = p.a.piece(0, 8192);
        let id = p.a.post(Op::Write { remote: large.at(offset, 8192).expect("inside"), imm: None }, &[take]);
        assert_eq!(p.finish(id).status, Status::Success);
        let (mut sent, mut there) = ([0; 8192], [0; 8192]);
        p.a.region.read(0, &mut sent);
        region.read(offset, &mut there);
        assert!(sent == there, "at {offset} of {}", region.pages());
    }
    p.b.dev.deregister(mr).expect("registered");
}
