//! Registrations and keys.

use wavetank_contract::error::{DeregisterError, KeyError, RegisterError};
use wavetank_contract::{Access, Backend, MrId, Op, RegionSpec, RemoteKey, Status};

use crate::lab::{Pair, Side, devices, pd};

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
