//! Transfers given up by their deadline or by their owner: told at once, memory back when the device is done.

use wavetank_contract::{Class, Instant, OpKind, Wake};
use wavetank_engine::{RdmaOps, TransferError, TransferSpec};

use crate::lab::{CHUNK, Plan, lab, lying_lab};
use crate::lying::Lie;

#[test]
fn a_deadline_passes_at_its_instant_and_the_memory_stays_out_until_the_device_is_done() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(0, 1).loss_one_in = 1;
    let (deadline, len) = (Instant(50_000), 10 * CHUNK);
    let spec = lab.read(0, 0, len);
    let (ep, id) = (spec.ep, lab.submit(0, TransferSpec { deadline, tag: 77, ..spec }));
    lab.run_until(deadline - 1);
    assert!(lab.finished(0).is_empty());
    assert_eq!(lab.nodes[0].wake, Wake::At(deadline));
    lab.run_until(deadline);
    let finished = lab.the_finished(0);
    let error = finished.result.unwrap_err();
    let expected = TransferError::DeadlinePassed { deadline, ep, kind: OpKind::Read, done: 0, len };
    assert_eq!((&error, error.class(), error.code()), (&expected, Class::PeerGone, "DEADLINE"));
    assert_eq!((finished.id, finished.tag, finished.finished_at), (id, 77, deadline));
    assert!(finished.lease.is_none(), "the device may still write there");
    assert_eq!((lab.outstanding(0), lab.on(0, |d| d.transfers_len())), (4, 1));
    assert!(!lab.nodes[0].arena.is_whole());
    assert_eq!(lab.nodes[0].wake, Wake::Idle, "no deadline is left");
    lab.run();
    lab.assert_quiet();
}

#[test]
fn a_deadline_counts_what_was_done_by_then() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 100 * CHUNK);
    lab.submit(0, TransferSpec { deadline: Instant(20_000), ..spec });
    lab.run();
    let finished = lab.the_finished(0);
    let Err(TransferError::DeadlinePassed { done, len, .. }) = finished.result else {
        panic!("{finished:?}");
    };
    assert!(done > 0 && done < len && done.is_multiple_of(CHUNK), "{done} of {len}");
    // The peer was there all the time, so the endpoint lives on and the device was soon done.
    lab.assert_quiet();
    let spec = lab.read(0, 8, 80);
    lab.submit(0, spec);
    lab.run();
    let finished = lab.the_finished(0);
    lab.assert_brought(0, &finished, 8, 80);
}

#[test]
fn what_is_done_at_the_instant_of_its_deadline_is_done() {
    let run = |deadline| {
        let mut lab = lab(Plan::default());
        let spec = lab.read(0, 0, 3 * CHUNK);
        lab.submit(0, TransferSpec { deadline, ..spec });
        lab.run();
        lab.the_finished(0)
    };
    let at = run(Instant::FAR).finished_at;
    assert_eq!(run(at).result, Ok(3 * CHUNK));
    assert_eq!(run(at - 1).result.unwrap_err().code(), "DEADLINE");
}

#[test]
fn a_transfer_of_which_the_device_has_nothing_gives_its_memory_back_at_its_deadline() {
    let mut lab = lying_lab(Plan {
        endpoint: wavetank_contract::EndpointSpec {
            send_depth: 4,
            ..wavetank_contract::EndpointSpec::new(wavetank_contract::CqId(0))
        },
        ..Plan::default()
    });
    lab.fabric.link(0, 1).loss_one_in = 1;
    let first = lab.read(0, 0, 4 * CHUNK);
    lab.submit(0, first);
    let second = lab.write(0, 0, 4 * CHUNK, None);
    lab.submit(0, TransferSpec { deadline: Instant(9000), ..second });
    lab.run_until(Instant(9000));
    let finished = lab.the_finished(0);
    assert!(finished.lease.is_some(), "its orders never left the batch");
    drop(finished);
    lab.run();
    assert_eq!(lab.the_finished(0).result.unwrap_err().code(), "RETRY_EXC_ERR");
    assert_eq!(lab.device(0, |d| d.posted.len()), 4, "and never do");
    lab.assert_quiet();
}

#[test]
fn the_deadline_of_a_finished_transfer_hits_nobody_else() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 100);
    lab.submit(0, TransferSpec { deadline: Instant(90_000), ..spec });
    lab.run_until(Instant(50_000));
    assert_eq!(lab.the_finished(0).result, Ok(100));
    assert_eq!(lab.nodes[0].wake, Wake::Idle, "its deadline went with it");
    // The next one takes the same place, and has no deadline.
    lab.fabric.link(0, 1).loss_one_in = 1;
    let spec = lab.read(0, 0, 100);
    lab.submit(0, spec);
    lab.run_until(Instant(100_000));
    assert!(lab.finished(0).is_empty());
    lab.fabric.mend(0, 1);
    lab.run();
    assert_eq!(lab.the_finished(0).result, Ok(100));
    lab.assert_quiet();
}

