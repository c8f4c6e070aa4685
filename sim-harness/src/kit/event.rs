//! Wake-ups, and what a device says unasked.

use wavetank_contract::{AsyncEvent, Backend, EpId, OpKind, QpState, Status};

use super::bench::{A, B, Bench, MS, PLAIN};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, ensure};
use super::work::{W, recv, send, write};
use crate::lab::Lab;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Events, no_wake_up_is_lost_over_many_messages),
        raw!(Events, an_idle_device_does_not_wake),
        raw!(Events, nothing_is_told_while_all_is_well),
        raw!(Events, a_violation_by_the_peer_is_told, AsyncEvents),
        raw!(Events, an_invalid_request_of_the_peer_is_told, AsyncEvents),
        raw!(Events, a_completion_queue_that_overruns_is_told_and_dead, AsyncEvents),
        raw!(Events, a_completion_queue_filled_to_the_brim_has_not_overrun),
        raw!(Events, a_device_that_promises_no_events_tells_none, NoAsyncEvents),
        raw!(Events, a_peer_that_closes_is_told, PeerCloseEvent),
        raw!(Events, a_peer_that_closes_is_silence_and_retries, PeerCloseSilence),
    ]
}

fn no_wake_up_is_lost_over_many_messages<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    // One at a time: whoever misses a wake-up has nothing else to be woken by.
    for id in 0..100u64 {
        let (at, to) = (64 * id, 65_536 + 64 * id);
        b.go(y, &[recv(2 * id, &[b.piece(B, to, 64)])])?;
        b.go(x, &[recv(2 * id, &[b.piece(A, to, 64)]), send(2 * id + 1, &[b.piece(A, at, 64)])])?;
        b.meets(y, 2 * id, OpKind::Send, 64, None)?;
        b.good(x, [2 * id + 1])?;
        b.go(y, &[send(2 * id + 1, &[b.piece(B, at, 64)])])?;
        b.meets(x, 2 * id, OpKind::Send, 64, None)?;
        b.good(y, [2 * id + 1])?;
        b.copied((A, at as usize), (B, to as usize), 64);
        b.copied((B, at as usize), (A, to as usize), 64);
    }
    b.check()
}

fn an_idle_device_does_not_wake<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    /// Arming each side anew may wake it once or twice.
    const WAKES_MAX: u32 = 8;
    let (x, y) = b.pair()?;
    b.go(y, &[recv(2, &[]), recv(3, &[])])?;
    b.go(x, &[send(1, &[])])?;
    b.good(x, [1])?;
    b.meets(y, 2, OpKind::Send, 0, None)?;
    let woken = b.idle(100 * MS)?;
    ensure!(woken <= WAKES_MAX, "a device with nothing to say woke its host again and again");
    b.close(y);
    Ok(())
}

fn nothing_is_told_while_all_is_well<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    for id in 0..10 {
        b.go(y, &[recv(id, &[b.piece(B, 4096 * id, 4096)])])?;
        b.go(x, &[send(id, &[b.piece(A, 1000 * id, 4096)])])?;
        b.good(x, [id])?;
        b.meets(y, id, OpKind::Send, 4096, None)?;
        b.copied((A, 1000 * id as usize), (B, 4096 * id as usize), 4096);
    }
    b.idle(20 * MS)?;
    for side in [A, B] {
        let told = b.events(side).iter().map(|event| b.event_name(side, event)).next();
        ensure!(told.is_none(), "told of {}, though nothing went wrong", told.unwrap_or_default());
    }
    b.check()
}

/// A bad work that B refuses and is told of.
fn offence<L: Lab>(
    b: &mut Bench<'_, L>,
    bad: impl FnOnce(&Bench<'_, L>, super::bench::End) -> W,
    status: Status,
    told: fn(EpId) -> AsyncEvent,
    reads_only: bool,
) -> Ended {
    let (x, y) = b.pair_with(PLAIN, &|spec| spec.access.remote_write &= !reads_only)?;
    let work = bad(b, x);
    b.go(x, &[work])?;
    b.sends(x, &[(1, status)])?;
    b.event(B, told(y.ep))?;
    ensure!(b.state(y) == Some(QpState::Err), "told of, it is in {:?}", b.state(y));
    b.check()
}

fn a_violation_by_the_peer_is_told<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let bad = |b: &Bench<'_, L>, x| write(1, &[b.piece(A, 0, 64)], b.forged(x, 64));
    offence(b, bad, Status::RemAccessErr, AsyncEvent::QpAccessErr, false)
}

