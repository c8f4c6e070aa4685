//! Handshakes of iWARP devices: what becomes of those that lead nowhere. Other devices have none, and pass.

use wavetank_contract::error::{ConnectError, ModifyError};
use wavetank_contract::{Backend, EndpointSpec, Op, QpState, Status};

use crate::lab::{Side, connect, devices, wait};

/// Two sides on iWARP devices.
fn sides() -> Option<(Side, Side)> {
    let (a, b) = devices()?;
    let sides = (Side::open(&a), Side::open(&b));
    (!sides.0.dev.caps().qp_states).then_some(sides)
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_peer_that_is_gone_before_it_was_called_is_an_endpoint_in_err() {
    let Some((mut a, mut b)) = sides() else { return };
    // One of the two is the caller and learns of a refusal, the other waits for a call until its patience ends.
    for round in 0..2 {
        let (side, peer) = if round == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let gone = peer.dev.open(&EndpointSpec::new(peer.cq)).expect("an endpoint");
        let address = peer.dev.address(gone).expect("open");
        peer.dev.close(gone);
        side.dev.connect(side.ep, &address).expect("nobody knows yet");
        let (ep, state) = (side.ep, QpState::Init);
        assert_eq!(side.dev.state(ep), Some(state));
        assert_eq!(side.dev.connect(ep, &address), Err(ConnectError::WrongState { ep, state }));
        wait(&mut [side, peer], "ERR", |s| s[0].dev.state(ep) == Some(QpState::Err));
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_side_that_is_told_late_finds_its_peers_call_waiting() {
    let Some((mut a, mut b)) = sides() else { return };
    for first in [true, false] {
        (a.ep, b.ep) = (
            a.dev.open(&EndpointSpec::new(a.cq)).expect("an endpoint"),
            b.dev.open(&EndpointSpec::new(b.cq)).expect("an endpoint"),
        );
        let (to_a, to_b) = (a.dev.address(a.ep).expect("open"), b.dev.address(b.ep).expect("open"));
        let (early, late) = if first { (&mut a, &mut b) } else { (&mut b, &mut a) };
        early.dev.connect(early.ep, if first { &to_b } else { &to_a }).expect("begun");
        crate::lab::wait_for(&mut [&mut *early, &mut *late], 300, |_| false);
        assert_eq!(late.dev.state(late.ep), Some(QpState::Init));
        late.dev.connect(late.ep, if first { &to_a } else { &to_b }).expect("begun");
        wait(&mut [early, late], "both to be ready", |s| {
            s.iter().all(|side| side.dev.state(side.ep) == Some(QpState::Rts))
        });
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn receives_posted_before_the_handshake_take_the_first_messages() {
    let Some((mut a, mut b)) = sides() else { return };
    let pieces = [a.piece(0, 64), b.piece(0, 64)];
    let early = [a.post(Op::Recv, &[pieces[0]]), b.post(Op::Recv, &[pieces[1]])];
    assert_eq!(a.dev.modify(a.ep, QpState::Reset), Err(ModifyError::Unsupported));
    connect(&mut a, &mut b);
    // Whoever was called may speak as soon as it is ready.
    a.post(Op::Send { imm: None }, &[pieces[0]]);
    b.post(Op::Send { imm: None }, &[pieces[1]]);
    wait(&mut [&mut a, &mut b], "both messages", |s| (0..2).all(|i| s[i].of(early[i]).is_some()));
    for (side, id) in [(&a, early[0]), (&b, early[1])] {
        let got = side.of(id).expect("it is there");
        assert_eq!((got.status, got.len), (Status::Success, 64));
    }
}
