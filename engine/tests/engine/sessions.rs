//! Sessions through the driver: they end at their deadline, and everything comes back.

use wavetank_contract::{Access, EpId, Instant, Lease, MrId, PdId, Region, RegionSpec, RemoteRegion, Wake};
use wavetank_engine::session::{Holding, SessionError, SessionKey, SessionSpec};
use wavetank_engine::{DriverConfig, RdmaOps, SubmitReason, TransferError, TransferSpec};

use crate::lab::{CHUNK, Lab, Plan, lab};

const MS: u64 = 1_000_000;

fn open(lab: &Lab, ep: Option<EpId>, ttl_ns: u64) -> SessionKey {
    lab.on(0, |d| d.create_session(lab.now(), SessionSpec { ep, ..SessionSpec::new(1, ttl_ns) })).unwrap()
}

fn is_open(lab: &Lab, key: SessionKey) -> bool {
    lab.on(0, |d| d.sessions().get(key).is_ok())
}

/// A second exposed region of node 0, as node 1 sees it.
fn expose(lab: &Lab) -> (Region, MrId, RemoteRegion) {
    let (region, mr, key) = lab.on(0, |d| {
        let region = d.context().allocate(&RegionSpec::new(CHUNK)).unwrap();
        let mr = d.context().register(&region, PdId::default(), Access::ALL).unwrap();
        (region, mr, d.context().export(mr).unwrap())
    });
    let ep = lab.nodes[1].ep;
    (region, mr, lab.on(1, |d| d.context().import(ep, &key)).unwrap())
}

/// What node 1 gets when it reads from there.
fn peer_reads(lab: &mut Lab, ep: EpId, from: RemoteRegion) -> Result<u64, &'static str> {
    let op = wavetank_contract::Op::Read { remote: from.at(0, 64).unwrap() };
    let spec = lab.spec(1, op, 64);
    lab.submit(1, TransferSpec { ep, ..spec });
    lab.run();
    lab.the_finished(1).result.map_err(|error| error.code())
}

#[test]
fn a_session_expires_at_its_deadline_and_the_driver_says_when() {
    let mut lab = lab(Plan::default());
    let key = open(&lab, None, 3 * MS);
    assert_eq!(lab.on(0, |d| d.wake()), Wake::At(Instant(3 * MS)));
    lab.run_until(Instant(3 * MS - 1));
    assert!(is_open(&lab, key));
    lab.run_until(Instant(3 * MS));
    assert!(!is_open(&lab, key));
    assert_eq!(lab.nodes[0].wake, Wake::Idle);
}

#[test]
fn a_touched_session_lives_longer_and_an_expired_one_cannot_be_touched() {
    let mut lab = lab(Plan::default());
    let key = open(&lab, None, MS);
    lab.run_until(Instant(MS - 1));
    let now = lab.now();
    lab.on(0, |d| d.touch_session(key, now)).unwrap();
    lab.run_until(Instant(2 * MS - 2));
    assert!(is_open(&lab, key));
    assert_eq!(lab.nodes[0].wake, Wake::At(Instant(2 * MS - 1)));
    let expired = lab.on(0, |d| d.touch_session(key, Instant(2 * MS - 1))).unwrap_err();
    assert!(matches!(expired, SessionError::Expired { .. }));
    lab.run_until(Instant(2 * MS - 1));
    assert_eq!(lab.on(0, |d| d.touch_session(key, Instant(0))), Err(SessionError::Unknown(key)));
}

#[test]
fn there_are_no_more_sessions_than_the_driver_was_told() {
    let driver = DriverConfig { sessions_max: 2, ..DriverConfig::default() };
    let lab = lab(Plan { driver, ..Plan::default() });
    let keys = [open(&lab, None, MS), open(&lab, None, MS)];
    let full = lab.on(0, |d| d.create_session(Instant(0), SessionSpec::new(1, MS)));
    assert_eq!(full, Err(SessionError::Full { limit: 2 }));
    lab.on(0, |d| d.close_session(keys[0], Instant(0))).unwrap();
    open(&lab, None, MS);
}

#[test]
fn closing_a_session_returns_everything_it_held() {
    let mut lab = lab(Plan::default());
    let (peer_ep, ep) = (lab.nodes[1].ep, lab.nodes[0].ep);
    let (_, spare) = lab.another_pair();
    let (region, mr, remote) = expose(&lab);
    let key = open(&lab, Some(ep), SessionSpec::FOREVER_NS);
    let lease: Lease = lab.nodes[0].arena.acquire(CHUNK).unwrap();
    lab.on(0, |d| d.hold(key, Holding::Lease(lease))).unwrap();
    lab.on(0, |d| d.hold(key, Holding::Registration(mr))).unwrap();
    assert_eq!(peer_reads(&mut lab, peer_ep, remote), Ok(64));
    for len in [100 * CHUNK, 10] {
        let spec = lab.read(0, 0, len);
        lab.submit(0, TransferSpec { session: Some(key), ..spec });
    }
    lab.run_for(4000);
    assert_eq!(
        lab.on(0, |d| d.sessions().holdings_len()),
        3,
        "the short transfer is over, and not held any more"
    );
    assert_eq!(lab.the_finished(0).result, Ok(10));
    assert!(lab.outstanding(0) > 0 && !lab.nodes[0].arena.is_whole());
    let now = lab.now();
    lab.on(0, |d| d.close_session(key, now)).unwrap();
    // At once, without a turn: the endpoint is gone, the key is dead, and the transfer has ended.
    assert_eq!(lab.on(0, |d| d.context().state(ep)), None);
    assert!(lab.on(0, |d| d.context().export(mr)).is_err());
    let finished = lab.the_finished(0);
    assert_eq!((finished.result, finished.finished_at), (Err(TransferError::SessionEnded), now));
    assert_eq!(lab.on(0, |d| d.sessions().holdings_len()), 0);
    assert_eq!(lab.on(0, |d| d.close_session(key, now)), Err(SessionError::Unknown(key)));
    assert_eq!(peer_reads(&mut lab, spare, remote), Err("REM_ACCESS_ERR"));
    assert_eq!(region.word(0).get(), wavetank_mock::SCRIBBLE);
    lab.assert_quiet();
}

