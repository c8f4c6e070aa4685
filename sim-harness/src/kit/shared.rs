//! Receive queues that endpoints share.

use wavetank_contract::error::{ModifyError, OpenError, PostError};
use wavetank_contract::{AsyncEvent, Backend, OpKind, PdId, QpState, SrqId, Status};

use super::bench::{A, B, Bench, End, MS, PLAIN};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, Stop, ensure, fail};
use super::work::{recv, send, write};
use crate::lab::Lab;

/// Depth of the shared queue.
const DEPTH: u32 = 8;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Shared, endpoints_take_from_one_receive_queue, SharedReceives),
        raw!(Shared, a_write_with_an_immediate_takes_from_it_too, SharedReceives, Immediate),
        raw!(Shared, an_empty_shared_queue_is_no_receive, SharedReceives),
        raw!(Shared, a_shared_queue_that_runs_low_is_told_once, SharedReceives, AsyncEvents),
        raw!(Shared, a_shared_queue_takes_its_depth_and_no_more, SharedReceives),
        raw!(Shared, a_shared_queue_is_as_deep_as_promised, SharedReceives),
        raw!(Shared, an_endpoint_that_dies_leaves_the_receives_to_the_others, SharedReceives, QpStates),
        raw!(Shared, an_endpoint_that_shares_takes_no_receives_of_its_own, SharedReceives),
        raw!(Shared, a_shared_queue_of_another_domain_is_refused, SharedReceives),
        raw!(Shared, an_unknown_shared_queue_is_refused, SharedReceives),
        raw!(Shared, shared_queues_that_are_not_promised_are_refused, NoSharedReceives),
    ]
}

fn open<L: Lab>(b: &mut Bench<'_, L>) -> Result<SrqId, Stop> {
    b.device(B).open_srq(PdId(0), DEPTH).or_fail("b: a shared receive queue")
}

/// Posts receive `id`, with its own place at B.
fn give<L: Lab>(b: &mut Bench<'_, L>, srq: SrqId, id: u64) -> Ended {
    let work = recv(id, &[b.piece(B, place(id) as u64, 64)]);
    b.give(B, srq, &work).or_fail(format!("b: shared receive {id}"))
}

fn place(id: u64) -> usize {
    65_536 + 64 * id as usize
}

/// Sends message `id` to where receive `to` is.
fn deliver<L: Lab>(b: &mut Bench<'_, L>, (x, y): (End, End), id: u64, to: u64) -> Ended {
    b.go(x, &[send(id, &[b.piece(A, 100 * id, 60)])])?;
    b.good(x, [id])?;
    b.meets(y, to, OpKind::Send, 60, None)?;
    b.copied((A, 100 * id as usize), (B, place(to)), 60);
    b.check()
}

fn endpoints_take_from_one_receive_queue<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = open(b)?;
    let pairs = [b.sharing(srq)?, b.sharing(srq)?, b.sharing(srq)?];
    for id in 0..6 {
        give(b, srq, id)?;
    }
    for id in 0..6 {
        deliver(b, pairs[2 - id as usize % 3], id, id)?;
    }
    Ok(())
}

fn a_write_with_an_immediate_takes_from_it_too<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = open(b)?;
    let (x, y) = b.sharing(srq)?;
    give(b, srq, 0)?;
    b.go(x, &[write(1, &[b.piece(A, 0, 5000)], b.at(x, 131_072)).imm(77)])?;
    b.good(x, [1])?;
    b.meets(y, 0, OpKind::WriteImm, 5000, Some(77))?;
    b.copied((A, 0), (B, 131_072), 5000);
    b.check()
}

fn an_empty_shared_queue_is_no_receive<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = open(b)?;
    let (x, y) = b.sharing(srq)?;
    b.go(x, &[send(1, &[b.piece(A, 0, 64)])])?;
    b.sends(x, &[(1, Status::RnrRetryExcErr)])?;
    ensure!(b.state(y) == Some(QpState::Rts), "the side that had no receive is in {:?}", b.state(y));
    b.check()
}

