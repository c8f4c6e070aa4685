//! Transfers that fail: one end each, with the first status, and the rest is taken back.

use wavetank_contract::error::PostError;
use wavetank_contract::{
    Access, AsyncEvent, Class, CqId, EndpointSpec, MrId, Op, OpKind, QpState, RnrTimer, Status,
};
use wavetank_engine::{RdmaOps, TransferError, TransferSpec};
use wavetank_mock::{Mark, Profile};

use crate::lab::{CHUNK, Plan, REGION_BYTES, lab, lying_lab};

fn failed(status: Status, first_cause: Option<Status>) -> TransferError {
    let vendor = 0x100 + status as u32;
    TransferError::Failed { status, vendor, ep: wavetank_contract::EpId(0), kind: OpKind::Read, first_cause }
}

#[test]
fn a_range_past_the_peers_region_ends_the_transfer_once_with_the_first_status() {
    for (window, send_depth) in [(1, 128), (4, 128), (8, 2), (100, 128)] {
        let mut plan =
            Plan { endpoint: EndpointSpec { send_depth, ..EndpointSpec::new(CqId(0)) }, ..Plan::default() };
        plan.driver.window = window;
        let mut lab = lying_lab(plan);
        let spec = lab.read(0, REGION_BYTES - CHUNK, 50 * CHUNK);
        lab.submit(0, spec);
        lab.run();
        let finished = lab.the_finished(0);
        assert_eq!(finished.result, Err(failed(Status::RemAccessErr, None)), "window {window}");
        assert!(finished.lease.is_some(), "the device is done with it");
        drop(finished);
        let posted = lab.device(0, |d| d.posted.len());
        // The first chunk made room for one more. What had no room when the second failed was taken back.
        let room = window.min(send_depth) as usize;
        assert!(posted <= room + 1, "{posted} were posted with room for {room}");
        assert_eq!(lab.events(1), [AsyncEvent::QpAccessErr(lab.nodes[1].ep)]);
        lab.assert_quiet();
    }
}

#[test]
fn what_is_flushed_names_the_first_cause_and_other_endpoints_go_on() {
    let mut lab = lab(Plan::default());
    let (elsewhere, _) = lab.another_pair();
    let specs = [
        lab.read(0, REGION_BYTES - 1, 2),
        lab.read(0, 0, 10),
        lab.read(0, 0, 20 * CHUNK),
        lab.read(0, 5, 20 * CHUNK),
    ];
    for (tag, spec) in (0..).zip(specs) {
        let ep = if tag == 3 { elsewhere } else { spec.ep };
        lab.submit(0, TransferSpec { tag, ep, ..spec });
    }
    lab.run();
    let mut ends = lab.finished(0);
    ends.sort_by_key(|end| end.tag);
    assert_eq!(ends.len(), 4);
    assert_eq!(ends[0].result, Err(failed(Status::RemAccessErr, None)));
    for end in &ends[1..3] {
        let flushed = failed(Status::WrFlushErr, Some(Status::RemAccessErr));
        assert_eq!((&end.result, flushed.class()), (&Err(flushed.clone()), Class::Flushed));
        let text = flushed.to_string();
        assert!(text.contains("WR_FLUSH_ERR") && text.contains("first cause REM_ACCESS_ERR"), "{text}");
        assert!(text.contains("the region was retired"), "the advice is that of the cause: {text}");
    }
    lab.assert_brought(0, &ends[3], 5, 20 * CHUNK);
    drop(ends);
    // Later ones are flushed too, for the same reason.
    let spec = lab.read(0, 0, 10);
    lab.submit(0, spec);
    lab.run();
    assert_eq!(lab.the_finished(0).result, Err(failed(Status::WrFlushErr, Some(Status::RemAccessErr))));
    lab.assert_quiet();
}

