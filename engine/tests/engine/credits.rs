//! Credits, signalling, refusals and closes of a port.

use wavetank_contract::error::PostError;
use wavetank_contract::{AsyncEvent, EpId, QpState, Status};
use wavetank_engine::{Batch, Order, RdmaOps};

use crate::bench::{Bench, depths, lying};

/// Posts whatever has a credit, lets the network run, and again, until the batch is empty.
fn pump(bench: &mut Bench, mut batch: Batch) -> usize {
    let mut rounds = 0;
    while !batch.is_empty() {
        rounds += 1;
        assert!(rounds < 1000, "stalled with {} orders in the batch", batch.len());
        bench.a.port.post(bench.a.ep, &mut batch).unwrap();
        let last = bench.a.port.backend_mut().posted.last().copied();
        assert!(last.is_none_or(|last| last.signalled), "the tail is never left unsignalled");
        bench.run();
    }
    rounds
}

#[test]
fn orders_without_a_credit_stay_in_the_batch_and_go_as_works_complete() {
    let mut bench = lying(depths(4, 4), 64, 1);
    let mut batch: Batch = (0..10).map(|tag| bench.a.read(tag)).collect();
    assert_eq!(bench.a.port.post(bench.a.ep, &mut batch).unwrap(), 4);
    assert_eq!((batch.len(), bench.a.port.outstanding()), (6, 4));
    assert_eq!(bench.a.port.post(bench.a.ep, &mut batch).unwrap(), 0);
    assert_eq!(bench.a.port.backend_mut().rings, 1, "no doorbell for nothing");
    bench.run();
    let rounds = pump(&mut bench, batch);
    assert_eq!(rounds, 2);
    assert_eq!(bench.a.tags(), (0..10).collect::<Vec<_>>());
    assert_eq!(bench.a.port.backend_mut().rings, 3, "one doorbell a batch");
}

#[test]
fn every_signalling_policy_works_at_every_depth_and_never_stalls() {
    for depth in [1, 2, 3, 4, 7, 16] {
        for signal_every in [0, 1, 2, 3, 5, 16, u32::MAX] {
            let mut bench = lying(depths(depth, 1), 64, signal_every);
            let batch: Batch = (0..40).map(|tag| bench.a.write(tag)).collect();
            pump(&mut bench, batch);
            assert_eq!(bench.a.tags(), (0..40).collect::<Vec<_>>(), "depth {depth}, every {signal_every}");
            assert!(bench.a.ended.iter().all(|o| o.status == Status::Success));
            assert_eq!(bench.a.anomalies(), []);
            let posted = &bench.a.port.backend_mut().posted;
            let signalled = posted.iter().filter(|p| p.signalled).count();
            let every = signal_every.min(depth / 2).max(1);
            assert_eq!(signalled < 40, every > 1, "{signalled} of 40 signalled, every {every}");
        }
    }
}

#[test]
fn single_posts_are_signalled_whatever_the_policy() {
    let mut bench = lying(depths(8, 1), 64, 8);
    for tag in 0..20 {
        let order = bench.a.write(tag);
        bench.a.post(vec![order]);
        bench.run();
        assert_eq!(bench.a.tags().len() as u64, tag + 1, "ended without another post");
    }
}

#[test]
fn a_receive_behind_a_send_does_not_count_as_its_signal() {
    let mut bench = lying(depths(16, 16), 64, 8);
    let orders = vec![bench.a.write(1), bench.a.recv(2)];
    bench.a.post(orders);
    bench.run();
    assert_eq!(bench.a.tags(), [1], "the WRITE ended though no send follows");
}

#[test]
fn a_work_before_a_refused_one_is_signalled() {
    let mut bench = lying(depths(16, 16), 64, 8);
    let mut batch: Batch = [bench.a.write(1), bench.a.impossible(2)].into();
    let refused = bench.a.port.post(bench.a.ep, &mut batch).unwrap_err();
    assert_eq!((refused.index, refused.order.tag), (1, 2));
    bench.run();
    assert_eq!(bench.a.tags(), [1], "it ended though nothing follows");
}

