//! What sessions hold, and what is left when everything was to be over: nothing, unless somebody keeps it.

use wavetank_contract::{Access, Hold, Instant, MrId, PdId, RegionSpec, Wake};
use wavetank_engine::memory::{Exposed, ExtentPool, ExtentPoolConfig};
use wavetank_engine::session::{Holding, HoldingKind, SessionError, SessionLedger, SessionSpec};
use wavetank_engine::{Leaks, RdmaOps, TransferSpec};

use crate::lab::{CHUNK, KIB, Lab, Plan, lab, lying_lab};

const MS: u64 = 1_000_000;

/// A registration of node 0 that a session holds, and a hold on its memory.
fn registered<C: RdmaOps>(lab: &Lab<C>) -> (MrId, Hold) {
    lab.on(0, |d| {
        let region = d.context().allocate(&RegionSpec::new(CHUNK)).unwrap();
        let mr = d.context().register(&region, PdId::default(), Access::ALL).unwrap();
        (mr, region.lease(0, 8).unwrap().hold())
    })
}

fn pool() -> ExtentPool {
    ExtentPool::new(ExtentPoolConfig { extent_bytes: 16 * KIB, ..ExtentPoolConfig::default() })
}

/// A session with one of everything. Closes it all with what `leak` keeps still kept, and answers what was left.
fn close_all_but(leak: bool) -> (Lab, Leaks, Hold) {
    let mut lab = lab(Plan::default());
    let mut pool = pool();
    let (mr, hold) = registered(&lab);
    let spec = SessionSpec { ep: Some(lab.nodes[0].ep), ..SessionSpec::new(1, SessionSpec::FOREVER_NS) };
    let key = lab.on(0, |d| d.create_session(Instant(0), spec)).unwrap();
    let ledger = |lab: &Lab| lab.on(0, |d| d.sessions().ledger(key));
    assert_eq!(ledger(&lab), Ok(SessionLedger { endpoints: 1, ..SessionLedger::default() }));

    let lease = lab.nodes[0].arena.acquire(100).unwrap();
    lab.on(0, |d| d.hold(key, Holding::Lease(lease))).unwrap();
    lab.on(0, |d| d.hold(key, Holding::Registration(mr))).unwrap();
    let exposed = lab.on(0, |d| d.hold(key, Holding::Exposed(Box::new(Exposed::new())))).unwrap();
    let theirs = lab.on(0, |d| {
        let (exposed, context) = d.exposed(key, exposed).unwrap();
        exposed.lease(&mut pool, context, 10).unwrap()
    });
    lab.on(0, |d| d.hold(key, Holding::Lease(theirs))).unwrap();
    let spec = lab.read(0, 0, 100 * CHUNK);
    lab.submit(0, TransferSpec { session: Some(key), ..spec });
    // Of nobody's session, on the same endpoint.
    let spec = lab.read(0, 0, CHUNK);
    lab.submit(0, spec);
    lab.run_for(2000);
    assert!(lab.outstanding(0) > 0);
    let full = SessionLedger {
        endpoints: 1,
        leases: 2,
        lease_bytes: 110,
        registrations: 1,
        transfers: 1,
        extents: 1,
        extent_bytes: 16 * KIB,
        extent_leases: 1,
    };
    assert_eq!(ledger(&lab), Ok(full));
    assert_eq!(lab.on(0, |d| d.ledgers().collect::<Vec<_>>()), [(key, full)]);

    let hold = if leak {
        hold
    } else {
        drop(hold);
        lab.nodes[0].exposed.lease(0, 8).unwrap().hold()
    };
    let now = lab.now();
    let leaks = lab.on(0, |d| d.close_all(now));
    assert_eq!(ledger(&lab), Err(SessionError::Unknown(key)));
    let ends: Vec<_> = lab.finished(0).into_iter().map(|end| end.result.unwrap_err().code()).collect();
    assert_eq!(ends, ["SESSION_ENDED", "CANCELLED"]);
    // The keys of what it exposed are dead, and its memory comes back with a sweep.
    lab.on(0, |d| pool.sweep(d.context()));
    assert_eq!((pool.stats().free_bytes, pool.stats().retiring_bytes), (16 * KIB, 0));
    (lab, leaks, hold)
}

