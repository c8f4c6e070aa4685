//! Registrations and the keys of them: what they open, and for how long.

use wavetank_contract::error::{AllocError, DeregisterError, KeyError, RegisterError};
use wavetank_contract::region::REGION_BYTES_MAX;
use wavetank_contract::{Access, Backend, PdId, RegionSpec, RemoteKey, Status};

use super::bench::{A, B, Bench, bytes};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, ensure};
use super::work::write;
use crate::lab::Lab;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Memory, a_dead_key_stays_dead_whatever_is_registered_after_it),
        raw!(Memory, a_region_registered_twice_outlives_one_registration),
        raw!(Memory, a_key_says_where_and_how_long_its_region_is),
        raw!(Memory, a_live_lease_keeps_its_registration),
        raw!(Memory, a_registration_ends_once),
        raw!(Memory, memory_for_local_use_has_no_key),
        raw!(Memory, bytes_that_are_no_key_are_refused),
        raw!(Memory, remote_writing_needs_local_writing),
        raw!(Memory, memory_of_no_bytes_or_too_many_is_refused),
    ]
}

fn a_dead_key_stays_dead_whatever_is_registered_after_it<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let gone = b.extra(B, 4096, 0, Access::ALL)?;
    let to = b.to(x, &gone)?;
    b.device(B).deregister(gone.mr).or_fail("b: deregistering")?;
    // Whatever takes its place, again and again: a device that rolls eight bits has come half way round.
    for _ in 0..128 {
        let mr = b.device(B).register(&gone.mem, PdId(0), Access::ALL).or_fail("b: a registration")?;
        b.device(B).deregister(mr).or_fail("b: deregistering")?;
    }
    b.device(B).register(&gone.mem, PdId(0), Access::ALL).or_fail("b: a registration")?;
    let left = bytes(&gone.mem, 0, 4096);
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], to)])?;
    b.sends(x, &[(1, Status::RemAccessErr)])?;
    ensure!(bytes(&gone.mem, 0, 4096) == left, "a dead key opened the memory again");
    b.check()
}

fn a_region_registered_twice_outlives_one_registration<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let one = b.extra(B, 4096, 0, Access::ALL)?;
    let to_one = b.to(x, &one)?;
    let again = b.device(B).register(&one.mem, PdId(0), Access::ALL).or_fail("b: a second registration")?;
    ensure!(again != one.mr, "two registrations have one name");
    b.device(B).deregister(again).or_fail("b: deregistering")?;
    ensure!(one.is_untouched(), "memory that is still registered changed when another registration ended");
    b.go(x, &[write(1, &[b.piece(A, 100, 64)], to_one)])?;
    b.good(x, [1])?;
    ensure!(bytes(&one.mem, 0, 64) == b.get(A, 100, 64), "the remaining registration opens something else");
    b.check()
}

fn a_key_says_where_and_how_long_its_region_is<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let region = b.extra(B, 8192, 0, Access::ALL)?;
    let remote = b.import(x, &region)?;
    ensure!(remote.len == region.mem.len(), "a key of 8192 bytes says {}", remote.len);
    let last = remote.at(8192 - 8, 8).or_fail("the address of a region's last bytes")?;
    b.go(x, &[write(1, &[b.piece(A, 0, 8)], last)])?;
    b.good(x, [1])?;
    ensure!(bytes(&region.mem, 8192 - 8, 8) == b.get(A, 0, 8), "a key leads elsewhere");
    b.check()
}

fn a_live_lease_keeps_its_registration<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let region = b.extra(B, 4096, 0, Access::ALL)?;
    let to = b.to(x, &region)?;
    let lease = region.mem.lease(0, 100).or_fail("a lease")?;
    let refused = b.device(B).deregister(region.mr);
    let expected = Err(DeregisterError::LeasesLive { mr: region.mr, leases: 1 });
    ensure!(refused == expected, "ending a registration in use: {refused:?}; expected {expected:?}");
    b.go(x, &[write(1, &[b.piece(A, 0, 100)], to)])?;
    b.good(x, [1])?;
    ensure!(bytes(&region.mem, 0, 100) == b.get(A, 0, 100), "a registration that was kept does not work");
    drop(lease);
    b.device(B).deregister(region.mr).or_fail("ending a registration whose lease is back")?;
    b.check()
}

fn a_registration_ends_once<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let region = b.extra(A, 4096, 0, Access::ALL)?;
    let device = b.device(A);
    device.deregister(region.mr).or_fail("ending a registration")?;
    let again = device.deregister(region.mr);
    let expected = Err(DeregisterError::Unknown(region.mr));
    ensure!(again == expected, "ending a registration twice: {again:?}; expected {expected:?}");
    let key = device.export(region.mr);
    ensure!(key == Err(KeyError::Unknown(region.mr)), "an ended registration exported: {key:?}");
    b.check()
}

fn memory_for_local_use_has_no_key<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let local = b.extra(A, 4096, 0, Access::LOCAL)?;
    let key = b.device(A).export(local.mr);
    let expected = Err(KeyError::LocalOnly(local.mr));
    ensure!(key == expected, "exporting local memory: {key:?}; expected {expected:?}");
    b.check()
}

fn bytes_that_are_no_key_are_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let (_, mr) = b.main(B);
    let own = b.device(B).export(mr).or_fail("exporting a key")?.as_bytes().to_vec();
    let longer = [&own[..], &[0]].concat();
    let garbled: Vec<u8> = own.iter().map(|byte| !byte).collect();
    for (what, wrong) in [
        ("no bytes", &[][..]),
        ("one byte", &own[..1]),
        ("all but the last byte of a key", &own[..own.len() - 1]),
        ("a key and a byte", &longer),
        ("the complement of a key", &garbled),
    ] {
        let key = RemoteKey::from_bytes(wrong).or_fail("a short key")?;
        let refused = b.device(A).import(x.ep, &key);
        let rightly =
            matches!(refused, Err(KeyError::Malformed { len_bytes, .. }) if len_bytes == wrong.len());
        ensure!(rightly, "importing {what}: {refused:?}; expected Malformed");
    }
    b.check()
}

fn remote_writing_needs_local_writing<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (region, _) = b.main(A);
    let rights = Access { local_write: false, remote_write: true, ..Access::REMOTE_READ };
    let refused = b.device(A).register(&region, PdId(0), rights);
    let expected = Err(RegisterError::RemoteWriteNeedsLocalWrite);
    ensure!(refused == expected, "remote writing without local: {refused:?}; expected {expected:?}");
    b.check()
}

fn memory_of_no_bytes_or_too_many_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let device = b.device(A);
    let refused = device.allocate(&RegionSpec::new(0)).map(drop);
    ensure!(refused == Err(AllocError::Empty), "a region of 0 bytes: {refused:?}; expected Empty");
    for too_many in [REGION_BYTES_MAX + 1, u64::MAX] {
        let refused = device.allocate(&RegionSpec::new(too_many)).map(drop);
        let rightly = matches!(refused, Err(AllocError::TooLarge { .. }));
        ensure!(rightly, "a region of far too many bytes: {refused:?}; expected TooLarge");
    }
    let odd = RegionSpec { granule_bytes: 12, ..RegionSpec::new(4096) };
    let refused = device.allocate(&odd).map(drop);
    ensure!(refused == Err(AllocError::BadGranule(12)), "a granule of 12: {refused:?}");
    b.check()
}
