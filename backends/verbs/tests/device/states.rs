//! States of an endpoint, and connecting it again.

use wavetank_contract::error::{ConnectError, ModifyError, PostError};
use wavetank_contract::{AsyncEvent, Backend, EndpointAddress, EpId, Op, QpState, Status};

use crate::lab::{Pair, Side, connect, devices, wait_for};

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn an_endpoint_begins_in_reset_and_takes_receives_from_init_on() {
    let Some((a, b)) = devices() else { return };
    let (mut a, mut b) = (Side::open(&a), Side::open(&b));
    if !a.dev.caps().qp_states {
        return;
    }
    let pieces = [a.piece(0, 64)];
    let recv = a.work(Op::Recv, &pieces);
    let state = QpState::Reset;
    assert_eq!(a.dev.state(a.ep), Some(state));
    assert_eq!(a.dev.post(a.ep, &recv), Err(PostError::WrongState { ep: a.ep, state }));
    a.dev.modify(a.ep, QpState::Init).expect("legal");
    a.dev.modify(a.ep, QpState::Init).expect("legal");
    let state = QpState::Init;
    assert_eq!(a.dev.state(a.ep), Some(state));
    a.dev.post(a.ep, &recv).expect("taken in INIT");
    a.dev.ring(a.ep).expect("taken in INIT");
    let send = a.work(Op::Send { imm: None }, &pieces);
    assert_eq!(a.dev.post(a.ep, &send), Err(PostError::WrongState { ep: a.ep, state }));
    connect(&mut a, &mut b);
    let mut p = Pair::connected_already(a, b);
    let give = p.b.piece(0, 64);
    let sent = p.b.post(Op::Send { imm: None }, &[give]);
    assert_eq!(p.finish_b(sent).status, Status::Success);
    assert_eq!(p.finish(recv.id).status, Status::Success, "the receive posted in INIT took it");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn transitions_the_table_does_not_have_are_refused() {
    let Some((a, b)) = devices() else { return };
    let (mut a, mut b) = (Side::open(&a), Side::open(&b));
    if !a.dev.caps().qp_states {
        return;
    }
    let ep = a.ep;
    let illegal = |from, to| Err(ModifyError::IllegalTransition { from, to });
    assert_eq!(a.dev.modify(ep, QpState::Rts), illegal(QpState::Reset, QpState::Rts));
    a.dev.modify(ep, QpState::Init).expect("legal");
    assert_eq!(a.dev.modify(ep, QpState::Rtr), Err(ModifyError::NoPeer(ep)));
    connect(&mut a, &mut b);
    assert_eq!(a.dev.modify(ep, QpState::Init), illegal(QpState::Rts, QpState::Init));
    a.dev.modify(ep, QpState::Rts).expect("legal");
    let to_b = b.dev.address(b.ep).expect("open");
    let state = QpState::Rts;
    assert_eq!(a.dev.connect(ep, &to_b), Err(ConnectError::WrongState { ep, state }));
    assert_eq!(a.dev.modify(EpId(9), QpState::Err), Err(ModifyError::Unknown(EpId(9))));
    assert_eq!(a.dev.state(EpId(9)), None);
    a.dev.close(ep);
    assert_eq!((a.dev.state(ep), a.dev.address(ep)), (None, None));
    assert_eq!(a.dev.connect(ep, &to_b), Err(ConnectError::Unknown(ep)));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn an_address_that_is_none_changes_nothing() {
    let Some((a, _)) = devices() else { return };
    let mut a = Side::open(&a);
    for bytes in [&b""[..], b"WTV1", &[0xff; 38], &[0; 4096]] {
        let bytes = EndpointAddress::from_bytes(bytes).expect("short");
        assert!(matches!(a.dev.connect(a.ep, &bytes), Err(ConnectError::Malformed { .. })));
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn reset_forgets_what_was_posted_and_the_endpoint_connects_anew() {
    let Some(mut p) = Pair::open() else { return };
    if !p.a.dev.caps().qp_states {
        return;
    }
    for round in 0..3u8 {
        // Left behind: receives on one side, a send that nobody takes on the other.
        let (piece, give) = (p.a.piece(0, 4096), p.b.piece(0, 64));
        for _ in 0..3 {
            p.a.post(Op::Recv, &[piece]);
        }
        let sent = p.b.post(Op::Send { imm: None }, &[give]);
        assert_eq!(p.finish_b(sent).status, Status::Success);
        let before = p.a.dev.address(p.a.ep).expect("open");
        for side in [&mut p.a, &mut p.b] {
            side.dev.modify(side.ep, QpState::Reset).expect("always legal");
            assert_eq!(side.dev.state(side.ep), Some(QpState::Reset));
            side.turn();
            side.done.clear();
        }
        assert_ne!(p.a.dev.address(p.a.ep).expect("open").as_bytes(), before.as_bytes(), "another PSN");
        connect(&mut p.a, &mut p.b);
        p.b.fill(0, 500, round);
        let (take, give) = (p.a.piece(8192, 500), p.b.piece(0, 500));
        let recv = p.a.post(Op::Recv, &[take]);
        let sent = p.b.post(Op::Send { imm: None }, &[give]);
        assert_eq!(p.finish_b(sent).status, Status::Success);
        assert_eq!(p.finish(recv).len, 500, "the new receive took it, not one from before");
        assert!(p.a.holds(8192, 500, round));
        assert_eq!((p.a.done.len(), p.b.done.len()), (1, 1), "nothing from before is told");
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_drained_queue_says_so_and_waits_for_rts() {
    let Some(mut p) = Pair::open() else { return };
    if !p.a.dev.caps().qp_states {
        return;
    }
    let (piece, remote) = (p.a.piece(0, 4096), p.remote(0));
    let before = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    assert_eq!(p.finish(before).status, Status::Success);
    p.a.dev.modify(p.a.ep, QpState::Sqd).expect("legal");
    let ep = p.a.ep;
    p.until("the event", |a, _| a.events.contains(&AsyncEvent::SqDrained(ep)));
    assert_eq!(p.a.dev.state(ep), Some(QpState::Sqd));
    let held = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    let early = wait_for(&mut [&mut p.a, &mut p.b], 300, |s| s[0].of(held).is_some());
    assert!(!early, "nothing starts in SQD");
    p.a.dev.modify(ep, QpState::Rts).expect("legal");
    assert_eq!(p.finish(held).status, Status::Success);
}
