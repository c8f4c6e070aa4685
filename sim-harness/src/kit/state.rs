//! The states of a queue pair: which moves there are, and what each does to the works.

use wavetank_contract::error::{ModifyError, PostError};
use wavetank_contract::{AsyncEvent, Backend, OpKind, QpState, Status};

use super::bench::{A, B, Bench, End, MS, PLAIN};
use super::case::{Case, raw};
use super::stop::{Ended, ensure, fail};
use super::work::{W, read, recv, send, write};
use crate::lab::Lab;

const FLUSHED: Status = Status::WrFlushErr;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(States, works_are_taken_only_in_states_that_take_them, QpStates),
        raw!(States, only_the_moves_of_the_table_are_made, QpStates),
        raw!(States, receives_posted_before_connecting_serve_the_connection, QpStates),
        raw!(States, err_flushes_everything_outstanding, QpStates, Reads),
        raw!(States, sqd_holds_what_is_posted_until_rts, QpStates),
        raw!(States, a_drained_send_queue_is_told, QpStates, AsyncEvents),
        raw!(States, reset_forgets_what_was_outstanding, QpStates),
        raw!(States, a_reset_endpoint_connects_again, QpStates),
        raw!(States, a_device_without_states_refuses_to_move, NoQpStates),
    ]
}

fn wrong_state(error: &PostError) -> bool {
    matches!(error, PostError::WrongState { .. })
}

fn works_are_taken_only_in_states_that_take_them<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let x = b.open(A, PLAIN)?;
    let here = b.piece(A, 0, 8);
    ensure!(b.state(x) == Some(QpState::Reset), "a new endpoint is in {:?}", b.state(x));
    b.is_refused(x, &send(1, &[here]), wrong_state)?;
    b.is_refused(x, &recv(2, &[here]), wrong_state)?;
    b.modify(x, QpState::Init)?;
    ensure!(b.state(x) == Some(QpState::Init), "moved to INIT, it is in {:?}", b.state(x));
    b.is_refused(x, &send(3, &[here]), wrong_state)?;
    b.go(x, &[recv(4, &[here])])?;
    b.close(x);
    b.check()
}

/// Lets an idle send queue drain: until then, devices may refuse to go on (rxe_qp.c, rxe_qp_chk_attr).
fn drained<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let soon = b.now() + 20 * MS;
    b.look_until(soon)
}

/// None of these moves is made.
fn stays<L: Lab>(b: &mut Bench<'_, L>, end: End, illegal: &[QpState]) -> Ended {
    let from = b.state(end);
    for to in illegal {
        match b.device(end.side).modify(end.ep, *to) {
            Ok(()) => fail!("an endpoint went from {from:?} to {to:?}"),
            Err(ModifyError::IllegalTransition { .. } | ModifyError::NoPeer(_)) => {}
            Err(error) => fail!("going from {from:?} to {to:?} was refused for another reason: {error}"),
        }
        ensure!(b.state(end) == from, "a refused move left {from:?} for {:?}", b.state(end));
    }
    Ok(())
}

fn only_the_moves_of_the_table_are_made<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    use QpState::{Err, Init, Reset, Rtr, Rts, Sqd};
    let (x, y) = (b.open(A, PLAIN)?, b.open(B, PLAIN)?);
    stays(b, x, &[Rtr, Rts, Sqd])?;
    b.modify(x, Init)?;
    b.modify(x, Init)?;
    stays(b, x, &[Rtr, Rts, Sqd])?;
    b.connect(x, y)?;
    stays(b, x, &[Init, Rtr])?;
    b.modify(x, Rts)?;
    b.modify(x, Sqd)?;
    stays(b, x, &[Init, Rtr])?;
    drained(b)?;
    b.modify(x, Rts)?;
    b.modify(x, Err)?;
    stays(b, x, &[Init, Rtr, Rts, Sqd])?;
    b.modify(x, Err)?;
    b.modify(x, Reset)?;
    b.modify(x, Reset)?;
    stays(b, x, &[Rtr, Rts, Sqd])?;
    ensure!(b.state(y) == Some(Rts), "the peer followed into {:?}", b.state(y));
    b.check()
}