#[test]
fn a_reconnected_endpoint_does_not_blame_its_former_life() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, REGION_BYTES - 1, 2);
    lab.submit(0, spec);
    lab.run();
    assert_eq!(lab.the_finished(0).result, Err(failed(Status::RemAccessErr, None)));
    let eps = [lab.nodes[0].ep, lab.nodes[1].ep];
    (0..2).for_each(|node| lab.on(node, |d| d.context().modify(eps[node], QpState::Reset)).unwrap());
    lab.connect(eps[0], eps[1]);
    let spec = lab.read(0, 3, 300);
    lab.submit(0, spec);
    lab.run();
    let finished = lab.the_finished(0);
    lab.assert_brought(0, &finished, 3, 300);
    drop(finished);
    let spec = lab.read(0, 0, 300);
    lab.submit(0, spec);
    lab.turn(0);
    lab.on(0, |d| d.context().close(eps[0]));
    lab.run();
    let Err(TransferError::Failed { status, first_cause, .. }) = lab.the_finished(0).result else { panic!() };
    assert_eq!((status, first_cause), (Status::WrFlushErr, None));
    lab.assert_quiet();
}

#[test]
fn a_silent_peer_is_a_peer_that_is_gone() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(1, 0).loss_one_in = 1;
    for _ in 0..2 {
        let spec = lab.read(0, 0, 20 * CHUNK);
        lab.submit(0, spec);
    }
    lab.run();
    let ends = lab.finished(0);
    let error = ends[0].result.clone().unwrap_err();
    assert_eq!((&error, error.class()), (&failed(Status::RetryExcErr, None), Class::PeerGone));
    assert_eq!(ends[1].result, Err(failed(Status::WrFlushErr, Some(Status::RetryExcErr))));
    assert!(ends.iter().all(|end| end.lease.is_some()));
    drop(ends);
    lab.assert_quiet();
}

#[test]
fn a_peer_without_a_receive_is_worth_another_try() {
    let endpoint = EndpointSpec { min_rnr_timer: RnrTimer::new(1).unwrap(), ..EndpointSpec::new(CqId(0)) };
    let mut lab = lab(Plan { endpoint, ..Plan::default() });
    let spec = lab.spec(0, Op::Send { imm: None }, 10);
    lab.submit(0, spec);
    lab.run();
    let error = lab.the_finished(0).result.unwrap_err();
    assert_eq!((error.code(), error.class()), ("RNR_RETRY_EXC_ERR", Class::Retry));
    lab.assert_quiet();
}

#[test]
fn a_registration_that_does_not_cover_the_lease_is_our_own_fault() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 3 * CHUNK);
    lab.submit(0, TransferSpec { mr: MrId(0x00ff_ff00), ..spec });
    lab.run();
    let error = lab.the_finished(0).result.unwrap_err();
    assert_eq!((error.code(), error.class()), ("LOC_PROT_ERR", Class::LocalBug));
    lab.assert_quiet();
}

#[test]
fn an_order_the_device_refuses_fails_its_transfer_and_no_other() {
    let mut lab = lab(Plan::default());
    let remote = lab.remote(0, 0);
    let specs =
        [lab.read(0, 0, 9), lab.spec(0, Op::FetchAdd { remote, add: 1 }, 16), lab.read(0, 7, 9 * CHUNK)];
    for (tag, spec) in (0..).zip(specs) {
        lab.submit(0, TransferSpec { tag, ..spec });
    }
    lab.run();
    let ends = lab.finished(0);
    assert_eq!(ends.iter().map(|end| end.tag).collect::<Vec<_>>(), [1, 0, 2]);
    let error = ends[0].result.clone().unwrap_err();
    assert_eq!((error.code(), error.class()), ("REFUSED", Class::LocalBug));
    assert!(error.to_string().contains("fetch_add") && error.to_string().contains("8 bytes"), "{error}");
    lab.assert_brought(0, &ends[1], 0, 9);
    lab.assert_brought(0, &ends[2], 7, 9 * CHUNK);
    drop(ends);
    lab.assert_quiet();
}

