//! What a device does that no device may do is named, and harms nobody else.

use wavetank_contract::{EpId, OpKind, Status, WorkId};
use wavetank_engine::{Anomaly, PortConfig, RdmaOps};

use crate::bench::{Bench, depths, lying};
use crate::lab::{CHUNK, Plan, lying_lab};
use crate::lying::Lie;

/// Posts WRITEs number 0 to `count - 1` on a device that tells one lie.
fn writes_with_a_lie(count: u64, honest: usize, lie: Lie) -> Bench {
    let mut bench = lying(depths(16, 16), 64, 1);
    bench.a.port.backend_mut().lie_after(honest, lie);
    let orders = (0..count).map(|tag| bench.a.held_write(tag, tag)).collect();
    bench.a.post(orders);
    bench.run();
    assert!(bench.a.port.backend_mut().has_lied());
    bench
}

/// The holds of works that ended are released, and a close ends the rest: no lie leaks memory.
fn close_and_check(mut bench: Bench) {
    let ep = bench.a.ep;
    bench.a.port.close(ep);
    bench.run();
    assert_eq!(bench.a.port.outstanding(), 0);
    assert_eq!(bench.a.region.live_leases(), 0);
    let mut tags = bench.a.tags();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), bench.a.ended.len(), "each work ends once: {:?}", bench.a.ended);
}

#[test]
fn an_honest_device_is_not_accused() {
    let mut bench = lying(depths(16, 16), 64, 1);
    let orders = (0..10).map(|tag| bench.a.held_write(tag, tag)).collect();
    bench.a.post(orders);
    bench.run();
    assert_eq!(bench.a.tags(), (0..10).collect::<Vec<_>>());
    assert!(bench.a.ended.iter().all(|o| o.status == Status::Success && o.len == 64));
    assert_eq!(bench.a.anomalies(), []);
    assert_eq!(bench.a.region.live_leases(), 0);
    close_and_check(bench);
}

#[test]
fn a_lost_completion_shows_with_the_next_one_and_is_no_success() {
    let mut bench = writes_with_a_lie(4, 1, Lie::Lose);
    let overtaken = Anomaly::Overtaken {
        ep: bench.a.ep,
        kind: OpKind::Write,
        seq: 2,
        missing_kind: OpKind::Write,
        missing_seq: 1,
    };
    assert_eq!(bench.a.anomalies(), [overtaken]);
    let ended: Vec<_> = bench.a.ended.iter().map(|o| (o.tag, o.status, o.len)).collect();
    assert_eq!(ended[0], (0, Status::Success, 64));
    assert_eq!(ended[1], (1, Status::GeneralErr, 0), "nobody knows how it ended");
    assert_eq!(ended[2..], [(2, Status::Success, 64), (3, Status::Success, 64)]);
    close_and_check(bench);
}

#[test]
fn a_completion_lost_at_the_tail_leaves_its_work_outstanding_until_the_close() {
    let mut bench = writes_with_a_lie(3, 2, Lie::Lose);
    assert_eq!(bench.a.anomalies(), [], "nothing has passed it");
    assert_eq!((bench.a.port.outstanding(), bench.a.region.live_leases()), (1, 1));
    let mut text = String::new();
    bench.a.port.describe_outstanding(&mut text);
    assert!(
        text.contains("write of 64 bytes, number 2 of endpoint 0") && text.lines().count() == 1,
        "{text}"
    );
    let ep = bench.a.ep;
    bench.a.port.close(ep);
    bench.poll();
    assert_eq!(bench.a.ended.last().map(|o| (o.tag, o.status)), Some((2, Status::WrFlushErr)));
    close_and_check(bench);
}

#[test]
fn two_completions_that_change_places_are_one_overtaken_and_one_unknown() {
    let mut bench = writes_with_a_lie(4, 1, Lie::Swap);
    let anomalies = bench.a.anomalies();
    assert_eq!(anomalies.len(), 2, "{anomalies:?}");
    assert!(matches!(anomalies[0], Anomaly::Overtaken { seq: 2, missing_seq: 1, .. }));
    assert!(matches!(anomalies[1], Anomaly::UnknownWork { .. }));
    assert_eq!(bench.a.tags(), [0, 1, 2, 3]);
    close_and_check(bench);
}

