//! Receives that endpoints share: whoever takes one is named, each ends once, and none is lost with an endpoint.

use wavetank_contract::error::{ModifyError, PostError};
use wavetank_contract::{
    AsyncEvent, Backend, Caps, EndpointSpec, EpId, Op, OpKind, PdId, QpState, Sge, SrqId, Status,
};
use wavetank_engine::{Anomaly, Batch, Driver, DriverConfig, NO_ENDPOINT, Order, Port, PortConfig, RdmaOps};

use crate::bench::{Bench, depths, lying};
use crate::lying::{Lie, Lying};

const DEPTH: u32 = 8;

/// A bench whose second side has a shared queue of depth 8 and `pairs` pairs of endpoints, the second of each sharing it.
fn sharing(pairs: usize) -> (Bench, SrqId, Vec<(EpId, EpId)>) {
    let mut bench = lying(depths(16, 4), 64, 1);
    let srq = bench.b.port.open_srq(PdId(0), DEPTH).unwrap();
    let pairs = (0..pairs).map(|_| pair(&mut bench, srq)).collect();
    (bench, srq, pairs)
}

fn pair(bench: &mut Bench, srq: SrqId) -> (EpId, EpId) {
    let (a, b) = (&mut bench.a, &mut bench.b);
    let x = a.port.open(&EndpointSpec { send_depth: 16, ..EndpointSpec::new(a.cq) }).unwrap();
    let spec = EndpointSpec { shared_receive: Some(srq), recv_depth: 0, ..EndpointSpec::new(b.cq) };
    let y = b.port.open(&spec).unwrap();
    let (to_x, to_y) = (a.port.address(x).unwrap(), b.port.address(y).unwrap());
    a.port.connect(x, &to_y).unwrap();
    b.port.connect(y, &to_x).unwrap();
    (x, y)
}

/// A receive of 64 bytes that keeps its place of the region.
fn held_recv(bench: &Bench, tag: u64) -> Order {
    let lease = bench.b.region.lease(tag * 64, 64).unwrap();
    Order::new(tag, Op::Recv, Sge { mr: bench.b.mr, len: 64, offset: tag * 64 }, Some(lease.hold()))
}

fn give(bench: &mut Bench, srq: SrqId, tags: std::ops::Range<u64>) -> usize {
    let mut batch: Batch = tags.map(|tag| held_recv(bench, tag)).collect();
    bench.b.port.post_shared(srq, &mut batch).unwrap()
}

fn send(bench: &mut Bench, from: EpId, tag: u64) {
    let mut batch = Batch::from([bench.a.send(tag)]);
    assert_eq!(bench.a.port.post(from, &mut batch).unwrap(), 1);
}

fn received(bench: &Bench) -> Vec<(u64, EpId, Option<u32>)> {
    let receives = bench.b.ended.iter().filter(|o| o.status == Status::Success);
    receives.map(|o| (o.tag, o.ep, o.imm)).collect()
}

#[test]
fn a_receive_ends_on_the_endpoint_that_takes_it_and_gives_its_memory_back() {
    let (mut bench, srq, pairs) = sharing(3);
    assert_eq!(give(&mut bench, srq, 0..6), 6);
    assert_eq!((bench.b.port.outstanding(), bench.b.region.live_leases()), (6, 6));
    for tag in 0..6 {
        send(&mut bench, pairs[2 - tag as usize % 3].0, 100 + tag);
        bench.run();
    }
    let expected: Vec<_> =
        (0..6).map(|tag| (tag, pairs[2 - tag as usize % 3].1, Some(100 + tag as u32))).collect();
    assert_eq!(received(&bench), expected);
    assert!(bench.b.ended.iter().all(|o| o.kind == OpKind::Send && o.len == 64));
    assert_eq!((bench.b.port.outstanding(), bench.b.region.live_leases()), (0, 0));
    assert_eq!(bench.b.anomalies(), []);
}