fn an_invalid_request_of_the_peer_is_told<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let bad = |b: &Bench<'_, L>, x| write(1, &[b.piece(A, 0, 64)], b.at(x, 64));
    offence(b, bad, Status::RemInvReqErr, AsyncEvent::QpReqErr, true)
}

fn a_completion_queue_that_overruns_is_told_and_dead<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let small = b.device(A).open_cq(4).or_fail("a: a completion queue")?;
    let (x, _) = b.pair_with(&|spec| spec.send_cq = small, PLAIN)?;
    let (other, _) = b.pair()?;
    // Devices may make a queue deeper than they were asked to, hardly ten times so.
    let works: Vec<W> = (0..100).map(|id| write(id, &[b.piece(A, 0, 8)], b.at(x, 64))).collect();
    b.go(x, &works)?;
    // Nobody polls what fills: whoever waited for a wake-up would be woken for that all the time.
    b.pass(200 * MS);
    b.pump()?;
    let told = b.events(A).contains(&AsyncEvent::CqErr(small));
    ensure!(told, "nobody was told that a completion queue overran");
    ensure!(b.state(x) == Some(QpState::Err), "an endpoint of a queue that overran is in {:?}", b.state(x));
    b.copied((A, 0), (B, 64), 8);
    b.close(x);
    b.go(other, &[write(200, &[b.piece(A, 8, 8)], b.at(other, 128))])?;
    b.good(other, [200])?;
    b.copied((A, 8), (B, 128), 8);
    b.check()
}

fn a_completion_queue_filled_to_the_brim_has_not_overrun<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let small = b.device(A).open_cq(4).or_fail("a: a completion queue")?;
    let (x, _) = b.pair_with(&|spec| spec.send_cq = small, PLAIN)?;
    for round in 0..5u64 {
        let works: Vec<W> = (4 * round..4 * round + 4)
            .map(|id| write(id, &[b.piece(A, 64 * id, 64)], b.at(x, 65_536 + 64 * id)))
            .collect();
        b.go(x, &works)?;
        b.pass(50 * MS);
        let polled = b.poll(A, small)?;
        ensure!(polled == 4, "a queue of 4 held {polled} completions of 4");
        b.good(x, 4 * round..4 * round + 4)?;
    }
    b.copied((A, 0), (B, 65_536), 64 * 20);
    ensure!(b.events(A).is_empty(), "a queue filled to the brim was told of");
    b.check()
}

fn a_device_that_promises_no_events_tells_none<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], b.forged(x, 64))])?;
    b.sends(x, &[(1, Status::RemAccessErr)])?;
    b.becomes_dead(y)?;
    b.idle(20 * MS)?;
    let told = b.events(B).first().map(|event| b.event_name(B, event));
    ensure!(told.is_none(), "told of {}, though events are not promised", told.unwrap_or_default());
    b.check()
}

fn a_peer_that_closes_is_told<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    b.close(y);
    let deadline = b.now() + super::bench::DEADLINE_NS;
    while b.events(A).is_empty() {
        ensure!(b.turn(deadline)?, "nobody was told that the peer closed");
    }
    b.becomes_dead(x)
}

fn a_peer_that_closes_is_silence_and_retries<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair_with(&|spec| (spec.timeout, spec.retry_cnt) = (10, 2), PLAIN)?;
    b.close(y);
    b.idle(20 * MS)?;
    ensure!(b.events(A).is_empty(), "told of a peer that closed, which is not promised");
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], b.at(x, 64))])?;
    b.sends(x, &[(1, Status::RetryExcErr)])?;
    b.becomes_dead(x)?;
    b.check()
}