fn receives_posted_before_connecting_serve_the_connection<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = (b.open(A, PLAIN)?, b.open(B, PLAIN)?);
    b.modify(y, QpState::Init)?;
    b.go(y, &[recv(9, &[b.piece(B, 4096, 64)])])?;
    b.connect(x, y)?;
    b.go(x, &[send(1, &[b.piece(A, 0, 64)])])?;
    b.good(x, [1])?;
    b.meets(y, 9, OpKind::Send, 64, None)?;
    b.copied((A, 0), (B, 4096), 64);
    b.check()
}

fn err_flushes_everything_outstanding<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    // A peer in ERR answers nothing: none of this ends before its time.
    let (x, y) = b.pair_with(&|spec| spec.timeout = 20, PLAIN)?;
    b.modify(y, QpState::Err)?;
    let receives: Vec<W> = (10..13).map(|id| recv(id, &[b.piece(A, 131_072, 64)])).collect();
    b.go(x, &receives)?;
    let works = [
        read(1, &[b.piece(A, 200_000, 9000)], b.at(x, 0)).silent(),
        write(2, &[b.piece(A, 0, 9000)], b.at(x, 64)),
        send(3, &[b.piece(A, 0, 9000)]).silent(),
    ];
    b.go(x, &works)?;
    b.modify(x, QpState::Err)?;
    b.sends(x, &[(1, FLUSHED), (2, FLUSHED), (3, FLUSHED)])?;
    b.receives(x, &[(10, FLUSHED), (11, FLUSHED), (12, FLUSHED)])?;
    ensure!(b.state(x) == Some(QpState::Err), "moved to ERR, it is in {:?}", b.state(x));
    b.check()
}

fn sqd_holds_what_is_posted_until_rts<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], b.at(x, 4096))])?;
    b.good(x, [1])?;
    b.copied((A, 0), (B, 4096), 64);
    b.modify(x, QpState::Sqd)?;
    b.go(x, &[write(2, &[b.piece(A, 64, 64)], b.at(x, 8192))])?;
    drained(b)?;
    ensure!(!b.is_idle(), "a work posted in SQD was done before RTS");
    b.check()?;
    b.modify(x, QpState::Rts)?;
    b.good(x, [2])?;
    b.copied((A, 64), (B, 8192), 64);
    b.check()
}

fn a_drained_send_queue_is_told<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], b.at(x, 4096))])?;
    b.good(x, [1])?;
    b.copied((A, 0), (B, 4096), 64);
    b.modify(x, QpState::Sqd)?;
    b.event(A, AsyncEvent::SqDrained(x.ep))?;
    b.modify(x, QpState::Rts)
}

fn reset_forgets_what_was_outstanding<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    // One that is complete and was not polled, and one that waits for a message.
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], b.at(x, 4096)), recv(2, &[])])?;
    b.pass(50 * MS);
    b.copied((A, 0), (B, 4096), 64);
    for end in [x, y] {
        b.modify(end, QpState::Reset)?;
        b.forget(end);
        ensure!(b.state(end) == Some(QpState::Reset), "reset, it is in {:?}", b.state(end));
    }
    b.pass(20 * MS);
    b.check()
}

fn a_reset_endpoint_connects_again<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    for life in 0..3u64 {
        let (at, to) = (64 * life, 4096 + 64 * life);
        b.go(y, &[recv(life, &[b.piece(B, to, 64)])])?;
        b.go(x, &[send(life, &[b.piece(A, at, 64)])])?;
        b.good(x, [life])?;
        b.meets(y, life, OpKind::Send, 64, None)?;
        b.copied((A, at as usize), (B, to as usize), 64);
        b.check()?;
        b.modify(x, QpState::Reset)?;
        b.modify(y, QpState::Reset)?;
        b.connect(x, y)?;
    }
    Ok(())
}

fn a_device_without_states_refuses_to_move<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let x = b.open(A, PLAIN)?;
    for to in [QpState::Init, QpState::Rtr, QpState::Rts, QpState::Sqd] {
        let refused = b.device(A).modify(x.ep, to);
        let expected = Err(ModifyError::Unsupported);
        ensure!(refused == expected, "moving to {to:?}: {refused:?}; expected {expected:?}");
    }
    b.check()
}