#[test]
fn a_refused_order_comes_back_with_its_hold_and_the_prefix_is_posted() {
    let mut bench = lying(depths(16, 16), 64, 1);
    bench.a.port.backend_mut().refuse_after = Some(2);
    let mut batch: Batch = (0..5).map(|tag| bench.a.held_write(tag, tag)).collect();
    let refused = bench.a.port.post(bench.a.ep, &mut batch).unwrap_err();
    assert_eq!((refused.index, refused.order.tag), (2, 2));
    assert_eq!(refused.error, PostError::NotPromised("that work"));
    assert!(refused.order.hold.is_some());
    assert_eq!(batch.iter().map(|order| order.tag).collect::<Vec<_>>(), [3, 4], "the rest is still there");
    assert_eq!(bench.a.port.outstanding(), 2);
    assert_eq!(bench.a.region.live_leases(), 5);
    drop(refused);
    assert_eq!(bench.a.region.live_leases(), 4, "its memory is free once the order is dropped");
    bench.run();
    bench.a.port.post(bench.a.ep, &mut batch).unwrap();
    bench.run();
    assert_eq!(bench.a.tags(), [0, 1, 3, 4]);
    assert_eq!((bench.a.anomalies(), bench.a.region.live_leases()), (vec![], 0));
}

#[test]
fn an_order_for_no_endpoint_is_refused_and_an_empty_batch_is_not() {
    let mut bench = lying(depths(4, 4), 64, 1);
    for ep in [EpId(7), EpId(u32::MAX)] {
        let mut batch: Batch = [bench.a.write(1), bench.a.write(2)].into();
        let refused = bench.a.port.post(ep, &mut batch).unwrap_err();
        assert_eq!((refused.index, refused.error), (0, PostError::Unknown(ep)));
        assert_eq!(batch.len(), 1);
        assert_eq!(bench.a.port.post(ep, &mut Batch::new()).unwrap(), 0);
    }
}

#[test]
fn a_receive_is_refused_where_there_will_never_be_room_for_one() {
    let mut bench = lying(depths(4, 0), 64, 1);
    let mut batch: Batch = [bench.a.recv(1), bench.a.write(2)].into();
    let refused = bench.a.port.post(bench.a.ep, &mut batch).unwrap_err();
    assert_eq!(refused.error, PostError::QueueFull { ep: EpId(0), depth: 0 });
    assert_eq!(refused.order.tag, 1);
}

#[test]
fn holds_are_released_by_completions_one_by_one() {
    let mut bench = lying(depths(16, 16), 64, 1);
    let orders = (0..3).map(|tag| bench.a.held_write(tag, tag)).collect();
    bench.a.post(orders);
    bench.settle();
    assert_eq!(bench.a.region.live_leases(), 3, "done on the wire, but nobody has polled");
    bench.poll();
    assert_eq!(bench.a.region.live_leases(), 0);
}

#[test]
fn a_close_flushes_sends_and_then_receives_in_order_and_releases_their_memory() {
    let mut bench = lying(depths(16, 16), 64, 1);
    bench.fabric.link(0, 1).loss_one_in = 1;
    let mut orders: Vec<Order> = (0..3).map(|tag| bench.a.held_write(tag, tag)).collect();
    orders.insert(1, bench.a.recv(10));
    orders.insert(3, bench.a.recv(11));
    bench.a.post(orders);
    let ep = bench.a.ep;
    bench.a.port.close(ep);
    assert_eq!(bench.a.region.live_leases(), 0, "the device no longer touches it");
    assert_eq!(bench.a.port.outstanding(), 5, "ended, and not told yet");
    let mut text = String::new();
    bench.a.port.describe_outstanding(&mut text);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert_eq!(bench.a.port.wake(), wavetank_contract::Wake::Now);
    bench.run();
    assert_eq!(bench.a.tags(), [0, 1, 2, 10, 11]);
    assert!(bench.a.ended.iter().all(|o| (o.status, o.len, o.imm) == (Status::WrFlushErr, 0, None)));
    assert_eq!((bench.a.port.outstanding(), bench.a.port.state(ep)), (0, None));
    bench.a.port.close(ep);
    bench.run();
    assert_eq!(bench.a.ended.len(), 5, "a second close ends nothing twice");
}

