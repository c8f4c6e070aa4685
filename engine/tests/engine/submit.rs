//! What is refused before it begins. The lease always comes back.

use wavetank_contract::{EpId, Instant, Op, RegionSpec};
use wavetank_engine::session::{SessionError, SessionKey, SessionSpec};
use wavetank_engine::{DriverConfig, RdmaOps, SubmitReason, TransferSpec};

use crate::lab::{CHUNK, Lab, Plan, lab};

/// Submits what is to be refused, and says why it was.
#[track_caller]
fn refusal(lab: &mut Lab, spec: TransferSpec) -> SubmitReason {
    let (offset, before) = (spec.lease.offset(), lab.on(0, |d| d.transfers_len()));
    let error = lab.on(0, |d| d.submit(lab.now(), spec)).unwrap_err();
    assert_eq!(error.lease.offset(), offset, "the lease is the one that was given");
    assert_eq!(error.to_string(), error.reason.to_string());
    assert_eq!(lab.on(0, |d| d.transfers_len()), before);
    error.reason
}

#[test]
fn more_bytes_than_the_lease_has() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 100);
    let reason = refusal(&mut lab, TransferSpec { len: 101, ..spec });
    assert_eq!(reason, SubmitReason::LeaseTooShort { len: 101, lease_len: 100 });
    let spec = lab.read(0, 0, 100);
    let reason = refusal(&mut lab, TransferSpec { len: u64::MAX, ..spec });
    assert!(matches!(reason, SubmitReason::LeaseTooShort { .. }));
    lab.assert_quiet();
}

#[test]
fn a_message_longer_than_the_device_takes() {
    let mut lab = lab(Plan::default());
    let max_bytes = lab.on(0, |d| d.context().caps().message_bytes_max);
    let len = u64::from(max_bytes) + 1;
    let region = wavetank_contract::Region::allocate(&RegionSpec::new(len)).unwrap();
    let spec = lab.spec(0, Op::Send { imm: None }, 1);
    let long = |spec: TransferSpec| TransferSpec { lease: region.lease(0, len).unwrap(), len, ..spec };
    let reason = refusal(&mut lab, long(spec));
    assert!(matches!(reason, SubmitReason::MessageTooLong { len: asked, .. } if asked == len), "{reason}");
    // The same length is fine where it can be cut: this one fails only where the peer's region ends.
    let spec = lab.read(0, 0, 1);
    lab.submit(0, long(spec));
    lab.run();
    assert_eq!(lab.the_finished(0).result.unwrap_err().code(), "REM_ACCESS_ERR");
}

#[test]
fn a_remote_range_past_the_end_of_the_address_space() {
    let mut lab = lab(Plan::default());
    let mut spec = lab.read(0, 0, 100);
    let addr = u64::MAX - 50;
    spec.op = Op::Read { remote: wavetank_contract::RemoteAddr { addr, ..lab.remote(0, 0) } };
    assert_eq!(refusal(&mut lab, spec), SubmitReason::RemoteWraps { addr, len: 100 });
    lab.assert_quiet();
}

#[test]
fn an_endpoint_that_is_not_there() {
    let mut lab = lab(Plan::default());
    for ep in [EpId(1), EpId(u32::MAX)] {
        let spec = lab.read(0, 0, 100);
        let reason = refusal(&mut lab, TransferSpec { ep, ..spec });
        assert_eq!(reason, SubmitReason::UnknownEndpoint(ep));
    }
    let ep = lab.nodes[0].ep;
    lab.on(0, |d| d.context().close(ep));
    let spec = lab.read(0, 0, 100);
    assert_eq!(refusal(&mut lab, spec), SubmitReason::UnknownEndpoint(ep));
    lab.assert_quiet();
}

#[test]
fn a_deadline_that_has_passed() {
    let mut lab = lab(Plan::default());
    lab.run_until(Instant(1000));
    for deadline in [Instant(0), Instant(1000)] {
        let spec = lab.read(0, 0, 100);
        let reason = refusal(&mut lab, TransferSpec { deadline, ..spec });
        assert_eq!(reason, SubmitReason::DeadlinePassed { deadline, now: Instant(1000) });
    }
    let spec = lab.read(0, 0, 100);
    lab.submit(0, TransferSpec { deadline: Instant(1001), ..spec });
    lab.run();
    assert_eq!(lab.the_finished(0).result.unwrap_err().code(), "DEADLINE");
    lab.assert_quiet();
}

#[test]
fn more_transfers_than_may_be_under_way() {
    let driver = DriverConfig { transfers_max: 3, chunk_bytes: CHUNK as u32, ..DriverConfig::default() };
    let mut lab = lab(Plan { driver, ..Plan::default() });
    for _ in 0..3 {
        let spec = lab.read(0, 0, 100);
        lab.submit(0, spec);
    }
    let spec = lab.read(0, 0, 100);
    assert_eq!(refusal(&mut lab, spec), SubmitReason::TooMany(3));
    lab.run();
    assert_eq!(lab.finished(0).len(), 3);
    let spec = lab.read(0, 0, 100);
    lab.submit(0, spec);
    lab.run();
    assert_eq!(lab.finished(0).len(), 1);
    lab.assert_quiet();
}

#[test]
fn a_session_that_is_not_there_or_whose_time_is_up() {
    let mut lab = lab(Plan::default());
    let unknown = SessionKey::from_u64(1 << 40);
    let spec = lab.read(0, 0, 100);
    let reason = refusal(&mut lab, TransferSpec { session: Some(unknown), ..spec });
    assert_eq!(reason, SubmitReason::Session(SessionError::Unknown(unknown)));
    let key = lab.on(0, |d| d.create_session(Instant(0), SessionSpec::new(1, 500))).unwrap();
    let spec = lab.read(0, 0, 100);
    // Nobody has swept since: that does not decide who lives.
    let error =
        lab.on(0, |d| d.submit(Instant(500), TransferSpec { session: Some(key), ..spec })).unwrap_err();
    let expired = SessionError::Expired { key, deadline: Instant(500), now: Instant(500) };
    assert_eq!(error.reason, SubmitReason::Session(expired));
    drop(error);
    lab.assert_quiet();
}