#[test]
fn a_chunk_refused_in_the_middle_waits_for_the_chunks_before_it() {
    let mut lab = lying_lab(Plan::default());
    lab.device(0, |d| d.refuse_after = Some(2));
    let spec = lab.write(0, 0, 10 * CHUNK, None);
    lab.submit(0, spec);
    lab.turn(0);
    assert!(lab.finished(0).is_empty(), "the device still has two chunks");
    assert_eq!(lab.outstanding(0), 2);
    lab.run();
    let finished = lab.the_finished(0);
    let Err(TransferError::Refused { error, .. }) = finished.result else { panic!("{finished:?}") };
    assert_eq!(error, PostError::NotPromised("that work"));
    drop(finished.lease);
    lab.assert_written(1, 0, 2 * CHUNK);
    lab.assert_quiet();
}

#[test]
fn transfers_on_an_endpoint_that_is_closed_all_end() {
    let endpoint = EndpointSpec { send_depth: 2, recv_depth: 1, ..EndpointSpec::new(CqId(0)) };
    let mut lab = lab(Plan { endpoint, ..Plan::default() });
    for _ in 0..3 {
        let (read, recv) = (lab.read(0, 0, 20 * CHUNK), lab.spec(0, Op::Recv, 8));
        lab.submit(0, read);
        lab.submit(0, recv);
    }
    lab.run_for(5000);
    let late = lab.read(0, 0, 20 * CHUNK);
    lab.submit(0, late);
    let ep = lab.nodes[0].ep;
    lab.on(0, |d| d.context().close(ep));
    lab.run();
    let ends = lab.finished(0);
    let codes: Vec<_> = ends.iter().map(|end| end.result.clone().unwrap_err().code()).collect();
    assert_eq!(codes.len(), 7);
    assert!(codes.iter().all(|code| ["WR_FLUSH_ERR", "REFUSED"].contains(code)), "{codes:?}");
    assert!(codes.contains(&"REFUSED") && codes.contains(&"WR_FLUSH_ERR"), "{codes:?}");
    drop(ends);
    lab.assert_quiet();
}

#[test]
fn an_endpoint_that_is_not_connected_refuses_sends_and_keeps_receives_waiting() {
    let mut lab = lab(Plan::default());
    let cq = lab.nodes[0].cq;
    let ep = lab.on(0, |d| d.context().open(&EndpointSpec::new(cq))).unwrap();
    let spec = lab.read(0, 0, 10);
    lab.submit(0, TransferSpec { ep, ..spec });
    lab.run();
    let Err(TransferError::Refused { error, .. }) = lab.the_finished(0).result else { panic!() };
    assert_eq!(error, PostError::WrongState { ep, state: QpState::Reset });
    lab.assert_quiet();
}

#[test]
fn an_overrun_queue_ends_every_transfer_on_it() {
    let mut lab = lying_lab(Plan { cq_depth: 2, ..Plan::default() });
    lab.device(0, |d| d.silent = true);
    for _ in 0..3 {
        let spec = lab.read(0, 0, 4 * CHUNK);
        lab.submit(0, spec);
    }
    lab.run();
    let ends = lab.finished(0);
    assert_eq!(ends.len(), 3);
    assert!(ends.iter().all(|end| end.result.clone().unwrap_err().code() == "WR_FLUSH_ERR"));
    assert!(lab.events(0).contains(&AsyncEvent::CqErr(lab.nodes[0].cq)));
    drop(ends);
    lab.assert_quiet();
}

#[test]
fn events_that_nobody_takes_do_not_pile_up() {
    let mut lab = lab(Plan::default());
    for _ in 0..1100 {
        let (a, _) = lab.another_pair();
        let spec = lab.read(0, REGION_BYTES, 1);
        lab.submit(0, TransferSpec { ep: a, ..spec });
        lab.run();
        drop(lab.finished(0));
        lab.on(0, |d| d.context().close(a));
    }
    let events = lab.events(1);
    assert_eq!(events.len(), 1024);
    let last = AsyncEvent::QpAccessErr(wavetank_contract::EpId(1100));
    assert_eq!(events.last(), Some(&last), "the oldest are dropped");
}