#[test]
fn receives_wait_for_a_place_in_the_queue_and_completions_make_places() {
    let (mut bench, srq, pairs) = sharing(1);
    let mut batch: Batch = (0..12).map(|tag| held_recv(&bench, tag)).collect();
    assert_eq!(bench.b.port.post_shared(srq, &mut batch).unwrap(), 8);
    assert_eq!(bench.b.port.post_shared(srq, &mut batch).unwrap(), 0, "it is full, which is no error");
    for tag in 0..3 {
        send(&mut bench, pairs[0].0, tag);
    }
    bench.run();
    assert_eq!(bench.b.port.post_shared(srq, &mut batch).unwrap(), 3);
    assert_eq!((batch.len(), bench.b.port.outstanding()), (1, 8));
}

#[test]
fn an_endpoint_that_closes_leaves_the_receives_it_has_not_taken() {
    let (mut bench, srq, pairs) = sharing(2);
    give(&mut bench, srq, 0..3);
    bench.b.port.close(pairs[0].1);
    bench.run();
    assert_eq!((bench.b.ended.len(), bench.b.port.outstanding()), (0, 3));
    for tag in 0..3 {
        send(&mut bench, pairs[1].0, tag);
    }
    bench.run();
    assert_eq!(received(&bench).len(), 3);
    assert_eq!(bench.b.region.live_leases(), 0);
}

#[test]
fn what_an_endpoint_had_taken_ends_with_it_and_nothing_is_lost() {
    for reset in [false, true] {
        let (mut bench, srq, pairs) = sharing(2);
        give(&mut bench, srq, 0..3);
        send(&mut bench, pairs[0].0, 7);
        send(&mut bench, pairs[1].0, 8);
        // Both messages are there and nobody has polled.
        bench.settle();
        match reset {
            true => bench.b.port.modify(pairs[0].1, QpState::Reset).unwrap(),
            false => bench.b.port.close(pairs[0].1),
        }
        assert_eq!(bench.b.port.wake(), wavetank_contract::Wake::Now, "somebody has to look");
        bench.run();
        let expected = [(0, pairs[0].1, Some(7)), (1, pairs[1].1, Some(8))];
        assert_eq!(received(&bench), expected, "reset: {reset}");
        assert_eq!((bench.b.port.outstanding(), bench.b.region.live_leases()), (1, 1));
        assert_eq!(bench.b.anomalies(), []);
    }
}

#[test]
fn a_receive_that_a_message_had_begun_to_fill_comes_back_from_an_endpoint_that_closes() {
    let mut flushed = 0;
    for steps in 0..40 {
        let (mut bench, srq, pairs) = sharing(2);
        let piece = |mr| Sge { mr, len: 32_768, offset: 0 };
        let long = Order::new(0, Op::Recv, piece(bench.b.mr), None);
        bench.b.port.post_shared(srq, &mut Batch::from([long])).unwrap();
        let message = Order::new(1, Op::Send { imm: None }, piece(bench.a.mr), None);
        bench.a.port.post(pairs[0].0, &mut Batch::from([message])).unwrap();
        for _ in 0..steps {
            bench.fabric.next_at(&mut wavetank_contract::Quiet);
            bench.fabric.step_one(&mut wavetank_contract::Quiet);
        }
        bench.poll();
        let whole = bench.b.ended.len();
        bench.b.port.close(pairs[0].1);
        bench.poll();
        let ended: Vec<_> = bench.b.ended[whole..].iter().map(|o| (o.tag, o.ep, o.status)).collect();
        let back = ended == [(0, pairs[0].1, Status::WrFlushErr)];
        assert!(ended.is_empty() || back, "{ended:?} after {steps} steps");
        flushed += usize::from(back);
        // Not begun it is still there for others, otherwise it has ended: never neither, never both.
        assert_eq!(bench.b.port.outstanding() + bench.b.ended.len(), 1, "after {steps} steps");
    }
    assert!(flushed > 0, "no step was the middle of the message");
}

