//! Queues: what fills them, what frees them, and what happens when a completion queue overruns.

use wavetank_contract::error::{OpenError, PostError};
use wavetank_contract::*;

use crate::lab::*;

fn tiny(lab: &Lab, id: u64) -> W {
    write(id, &[lab.piece(0, 0, 8)], lab.at(1, 0))
}

#[test]
fn a_full_send_queue_refuses_and_keeps_what_was_posted_before() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.send_depth = 5, |_| {});
    let results: Vec<_> = (0..7).map(|i| lab.post(a, &tiny(&lab, i).clone())).collect();
    let full = Err(PostError::QueueFull { ep: a.ep, depth: 5 });
    assert_eq!(results, [Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), full, full]);
    lab.go(a, &[]);
    lab.run();
    assert_eq!(lab.post(a, &tiny(&lab, 9)), full, "done but not polled: the slots are not free");
    assert_good(&lab.ends(0), 0..5);
    let works: Vec<W> = (10..15).map(|i| tiny(&lab, i)).collect();
    lab.go(a, &works);
    lab.run();
    assert_good(&lab.ends(0), 10..15);
}

#[test]
fn each_polled_completion_frees_its_slot_and_those_before_it() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.send_depth = 4, |_| {});
    lab.go(a, &[tiny(&lab, 0), tiny(&lab, 1).silent(), tiny(&lab, 2), tiny(&lab, 3)]);
    lab.run();
    let mut one = Completions::with_capacity(1);
    let cq = lab.nodes[0].cq;
    for (free, next) in [(1, 10), (2, 20), (1, 30)] {
        one.clear();
        assert_eq!(lab.nodes[0].nic.poll(cq, &mut one), 1, "no more than there is room for");
        for i in 0..free {
            let w = tiny(&lab, next + i).silent();
            lab.post(a, &w).unwrap();
        }
        assert!(lab.post(a, &tiny(&lab, 99)).is_err());
    }
}

#[test]
fn unsignalled_works_alone_fill_the_queue_for_ever() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.send_depth = 3, |_| {});
    let works: Vec<W> = (0..3).map(|i| tiny(&lab, i).silent()).collect();
    lab.go(a, &works);
    lab.run();
    assert!(lab.ends(0).is_empty());
    let full = Err(PostError::QueueFull { ep: a.ep, depth: 3 });
    assert_eq!(lab.post(a, &tiny(&lab, 4)), full);
    lab.run();
    assert_eq!(lab.post(a, &tiny(&lab, 4)), full);
}

#[test]
fn a_full_receive_queue_refuses_until_a_receive_was_polled() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |_| {}, |s| s.recv_depth = 2);
    lab.go(b, &[recv(1, &[]), recv(2, &[])]);
    let full = Err(PostError::QueueFull { ep: b.ep, depth: 2 });
    assert_eq!(lab.post(b, &recv(3, &[])), full);
    lab.go(a, &[send(1, &[])]);
    lab.run();
    assert_eq!(lab.post(b, &recv(3, &[])), full);
    assert_good(&lab.ends(1), [1]);
    assert_eq!(lab.post(b, &recv(3, &[])), Ok(()));
    assert_eq!(lab.post(b, &recv(4, &[])), full);
}

#[test]
fn an_endpoint_with_no_receive_queue_takes_no_receive() {
    let mut lab = Lab::new(2);
    let (_, b) = lab.pair_with(0, 1, |_| {}, |s| s.recv_depth = 0);
    assert_eq!(lab.post(b, &recv(3, &[])), Err(PostError::QueueFull { ep: b.ep, depth: 0 }));
}

#[test]
fn rings_of_any_depth_keep_order_over_many_rounds() {
    for depth in [1, 2, 3, 5, 8, 13] {
        let mut lab = Lab::new(2);
        let tune = |s: &mut EndpointSpec| (s.send_depth, s.recv_depth) = (depth, depth);
        let (a, b) = lab.pair_with(0, 1, tune, tune);
        let (mut posted, mut done, mut got) = (0, 0, 0);
        while done < 100 {
            while lab.post(b, &recv(posted, &[lab.piece(1, 0, 8)]).clone()).is_ok() {
                lab.post(a, &send(posted, &[]).inline(&posted.to_le_bytes())).unwrap();
                posted += 1;
            }
            lab.go(a, &[]);
            lab.run();
            for (id, status) in lab.ends(0) {
                assert_eq!((id, status), (done, Status::Success));
                done += 1;
            }
            for (id, status) in lab.ends(1) {
                assert_eq!((id, status), (got, Status::Success));
                got += 1;
            }
        }
        assert_eq!(lab.word(1, 0), done - 1);
    }
}