#[test]
fn deadlines_pass_in_their_own_order_not_in_that_of_submission() {
    let mut lab = lab(Plan::default());
    lab.fabric.link(0, 1).loss_one_in = 1;
    for (tag, at) in [(0, 30_000), (1, 10_000), (2, 20_000)] {
        let spec = lab.read(0, 0, 10);
        lab.submit(0, TransferSpec { deadline: Instant(at), tag, ..spec });
    }
    lab.run_until(Instant(30_000));
    let ends: Vec<_> = lab.finished(0).iter().map(|end| (end.tag, end.finished_at.0)).collect();
    assert_eq!(ends, [(1, 10_000), (2, 20_000), (0, 30_000)]);
}

#[test]
fn a_cancelled_transfer_ends_at_once_and_once_and_its_memory_comes_back_later() {
    let mut lab = lying_lab(Plan::default());
    let spec = lab.read(0, 0, 100 * CHUNK);
    let id = lab.submit(0, TransferSpec { deadline: Instant(1_000_000), ..spec });
    lab.run_until(Instant(9000));
    assert!(lab.on(0, |d| d.cancel(id, Instant(9000))));
    assert!(!lab.on(0, |d| d.cancel(id, Instant(9000))), "it has ended");
    let finished = lab.the_finished(0);
    assert_eq!((finished.result, finished.finished_at), (Err(TransferError::Cancelled), Instant(9000)));
    assert!(finished.lease.is_none());
    assert!(!lab.nodes[0].arena.is_whole());
    assert_eq!(lab.outstanding(0), 4);
    assert_eq!(lab.on(0, |d| d.wake()), Wake::Idle, "its deadline went with it");
    let posted = lab.device(0, |d| d.posted.len());
    lab.run_until(Instant(20_000));
    assert_eq!(lab.device(0, |d| d.posted.len()), posted, "no chunk is posted after the cancel");
    assert!(!lab.on(0, |d| d.cancel(id, Instant(20_000))), "it is unknown by now");
    lab.assert_quiet();
}

#[test]
fn a_transfer_cancelled_before_its_first_turn_posts_nothing() {
    let mut lab = lying_lab(Plan::default());
    let spec = lab.read(0, 0, 100 * CHUNK);
    let id = lab.submit(0, spec);
    assert!(lab.on(0, |d| d.cancel(id, Instant(0))));
    let finished = lab.the_finished(0);
    assert!(finished.lease.is_some());
    drop(finished);
    lab.run();
    assert_eq!(lab.device(0, |d| d.posted.len()), 0);
    lab.assert_quiet();
}

#[test]
fn what_takes_the_place_of_a_cancelled_transfer_goes_over_its_own_endpoint() {
    let mut lab = lying_lab(Plan::default());
    let (other, _) = lab.another_pair();
    let specs = [lab.read(0, 0, 9), lab.read(0, 0, 99), lab.read(0, 7, 2 * CHUNK)];
    let [keep, cancelled, next] = specs;
    lab.submit(0, TransferSpec { ep: other, ..keep });
    let id = lab.submit(0, cancelled);
    assert!(lab.on(0, |d| d.cancel(id, Instant(0))));
    drop(lab.the_finished(0));
    lab.submit(0, TransferSpec { ep: other, ..next });
    lab.run();
    let ends = lab.finished(0);
    lab.assert_brought(0, &ends[1], 7, 2 * CHUNK);
    let eps: Vec<_> = lab.device(0, |d| d.posted.iter().map(|posted| posted.ep).collect());
    assert_eq!(eps, [other; 3]);
    drop(ends);
    lab.assert_quiet();
}

#[test]
fn the_name_of_a_finished_transfer_cancels_nothing_else() {
    let mut lab = lab(Plan::default());
    let spec = lab.read(0, 0, 100);
    let old = lab.submit(0, spec);
    lab.run();
    drop(lab.the_finished(0));
    let spec = lab.read(0, 0, 100);
    let new = lab.submit(0, spec);
    assert_ne!(old, new);
    assert!(!lab.on(0, |d| d.cancel(old, Instant(0))));
    lab.run();
    assert_eq!(lab.the_finished(0).result, Ok(100));
}

#[test]
fn a_transfer_that_has_failed_keeps_its_reason_when_its_deadline_passes() {
    let mut lab = lying_lab(Plan::default());
    // The second chunk fails, the completion of the last flushed one is lost: it never ends by itself.
    lab.device(0, |d| d.lie_after(3, Lie::Lose));
    let spec = lab.read(0, crate::lab::REGION_BYTES - CHUNK, 4 * CHUNK);
    lab.submit(0, TransferSpec { deadline: Instant(900_000), ..spec });
    lab.run_until(Instant(900_000));
    let finished = lab.the_finished(0);
    assert_eq!(finished.result.unwrap_err().code(), "REM_ACCESS_ERR");
    assert!(finished.lease.is_none() && !lab.nodes[0].arena.is_whole());
    let ep = lab.nodes[0].ep;
    lab.on(0, |d| d.context().close(ep));
    lab.run();
    lab.assert_quiet();
}
