//! Queues: their limits, who shares them, and what is left in them.

use wavetank_contract::error::{OpenError, PostError};
use wavetank_contract::{AsyncEvent, Backend, CqId, EndpointSpec, Op, QpState, Status};
use wavetank_verbs::{VerbsConfig, VerbsDevice};

use crate::lab::{Pair, Side, another, connect, devices, wait_for};

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_full_queue_is_said_at_the_post_and_polling_makes_room() {
    let Some(mut p) = Pair::shaped(|s| (s.send_depth, s.recv_depth) = (5, 3)) else { return };
    let (pieces, remote, ep) = ([p.a.piece(0, 8)], p.remote(0), p.a.ep);
    for depth in [5u32, 3] {
        let op = if depth == 5 { Op::Write { remote, imm: None } } else { Op::Recv };
        for _ in 0..depth {
            let work = p.a.work(op, &pieces);
            p.a.dev.post(ep, &work).expect("a free place");
        }
        let work = p.a.work(op, &pieces);
        assert_eq!(p.a.dev.post(ep, &work), Err(PostError::QueueFull { ep, depth }));
        p.a.dev.ring(ep).expect("taken");
    }
    p.until("the sends", |a, _| a.done.len() == 5);
    let id = p.a.post(Op::Write { remote, imm: None }, &pieces);
    assert_eq!(p.finish(id).status, Status::Success);
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_batch_longer_than_a_chain_is_taken_whole_and_in_order() {
    let Some(mut p) = Pair::shaped(|s| (s.send_depth, s.recv_depth) = (200, 200)) else { return };
    p.a.fill(0, 8 * 200, 8);
    for i in 0..200u64 {
        let pieces = [p.a.piece(8 * i, 8)];
        let remote = p.remote(8 * i);
        let work = p.a.work(Op::Write { remote, imm: None }, &pieces);
        p.a.dev.post(p.a.ep, &work).expect("a free place");
    }
    p.a.dev.ring(p.a.ep).expect("taken");
    p.until("all of them", |a, _| a.done.len() == 200);
    assert!(p.a.done.iter().zip(1..).all(|(c, id)| c.id.0 == id && c.status == Status::Success));
    assert!(p.b.holds(0, 8 * 200, 8));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn limits_are_named() {
    let Some((a, _)) = devices() else { return };
    let mut side = Side::open(&a);
    let caps = side.dev.caps().clone();
    let mut open = |shape: fn(&mut EndpointSpec)| {
        let mut spec = EndpointSpec::new(side.cq);
        shape(&mut spec);
        side.dev.open(&spec)
    };
    let names = |field| {
        move |e: OpenError| assert!(matches!(e, OpenError::OutOfRange { field: f, .. } if f == field))
    };
    open(|s| s.send_depth = 0).map_err(names("send_depth")).expect_err("refused");
    open(|s| s.send_depth = u32::MAX).map_err(names("send_depth")).expect_err("refused");
    open(|s| s.recv_depth = u32::MAX).map_err(names("recv_depth")).expect_err("refused");
    open(|s| s.timeout = 32).map_err(names("timeout")).expect_err("refused");
    open(|s| s.retry_cnt = 8).map_err(names("retry_cnt")).expect_err("refused");
    open(|s| s.rnr_retry = 8).map_err(names("rnr_retry")).expect_err("refused");
    open(|s| s.max_rd_atomic = 255).map_err(names("max_rd_atomic")).expect_err("refused");
    assert_eq!(open(|s| s.recv_cq = CqId(9)), Err(OpenError::UnknownCq(CqId(9))));
    assert!(side.dev.open_cq(0).is_err() && side.dev.open_cq(caps.cq_depth_max + 1).is_err());
    // What is promised can be had, all of it at once.
    let mut spec = EndpointSpec::new(side.cq);
    (spec.send_depth, spec.recv_depth) = (caps.queue_depth_max, caps.queue_depth_max);
    (spec.max_rd_atomic, spec.max_dest_rd_atomic) = (caps.rd_atomic_max, caps.rd_atomic_max);
    side.dev.open(&spec).expect("as promised");
    side.dev.open_cq(caps.cq_depth_max).expect("as promised");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn endpoints_that_share_a_queue_are_told_apart() {
    let Some(mut p) = Pair::open() else { return };
    let (first_a, first_b) = (p.a.ep, p.b.ep);
    let (second_a, second_b) = (another(&mut p.a), another(&mut p.b));
    (p.a.ep, p.b.ep) = (second_a, second_b);
    connect(&mut p.a, &mut p.b);
    let (piece, remote) = (p.a.piece(0, 64), p.remote(0));
    let second = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    p.a.ep = first_a;
    let first = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    p.until("both", |a, _| a.done.len() == 2);
    let ep_of = |id| p.a.done.iter().find(|c| c.id == id).expect("done").ep;
    assert_eq!((ep_of(first), ep_of(second)), (first_a, second_a));
    p.b.ep = first_b;
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn nothing_of_a_closed_endpoint_is_polled_though_its_number_is_used_again() {
    let Some(mut p) = Pair::open() else { return };
    let peer = p.b.ep;
    for round in 0..20 {
        let (piece, remote) = (p.a.piece(0, 4096), p.remote(0));
        for _ in 0..4 {
            p.a.post(Op::Write { remote, imm: None }, &[piece]);
            p.a.post(Op::Recv, &[piece]);
        }
        // Some have completed and lie in the queue, others are still under way.
        if round % 2 == 0 {
            wait_for(&mut [&mut p.b], 20, |_| false);
        }
        p.a.dev.close(p.a.ep);
        p.b.dev.close(p.b.ep);
        (p.a.ep, p.b.ep) = (another(&mut p.a), another(&mut p.b));
        connect(&mut p.a, &mut p.b);
        let id = p.a.post(Op::Write { remote, imm: None }, &[piece]);
        assert_eq!(p.finish(id).status, Status::Success);
        assert!(p.a.done.iter().all(|c| c.ep == p.a.ep && c.id == id), "round {round}: {:?}", p.a.done);
        p.a.done.clear();
    }
    assert!(p.a.dev.strays() > 0, "something was left behind, or this tested nothing");
    assert_ne!(peer, p.b.ep);
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_queue_that_overruns_says_so_and_its_endpoints_are_dead() {
    let Some((a, b)) = devices() else { return };
    let open = |name: &str| VerbsDevice::open(&VerbsConfig::new(name)).unwrap_or_else(|e| panic!("{e}"));
    let a = Side::with(open(&a), 4, |s| s.send_depth = 64);
    let mut p = Pair::connected(a, Side::with(open(&b), 64, |_| {}));
    let (pieces, remote, cq, ep) = ([p.a.piece(0, 8)], p.remote(0), p.a.cq, p.a.ep);
    for _ in 0..64 {
        let work = p.a.work(Op::Write { remote, imm: None }, &pieces);
        p.a.dev.post(ep, &work).expect("a free place");
    }
    p.a.dev.ring(ep).expect("taken");
    // Nobody polls; only the event is looked for.
    let deadline = crate::lab::now_ms() + 20_000;
    let overrun = loop {
        match p.a.dev.poll_event() {
            Some(event) => break event,
            None if crate::lab::now_ms() > deadline => panic!("no event"),
            None => {
                wait_for(&mut [&mut p.b], 20, |_| false);
            }
        }
    };
    assert_eq!(overrun, AsyncEvent::CqErr(cq));
    assert_eq!(p.a.dev.state(ep), Some(QpState::Err));
    assert_eq!(p.a.dev.open(&EndpointSpec::new(cq)), Err(OpenError::UnknownCq(cq)));
}