#[test]
fn an_overrun_queue_is_dead_and_takes_its_endpoints_with_it() {
    let mut lab = Lab::new(2);
    let small = lab.nodes[0].nic.open_cq(3).unwrap();
    let (a, _) = lab.pair_with(0, 1, |s| s.send_cq = small, |_| {});
    let (shares, _) = lab.pair_with(0, 1, |s| s.recv_cq = small, |_| {});
    let (other, _) = lab.pair(0, 1);
    let works: Vec<W> = (0..5).map(|i| tiny(&lab, i)).collect();
    lab.go(shares, &[recv(50, &[])]);
    lab.go(a, &[recv(60, &[])]);
    lab.go(a, &works);
    lab.run();
    let dead = [AsyncEvent::CqErr(small), AsyncEvent::QpFatal(a.ep), AsyncEvent::QpFatal(shares.ep)];
    assert_eq!(lab.events(0), dead);
    assert_eq!([a, shares, other].map(|e| lab.state(e)), [QpState::Err, QpState::Err, QpState::Rts]);
    assert_eq!(lab.ends(0), [(60, Status::WrFlushErr)], "its other queue still tells");
    let left: Vec<_> = lab.poll_cq(0, small).iter().map(|c| c.id.0).collect();
    assert_eq!(left, [0, 1, 2], "what was in it before");
    // Nothing more ever comes, though there would be room.
    lab.go(a, &[tiny(&lab, 9)]);
    lab.run();
    assert!(lab.poll_cq(0, small).is_empty());
    assert!(lab.events(0).is_empty(), "told once");
    // The other endpoint never noticed.
    lab.go(other, &[tiny(&lab, 70)]);
    lab.run();
    assert_good(&lab.ends(0), [70]);
    let mut spec = lab.spec(0);
    spec.recv_cq = small;
    assert_eq!(lab.nodes[0].nic.open(&spec), Err(OpenError::UnknownCq(small)));
}

#[test]
fn a_queue_filled_to_the_brim_has_not_overrun() {
    let mut lab = Lab::new(2);
    let small = lab.nodes[0].nic.open_cq(3).unwrap();
    let (a, _) = lab.pair_with(0, 1, |s| s.send_cq = small, |_| {});
    for round in 0..5 {
        let works: Vec<W> = (0..3).map(|i| tiny(&lab, round * 3 + i)).collect();
        lab.go(a, &works);
        lab.run();
        assert_eq!(lab.poll_cq(0, small).len(), 3);
    }
    assert!(lab.events(0).is_empty());
}

#[test]
fn a_flush_can_overrun_a_queue_too() {
    let mut lab = Lab::new(2);
    let small = lab.nodes[0].nic.open_cq(2).unwrap();
    let (a, _) = lab.pair_with(0, 1, |s| s.recv_cq = small, |_| {});
    lab.go(a, &[recv(1, &[]), recv(2, &[]), recv(3, &[])]);
    lab.nic(a).modify(a.ep, QpState::Err).unwrap();
    assert_eq!(lab.events(0), [AsyncEvent::CqErr(small)], "the endpoint was dead already");
    assert_eq!(lab.poll_cq(0, small).len(), 2);
}

#[test]
fn works_posted_to_a_dead_endpoint_are_taken_and_flushed() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| (s.send_depth, s.recv_depth) = (2, 2), |_| {});
    lab.nic(a).modify(a.ep, QpState::Err).unwrap();
    for _ in 0..3 {
        let bad = write(1, &[lab.piece(0, u64::MAX, 8)], lab.at(1, u64::MAX)).silent();
        lab.go(a, &[bad, recv(2, &[]), tiny(&lab, 3)]);
        assert!(lab.post(a, &tiny(&lab, 4)).is_err(), "a dead queue has a depth, too");
        lab.run();
        let flush = Status::WrFlushErr;
        assert_eq!(lab.ends(0), [(1, flush), (2, flush), (3, flush)]);
    }
    lab.check();
}

#[test]
fn the_host_is_told_once_to_look_and_again_after_it_did() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    assert_eq!(lab.nodes[0].nic.wake(), Wake::Idle);
    lab.go(a, &[tiny(&lab, 1), tiny(&lab, 2)]);
    lab.run();
    let mut ready = Vec::new();
    lab.fabric.take_ready(&mut ready);
    assert_eq!((ready.as_slice(), lab.nodes[0].nic.wake()), (&[0u16][..], Wake::Now));
    assert_eq!(lab.ends(0).len(), 2);
    assert_eq!(lab.nodes[0].nic.wake(), Wake::Idle);
    ready.clear();
    lab.go(a, &[tiny(&lab, 3)]);
    lab.run();
    lab.fabric.take_ready(&mut ready);
    assert_eq!(ready, [0]);
}