#[test]
fn a_reset_flushes_what_the_device_forgot_and_the_endpoint_lives_again() {
    let mut bench = lying(depths(4, 4), 64, 4);
    bench.fabric.link(0, 1).loss_one_in = 1;
    let orders = (0..4).map(|tag| bench.a.held_write(tag, tag)).collect();
    bench.a.post(orders);
    let (ep, peer) = (bench.a.ep, bench.b.ep);
    bench.a.port.modify(ep, QpState::Reset).unwrap();
    bench.b.port.modify(peer, QpState::Reset).unwrap();
    bench.run();
    assert_eq!(bench.a.tags(), [0, 1, 2, 3]);
    assert_eq!(bench.a.region.live_leases(), 0);
    bench.fabric.mend(0, 1);
    let (to_b, to_a) = (bench.b.port.address(peer).unwrap(), bench.a.port.address(ep).unwrap());
    bench.a.port.connect(ep, &to_b).unwrap();
    bench.b.port.connect(peer, &to_a).unwrap();
    let orders = (10..14).map(|tag| bench.a.write(tag)).collect();
    bench.a.post(orders);
    bench.run();
    assert!(bench.a.ended[4..].iter().all(|o| o.status == Status::Success), "{:?}", bench.a.ended);
    assert_eq!((bench.a.ended.len(), bench.a.anomalies()), (8, vec![]));
}

#[test]
fn an_overrun_queue_closes_its_endpoints_and_flushes_every_work() {
    let mut bench = lying(depths(16, 16), 2, 1);
    let orders = (0..6).map(|tag| bench.a.held_write(tag, tag)).collect();
    bench.a.post(orders);
    let receives = (10..12).map(|tag| bench.a.recv(tag)).collect();
    bench.a.post(receives);
    bench.settle();
    let cq = bench.a.cq;
    let events: Vec<_> = std::iter::from_fn(|| bench.a.port.poll_event()).collect();
    assert!(events.contains(&AsyncEvent::CqErr(cq)), "{events:?}");
    assert_eq!(bench.a.port.state(bench.a.ep), None);
    bench.run();
    assert_eq!(bench.a.tags(), [0, 1, 2, 3, 4, 5, 10, 11]);
    assert!(bench.a.ended.iter().all(|o| o.status == Status::WrFlushErr));
    assert_eq!((bench.a.port.outstanding(), bench.a.region.live_leases()), (0, 0));
    assert_eq!(bench.a.anomalies(), []);
}

#[test]
fn messages_end_with_what_the_device_says_of_them() {
    let mut bench = lying(depths(4, 4), 64, 1);
    let receives = vec![bench.b.recv(20), bench.b.recv(21)];
    bench.b.post(receives);
    let sends = vec![bench.a.send(7), bench.a.send(8)];
    bench.a.post(sends);
    bench.run();
    let got: Vec<_> = bench.b.ended.iter().map(|o| (o.tag, o.len, o.imm)).collect();
    assert_eq!(got, [(20, 64, Some(7)), (21, 64, Some(8))]);
    assert!(bench.a.ended.iter().all(|o| o.imm.is_none() && o.len == 64));
}

#[test]
fn works_not_taken_at_the_doorbell_end_in_order_and_give_their_credits_back() {
    let mut bench = lying(depths(8, 1), 64, 1);
    bench.a.port.backend_mut().take_only = Some(2);
    let mut batch: Batch = (0..5).map(|tag| bench.a.write(tag)).collect();
    assert_eq!(bench.a.port.post(bench.a.ep, &mut batch).unwrap(), 5, "all were posted");
    bench.run();
    let untaken: Vec<_> =
        bench.a.ended.iter().filter(|o| o.status == Status::LocQpOpErr).map(|o| o.tag).collect();
    assert_eq!(untaken, [2, 3, 4], "what the device left behind never began");
    let done = bench.a.ended.iter().filter(|o| o.status == Status::Success).count();
    assert_eq!((done, bench.a.port.outstanding()), (2, 0));
    let batch: Batch = (5..13).map(|tag| bench.a.write(tag)).collect();
    pump(&mut bench, batch);
    assert_eq!(bench.a.ended.len(), 13);
    assert_eq!(bench.a.anomalies(), []);
}