#[test]
fn a_repeated_completion_names_nothing_that_is_outstanding() {
    let mut bench = writes_with_a_lie(4, 2, Lie::Repeat);
    let id = bench.a.port.backend_mut().posted[2].id;
    assert_eq!(bench.a.anomalies(), [Anomaly::UnknownWork { id, ep: EpId(0) }]);
    assert_eq!(bench.a.tags(), [0, 1, 2, 3]);
    close_and_check(bench);
}

#[test]
fn a_forged_completion_ends_nothing() {
    for forged in [WorkId(u64::MAX), WorkId(0), WorkId(1 << 32 | 99)] {
        let mut bench = writes_with_a_lie(1, 0, Lie::Rename(forged));
        assert_eq!(bench.a.anomalies(), [Anomaly::UnknownWork { id: forged, ep: EpId(0) }]);
        assert!(bench.a.ended.is_empty());
        assert_eq!(bench.a.port.outstanding(), 1);
        close_and_check(bench);
    }
}

#[test]
fn a_completion_on_the_wrong_endpoint_ends_nothing_there_or_here() {
    for other in [EpId(1), EpId(77)] {
        let mut bench = lying(depths(16, 16), 64, 1);
        // A second endpoint on the same queue, with nothing outstanding.
        let cq = bench.a.cq;
        let spec = wavetank_contract::EndpointSpec::new(cq);
        assert_eq!(bench.a.port.open(&spec), Ok(EpId(1)));
        bench.a.port.backend_mut().lie_after(0, Lie::Move(other));
        let order = bench.a.held_write(5, 0);
        bench.a.post(vec![order]);
        bench.run();
        let wrong = Anomaly::WrongEndpoint { posted: EpId(0), completed: other, seq: 0 };
        assert_eq!(bench.a.anomalies(), [wrong]);
        assert!(bench.a.ended.is_empty());
        close_and_check(bench);
    }
}

#[test]
fn an_unsignalled_work_before_a_completion_is_no_anomaly() {
    let mut bench = lying(depths(16, 16), 64, 4);
    let orders = (0..6).map(|tag| bench.a.held_write(tag, tag)).collect();
    bench.a.post(orders);
    bench.run();
    let signalled: Vec<_> = bench.a.port.backend_mut().posted.iter().map(|p| p.signalled).collect();
    assert_eq!(signalled, [false, false, false, true, false, true]);
    assert_eq!(bench.a.tags(), [0, 1, 2, 3, 4, 5]);
    assert!(bench.a.ended.iter().all(|o| o.status == Status::Success && o.len == 64));
    assert_eq!(bench.a.anomalies(), []);
    close_and_check(bench);
}

#[test]
fn only_the_first_anomalies_are_kept_however_many_there_are() {
    let mut bench = lying(depths(64, 16), 256, 1);
    for round in 0..40 {
        bench.a.port.backend_mut().lie_after(0, Lie::Repeat);
        let order = bench.a.write(round);
        bench.a.post(vec![order]);
        bench.run();
    }
    assert_eq!(bench.a.anomalies().len(), 16);
    close_and_check(bench);
}

#[test]
fn a_transfer_whose_completion_is_lost_fails_and_gives_its_memory_back() {
    let plan = Plan { port: PortConfig { signal_every: 1 }, ..Plan::default() };
    let mut lab = lying_lab(plan);
    lab.device(0, |d| d.lie_after(1, Lie::Lose));
    let spec = lab.read(0, 0, 3 * CHUNK);
    lab.submit(0, spec);
    lab.run();
    let finished = lab.the_finished(0);
    let error = finished.result.unwrap_err();
    assert_eq!(error.code(), "GENERAL_ERR");
    drop(finished.lease);
    assert_eq!(lab.anomalies(0).len(), 1);
    lab.assert_quiet();
}

#[test]
fn a_driver_survives_a_repeated_completion_of_a_transfer_that_is_over() {
    let mut lab = lying_lab(Plan::default());
    lab.device(0, |d| d.lie_after(0, Lie::Repeat));
    let spec = lab.read(0, 64, 100);
    lab.submit(0, spec);
    lab.run();
    let finished = lab.the_finished(0);
    lab.assert_brought(0, &finished, 64, 100);
    drop(finished);
    assert!(matches!(lab.anomalies(0)[..], [Anomaly::UnknownWork { .. }]));
    lab.assert_quiet();
}