#[test]
fn a_completion_that_comes_twice_or_names_no_receive_or_no_sharer_is_an_anomaly() {
    let takes = |lie: fn(EpId) -> Lie| {
        let (mut bench, srq, pairs) = sharing(2);
        give(&mut bench, srq, 0..3);
        let other = bench.b.ep;
        bench.b.port.backend_mut().lie_after(0, lie(other));
        send(&mut bench, pairs[0].0, 1);
        send(&mut bench, pairs[1].0, 2);
        bench.run();
        let anomalies = bench.b.anomalies();
        (bench, srq, anomalies, pairs)
    };
    let (bench, _, anomalies, pairs) = takes(|_| Lie::Repeat);
    assert!(matches!(anomalies[..], [Anomaly::UnknownWork { ep, .. }] if ep == pairs[0].1), "{anomalies:?}");
    assert_eq!((received(&bench).len(), bench.b.region.live_leases()), (2, 1), "each ends once");
    let (_, srq, anomalies, _) = takes(Lie::Move);
    assert!(
        matches!(anomalies[..], [Anomaly::NotSharing { srq: named, seq: 0, .. }] if named == srq),
        "{anomalies:?}"
    );
    let (mut bench, _, anomalies, _) = takes(|_| Lie::Rename(wavetank_contract::WorkId(77)));
    assert!(matches!(anomalies[..], [Anomaly::UnknownWork { .. }]), "{anomalies:?}");
    assert_eq!(received(&bench).len(), 1);
    bench.run();
}

#[test]
fn completions_of_receives_that_overtake_each_other_are_no_anomaly() {
    let (mut bench, srq, pairs) = sharing(2);
    give(&mut bench, srq, 0..3);
    bench.b.port.backend_mut().lie_after(0, Lie::Swap);
    send(&mut bench, pairs[0].0, 1);
    send(&mut bench, pairs[1].0, 2);
    bench.run();
    assert!(bench.b.port.backend_mut().has_lied());
    assert_eq!(received(&bench), [(1, pairs[1].1, Some(2)), (0, pairs[0].1, Some(1))]);
    assert_eq!(bench.b.anomalies(), []);
}

#[test]
fn a_queue_ends_after_its_endpoints_and_flushes_what_nobody_took() {
    let (mut bench, srq, pairs) = sharing(1);
    give(&mut bench, srq, 0..3);
    let refused = bench.b.port.close_srq(srq);
    assert_eq!(refused, Err(ModifyError::SrqInUse { srq, endpoints: 1 }));
    bench.b.port.close(pairs[0].1);
    bench.b.port.close_srq(srq).unwrap();
    bench.run();
    let ended: Vec<_> = bench.b.ended.iter().map(|o| (o.tag, o.ep, o.status)).collect();
    let flushed = |tag| (tag, NO_ENDPOINT, Status::WrFlushErr);
    assert_eq!(ended, [flushed(0), flushed(1), flushed(2)]);
    assert_eq!((bench.b.port.outstanding(), bench.b.region.live_leases()), (0, 0));
    assert_eq!(bench.b.port.close_srq(srq), Err(ModifyError::UnknownSrq(srq)));
    let mut late = Batch::from([held_recv(&bench, 9)]);
    let refused = bench.b.port.post_shared(srq, &mut late).unwrap_err();
    assert!(matches!(refused.error, PostError::Gone(_)) && refused.order.hold.is_some(), "{refused:?}");
}

#[test]
fn what_a_shared_queue_does_not_take_comes_back_with_its_hold() {
    let (mut bench, srq, pairs) = sharing(1);
    let write = bench.b.write(3);
    let mut batch = Batch::from([held_recv(&bench, 0), write, held_recv(&bench, 1)]);
    let refused = bench.b.port.post_shared(srq, &mut batch).unwrap_err();
    assert_eq!((refused.index, refused.order.tag, batch.len()), (1, 3, 1));
    let mr = bench.b.mr;
    let mut long = held_recv(&bench, 2);
    long.pieces[0] = Sge { mr, len: u32::MAX, offset: 0 };
    let refused = bench.b.port.post_shared(srq, &mut Batch::from([long])).unwrap_err();
    assert!(matches!(refused.error, PostError::MessageTooLong { .. }), "{refused:?}");
    assert!(refused.order.hold.is_some());
    assert_eq!(bench.b.port.outstanding(), 1);
    let own = bench.b.port.post(pairs[0].1, &mut Batch::from([held_recv(&bench, 4)])).unwrap_err();
    assert!(matches!(own.error, PostError::NotPromised(_)), "{own:?}");
}