#[test]
fn a_session_that_expires_with_works_in_flight_and_an_endpoint_is_done_in_that_turn() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(0, 1).loss_one_in = 1;
    let key = open(&lab, Some(lab.nodes[0].ep), MS);
    let spec = lab.read(0, 0, 100 * CHUNK);
    lab.submit(0, TransferSpec { session: Some(key), ..spec });
    // Not of the session, but on its endpoint: one the device has, and one it does not have yet.
    for tag in [1, 2] {
        let spec = lab.read(0, 0, 9);
        lab.submit(0, TransferSpec { tag, ..spec });
        if tag == 1 {
            lab.run_until(Instant(MS - 1));
        }
    }
    assert!(lab.finished(0).is_empty());
    lab.fabric.advance_to(Instant(MS));
    assert_eq!(lab.on(0, |d| d.turn(Instant(MS))), Wake::Idle, "one turn is enough");
    let ends: Vec<_> =
        lab.finished(0).iter().map(|end| (end.tag, end.result.clone().unwrap_err().code())).collect();
    assert_eq!(ends, [(0, "SESSION_ENDED"), (1, "WR_FLUSH_ERR"), (2, "REFUSED")]);
    lab.assert_quiet();
}

#[test]
fn memory_of_a_session_comes_back_only_when_the_device_lets_go() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(0, 1).loss_one_in = 1;
    // The session has no endpoint of its own, so nothing is flushed when it ends.
    let key = open(&lab, None, MS);
    let spec = lab.read(0, 0, 10 * CHUNK);
    let mr = spec.mr;
    lab.submit(0, TransferSpec { session: Some(key), ..spec });
    lab.on(0, |d| d.hold(key, Holding::Registration(mr))).unwrap();
    lab.run_until(Instant(MS));
    let finished = lab.the_finished(0);
    assert_eq!((finished.result, finished.finished_at), (Err(TransferError::SessionEnded), Instant(MS)));
    assert!(finished.lease.is_none());
    assert!(!lab.nodes[0].arena.is_whole());
    assert_eq!(lab.outstanding(0), 4);
    lab.run();
    lab.assert_quiet();
    // The registration under the lease went last.
    let gone = lab.on(0, |d| d.context().deregister(mr));
    assert_eq!(gone, Err(wavetank_contract::error::DeregisterError::Unknown(mr)));
}

#[test]
fn a_registration_under_somebodys_lease_goes_when_the_lease_does() {
    let mut lab = lab(Plan::default());
    let (region, mr, _) = expose(&lab);
    let lease = region.lease(0, 8).unwrap();
    let key = open(&lab, None, MS);
    lab.on(0, |d| d.hold(key, Holding::Registration(mr))).unwrap();
    lab.run_until(Instant(MS));
    assert!(lab.on(0, |d| d.context().export(mr)).is_ok(), "somebody still uses the region");
    drop(lease);
    lab.turn(0);
    assert!(lab.on(0, |d| d.context().export(mr)).is_err());
}

#[test]
fn a_registration_that_its_owner_ended_first_is_not_tried_for_ever() {
    let lab = lab(Plan::default());
    let (_, mr, _) = expose(&lab);
    let key = open(&lab, None, MS);
    lab.on(0, |d| d.hold(key, Holding::Registration(mr))).unwrap();
    lab.on(0, |d| d.context().deregister(mr)).unwrap();
    lab.on(0, |d| d.close_session(key, Instant(0))).unwrap();
    assert!(lab.on(0, |d| format!("{d:?}")).contains("retiring: []"));
}

#[test]
fn a_session_whose_endpoint_never_carried_a_transfer_can_end() {
    let mut lab = lab(Plan::default());
    let (used, _) = lab.another_pair();
    let keys = [used, EpId(u32::MAX)].map(|ep| open(&lab, Some(ep), MS));
    lab.on(0, |d| d.close_session(keys[0], Instant(0))).unwrap();
    lab.run_until(Instant(MS));
    assert!(!is_open(&lab, keys[1]));
    lab.assert_quiet();
}

#[test]
fn sessions_that_expire_together_all_end_in_one_turn() {
    let mut lab = lab(Plan::default());
    let leases: Vec<_> = (0..50).map(|_| lab.nodes[0].arena.acquire(10).unwrap()).collect();
    for lease in leases {
        let key = open(&lab, None, MS);
        lab.on(0, |d| d.hold(key, Holding::Lease(lease))).unwrap();
    }
    lab.on(0, |d| d.turn(Instant(MS)));
    assert!(lab.on(0, |d| d.sessions().is_empty()));
    lab.assert_quiet();
}

#[test]
fn nothing_begins_in_a_session_that_has_ended() {
    let mut lab = lab(Plan::default());
    let key = open(&lab, None, MS);
    lab.run_until(Instant(MS));
    let spec = lab.read(0, 0, 1);
    let error =
        lab.on(0, |d| d.submit(Instant(MS), TransferSpec { session: Some(key), ..spec })).unwrap_err();
    assert_eq!(error.reason, SubmitReason::Session(SessionError::Unknown(key)));
    let lease = lab.nodes[0].arena.acquire(10).unwrap();
    assert_eq!(lab.on(0, |d| d.hold(key, Holding::Lease(lease))), Err(SessionError::Unknown(key)));
    drop(error);
    lab.assert_quiet();
}