#[test]
fn everything_that_a_session_holds_is_in_its_ledger_and_nothing_is_left_when_all_is_closed() {
    let (mut lab, leaks, hold) = close_all_but(false);
    assert!(leaks.is_none(), "{leaks}");
    drop(hold);
    lab.assert_quiet();
}

#[test]
fn what_somebody_keeps_is_told_as_a_leak_until_it_is_back() {
    let (mut lab, leaks, hold) = close_all_but(true);
    assert_eq!(leaks, Leaks { registrations: 1, ..Leaks::default() });
    assert_eq!(
        leaks.to_string(),
        "left are 0 sessions holding 0 things, 0 transfers, 0 works and 1 registrations"
    );
    drop(hold);
    lab.turn(0);
    assert!(lab.on(0, |d| d.leaks()).is_none());
    lab.assert_quiet();
}

#[test]
fn a_key_of_an_ended_session_is_dead_before_the_pool_of_its_memory_is_asked() {
    let lab = lab(Plan::default());
    let mut pool = pool();
    let key = lab.on(0, |d| d.create_session(Instant(0), SessionSpec::new(1, MS))).unwrap();
    let id = lab.on(0, |d| d.hold(key, Holding::Exposed(Box::new(Exposed::new())))).unwrap();
    let lease = lab.on(0, |d| {
        let (exposed, context) = d.exposed(key, id).unwrap();
        exposed.lease(&mut pool, context, 10).unwrap()
    });
    let mr = lab.on(0, |d| d.exposed(key, id).unwrap().0.place(&lease).unwrap().mr);
    drop(lease);
    lab.on(0, |d| d.close_session(key, Instant(0))).unwrap();
    assert!(lab.on(0, |d| d.context().export(mr)).is_err());
    assert_eq!((pool.stats().in_use_bytes, pool.stats().extents_retiring), (0, 1), "aside until it is swept");
}

#[test]
fn only_what_a_session_exposes_can_be_leased_of_as_exposed() {
    let mut lab = lab(Plan::default());
    let key = lab.on(0, |d| d.create_session(Instant(0), SessionSpec::new(1, MS))).unwrap();
    let lease = lab.nodes[0].arena.acquire(100).unwrap();
    let id = lab.on(0, |d| d.hold(key, Holding::Lease(lease))).unwrap();
    let wrong = lab.on(0, |d| d.exposed(key, id).map(|_| ()));
    let (is, asked) = (HoldingKind::Lease, HoldingKind::Exposed);
    assert_eq!(wrong, Err(SessionError::WrongKind { key, id, is, asked }));
    lab.on(0, |d| d.close_session(key, Instant(0))).unwrap();
    assert_eq!(lab.on(0, |d| d.exposed(key, id).map(|_| ())), Err(SessionError::Unknown(key)));
}

/// It was forgotten, and its key lived for ever.
#[test]
fn a_registration_that_the_device_is_too_busy_to_end_is_tried_again() {
    let mut lab = lying_lab(Plan::default());
    let (mr, hold) = registered(&lab);
    drop(hold);
    let key = lab.on(0, |d| d.create_session(Instant(0), SessionSpec::new(1, MS))).unwrap();
    lab.on(0, |d| d.hold(key, Holding::Registration(mr))).unwrap();
    lab.device(0, |device| device.busy = 3);
    let left = lab.on(0, |d| d.close_all(Instant(0)));
    assert_eq!(left, Leaks { registrations: 1, ..Leaks::default() });
    // Not with every turn: asking may cost the device something.
    assert_eq!(lab.device(0, |device| device.busy), 2);
    for (busy, next_ms) in [(2, 1), (1, 3), (0, 7)] {
        lab.turn(0);
        assert_eq!(lab.device(0, |device| device.busy), busy);
        assert_eq!(lab.nodes[0].wake, Wake::At(Instant(next_ms * MS)), "the driver says when");
        lab.run_until(Instant(next_ms * MS));
    }
    assert!(lab.on(0, |d| d.leaks()).is_none());
    assert!(lab.on(0, |d| d.context().export(mr)).is_err());
    lab.assert_quiet();
}