#[test]
fn a_removed_device_ends_every_transfer_and_refuses_new_ones() {
    let mut lab = lab(Plan { profile: Profile::RXE, ..Plan::default() });
    let (other, _) = lab.another_pair();
    for tag in 0..6 {
        let spec = if tag < 4 { lab.read(0, 0, 20 * CHUNK) } else { lab.spec(0, Op::Recv, CHUNK) };
        let ep = if tag % 2 == 0 { other } else { spec.ep };
        lab.submit(0, TransferSpec { tag, ep, ..spec });
    }
    lab.run_for(30_000);
    assert!(lab.finished(0).is_empty(), "all are under way");
    lab.fabric.remove_device(0);
    lab.run();
    let ends = lab.finished(0);
    assert_eq!(ends.len(), 6);
    for end in &ends {
        let error = end.result.as_ref().unwrap_err();
        assert_eq!(error.class(), Class::Flushed, "{error}");
        assert!(end.lease.is_some());
    }
    drop(ends);
    assert_eq!(lab.events(0), [AsyncEvent::DeviceFatal]);
    let spec = lab.read(0, 0, 1);
    lab.submit(0, spec);
    lab.run();
    let refused = lab.the_finished(0).result.unwrap_err();
    assert!(
        matches!(refused, TransferError::Refused { error: PostError::Gone("the device"), .. }),
        "{refused}"
    );
    // What is left is closing, which still works.
    let (ep, mr) = (lab.nodes[0].ep, lab.nodes[0].exposed_mr);
    lab.on(0, |d| d.context().close(ep));
    assert_eq!(lab.on(0, |d| d.context().deregister(mr)), Ok(()));
    lab.assert_quiet();
}

#[test]
fn a_lost_notification_delays_whoever_has_a_deadline_and_nobody_else() {
    for lose in [false, true] {
        let mut lab = lab(Plan::default());
        if lose {
            lab.fabric.lose_notification(0);
        }
        let deadline = lab.now() + 1_000_000;
        let spec = lab.read(0, 0, 100);
        lab.submit(0, TransferSpec { deadline, ..spec });
        lab.run();
        // It is done by its deadline, at which somebody looks at last: done is done.
        let end = lab.the_finished(0);
        lab.assert_brought(0, &end, 0, 100);
        assert_eq!(
            (end.finished_at == deadline, lab.fabric.passed(Mark::NotificationLost)),
            (lose, u64::from(lose))
        );
        drop(end);
        lab.assert_quiet();
    }
}

#[test]
fn a_window_is_opened_and_revoked_through_a_context() {
    let mut lab = lab(Plan::default());
    let (mr, ep) = (lab.nodes[1].exposed_mr, lab.nodes[0].ep);
    let (window, key) = lab.on(1, |d| d.context().open_window(mr, 4096, 8192, Access::REMOTE_READ)).unwrap();
    let seen = lab.on(0, |d| d.context().import(ep, &key)).unwrap();
    assert_eq!(seen.len, 8192);
    let remote = seen.at(0, 8192).unwrap();
    let spec = lab.spec(0, Op::Read { remote }, 8192);
    lab.submit(0, spec);
    lab.run();
    let end = lab.the_finished(0);
    lab.assert_brought(0, &end, 4096, 8192);
    drop(end);
    assert_eq!(lab.on(1, |d| d.context().close_window(window)), Ok(()));
    let spec = lab.spec(0, Op::Read { remote }, 8192);
    lab.submit(0, spec);
    lab.run();
    assert_eq!(lab.the_finished(0).result, Err(failed(Status::RemAccessErr, None)));
    assert_eq!(lab.fabric.passed(Mark::WindowRevoked), 1);
    lab.assert_quiet();
}