fn a_shared_queue_that_runs_low_is_told_once<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = open(b)?;
    let pair = b.sharing(srq)?;
    for id in 0..6 {
        give(b, srq, id)?;
    }
    b.device(B).arm_srq(srq, 4).or_fail("b: arming a shared receive queue")?;
    deliver(b, pair, 0, 0)?;
    b.idle(20 * MS)?;
    ensure!(b.events(B).is_empty(), "told of a queue that has as many receives left as were asked for");
    deliver(b, pair, 1, 1)?;
    deliver(b, pair, 2, 2)?;
    b.event(B, AsyncEvent::SrqLimitReached(srq))?;
    deliver(b, pair, 3, 3)?;
    b.idle(20 * MS)?;
    ensure!(b.events(B).is_empty(), "told again of a queue that was not armed again");
    let above = b.device(B).arm_srq(srq, u32::MAX);
    ensure!(above.is_err(), "a limit above the depth of its queue was taken");
    Ok(())
}

fn a_shared_queue_takes_its_depth_and_no_more<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = open(b)?;
    let pair = b.sharing(srq)?;
    for id in 0..u64::from(DEPTH) {
        give(b, srq, id)?;
    }
    let over = recv(99, &[]);
    for id in 0..3u64 {
        ensure!(b.give(B, srq, &over).is_err(), "a shared receive beyond the depth of its queue was taken");
        deliver(b, pair, id, id)?;
        give(b, srq, u64::from(DEPTH) + id)?;
    }
    Ok(())
}

fn a_shared_queue_is_as_deep_as_promised<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let max = b.caps(B).shared_receive_depth_max;
    b.device(B).open_srq(PdId(0), max.min(4096)).or_fail("a shared receive queue as deep as promised")?;
    for depth in [0, max.saturating_add(1)] {
        match b.device(B).open_srq(PdId(0), depth) {
            Err(OpenError::OutOfRange { .. }) => {}
            Ok(_) => fail!("a shared receive queue of a depth that is not promised was opened"),
            Err(error) => fail!("a depth that is not promised was refused as something else: {error}"),
        }
    }
    b.check()
}

fn an_endpoint_that_dies_leaves_the_receives_to_the_others<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = open(b)?;
    let (dying, living) = (b.sharing(srq)?, b.sharing(srq)?);
    give(b, srq, 0)?;
    give(b, srq, 1)?;
    b.modify(dying.1, QpState::Err)?;
    deliver(b, living, 0, 0)?;
    b.close(dying.1);
    deliver(b, living, 1, 1)
}

fn an_endpoint_that_shares_takes_no_receives_of_its_own<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = open(b)?;
    let (_, y) = b.sharing(srq)?;
    b.is_refused(y, &recv(1, &[]), |_| true)?;
    b.check()
}

fn a_shared_queue_of_another_domain_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let srq = b.device(B).open_srq(PdId(1), DEPTH).or_fail("b: a shared receive queue")?;
    let mut spec = b.spec(B);
    (spec.shared_receive, spec.recv_depth) = (Some(srq), 0);
    let refused = b.device(B).open(&spec);
    let expected = Err(OpenError::UnknownSrq(srq));
    ensure!(refused == expected, "sharing with another domain: {refused:?}; expected {expected:?}");
    b.check()
}

fn an_unknown_shared_queue_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let nowhere = SrqId(0x7fff);
    let posted = b.give(B, nowhere, &recv(1, &[]));
    ensure!(matches!(posted, Err(PostError::Gone(_))), "a receive for an unknown queue: {posted:?}");
    let armed = b.device(B).arm_srq(nowhere, 1);
    let expected = Err(ModifyError::UnknownSrq(nowhere));
    ensure!(armed == expected, "arming an unknown queue: {armed:?}; expected {expected:?}");
    b.check()
}

fn shared_queues_that_are_not_promised_are_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let opened = b.device(B).open_srq(PdId(0), DEPTH);
    let rightly = matches!(opened, Err(OpenError::NotPromised(_)));
    ensure!(rightly, "a shared receive queue: {opened:?}; expected NotPromised");
    let posted = b.give(B, SrqId(0), &recv(1, &[]));
    ensure!(
        matches!(posted, Err(PostError::NotPromised(_))),
        "a shared receive: {posted:?}; expected NotPromised"
    );
    let armed = b.device(B).arm_srq(SrqId(0), 1);
    ensure!(armed == Err(ModifyError::Unsupported), "arming: {armed:?}; expected Unsupported");
    b.open(B, PLAIN).map(drop)
}