#[test]
fn a_queue_that_runs_low_is_told_through_the_port() {
    let (mut bench, srq, pairs) = sharing(1);
    give(&mut bench, srq, 0..4);
    bench.b.port.arm_srq(srq, 4).unwrap();
    send(&mut bench, pairs[0].0, 1);
    bench.run();
    let events: Vec<_> = std::iter::from_fn(|| bench.b.port.poll_event()).collect();
    assert_eq!(events, [AsyncEvent::SrqLimitReached(srq)]);
}

#[test]
fn a_device_that_does_not_promise_shared_queues_says_so_when_receives_are_posted() {
    let mut fabric = wavetank_mock::Fabric::new(wavetank_mock::Profile::IDEAL);
    let nic = fabric.add_node();
    let caps = Caps { shared_receive_depth_max: 0, ..nic.caps().clone() };
    let mut port = Port::new(Lying::with_caps(nic, caps), PortConfig::default());
    let piece = Sge { mr: wavetank_contract::MrId(0), len: 1, offset: 0 };
    let refused = port.post_shared(SrqId(0), &mut Batch::from([Order::new(1, Op::Recv, piece, None)]));
    assert_eq!(refused.unwrap_err().error, PostError::NotPromised("shared receive queues"));
    assert_eq!(port.post_shared(SrqId(0), &mut Batch::new()).unwrap(), 0);
}

#[test]
fn a_driver_lines_receives_up_and_says_who_took_them() {
    let (bench, srq, pairs) = sharing(2);
    let orders: Vec<_> = (0..12).map(|tag| held_recv(&bench, tag)).collect();
    let Bench { mut fabric, mut a, b } = bench;
    let mut driver = Driver::new(b.port, DriverConfig::default());
    orders.into_iter().for_each(|order| driver.order_shared(srq, order));
    let now = fabric.now();
    driver.turn(now);
    assert_eq!(driver.context().outstanding(), 8, "as many as its depth; the others wait");
    for (at, (x, _)) in pairs.iter().cycle().take(10).enumerate() {
        let order = Order::new(
            at as u64,
            Op::Send { imm: Some(at as u32) },
            Sge { mr: a.mr, len: 8, offset: 0 },
            None,
        );
        a.port.post(*x, &mut Batch::from([order])).unwrap();
    }
    let mut outcomes = Vec::new();
    let mut took = Vec::new();
    for _ in 0..2000 {
        fabric.step(&mut wavetank_contract::Quiet);
        a.port.poll(&mut a.ended);
        driver.turn(fabric.now());
        driver.take_outcomes(&mut outcomes);
        took.extend(outcomes.iter().map(|o| (o.tag, o.ep, o.status)));
    }
    assert_eq!(took.len(), 10, "{took:?}");
    assert!(
        took.iter()
            .all(|(_, ep, status)| { *status == Status::Success && pairs.iter().any(|(_, y)| y == ep) })
    );
    assert_eq!(driver.context().outstanding(), 2);
    // Everything ends, and what was never taken is told as well.
    let leaks = driver.close_all(fabric.now());
    driver.take_outcomes(&mut outcomes);
    assert!(leaks.is_none(), "{leaks}");
    assert_eq!(outcomes.iter().filter(|o| o.ep == NO_ENDPOINT).count(), 2, "{outcomes:?}");
    // Nobody has that queue any more.
    let lease = b.region.lease(64, 64).unwrap();
    driver.order_shared(
        srq,
        Order::new(50, Op::Recv, Sge { mr: b.mr, len: 64, offset: 64 }, Some(lease.hold())),
    );
    driver.turn(fabric.now());
    driver.take_outcomes(&mut outcomes);
    let ended: Vec<_> = outcomes.iter().map(|o| (o.tag, o.ep, o.status)).collect();
    assert_eq!(ended, [(50, NO_ENDPOINT, Status::WrFlushErr)]);
    drop(lease);
    assert_eq!(b.region.live_leases(), 0);
}
