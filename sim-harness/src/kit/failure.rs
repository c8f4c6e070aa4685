//! What fails at this side, and what a failure does to the works and endpoints around it.

use wavetank_contract::error::PostError;
use wavetank_contract::{Access, MrId, QpState, Sge, Status};

use super::bench::{A, B, Bench, MEM, MS, PLAIN};
use super::case::{Case, raw};
use super::stop::{Ended, ensure};
use super::work::{W, read, recv, write};
use crate::lab::Lab;

const FLUSHED: Status = Status::WrFlushErr;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Errors, a_local_piece_that_nobody_registered_is_refused),
        raw!(Errors, a_local_piece_of_another_domain_fails),
        raw!(Errors, a_local_piece_past_its_region_fails),
        raw!(Errors, a_read_into_memory_without_local_write_fails, Reads),
        raw!(Errors, everything_behind_a_failure_is_flushed_in_order, Reads),
        raw!(Errors, a_failure_of_an_unsignalled_work_is_told),
        raw!(Errors, a_failure_leaves_other_endpoints_alone),
        raw!(Errors, works_posted_to_a_dead_endpoint_are_taken_and_flushed, QpStates),
        raw!(Errors, a_peer_in_err_never_answers, QpStates),
    ]
}

/// A bad local piece: refused at the post by devices that see it, failed by the others. The peer knows of nothing.
fn bad_piece<L: Lab>(b: &mut Bench<'_, L>, piece: Sge, reads: bool) -> Ended {
    let (x, y) = b.pair()?;
    b.go(x, &[write(1, &[b.piece(A, 0, 100)], b.at(x, 4096))])?;
    b.good(x, [1])?;
    b.copied((A, 0), (B, 4096), 100);
    let to = b.at(x, 64);
    let work = if reads { read(2, &[piece], to) } else { write(2, &[piece], to) };
    if b.is_refused_or_fails(x, &work, Status::LocProtErr)? {
        // Nothing was posted: the endpoint lives.
        b.go(x, &[write(3, &[b.piece(A, 200, 100)], b.at(x, 8192))])?;
        b.good(x, [3])?;
        b.copied((A, 200), (B, 8192), 100);
    } else {
        b.becomes_dead(x)?;
    }
    // Where a connection ends for both, the peer hears of it a little later.
    let soon = b.now() + 50 * MS;
    b.look_until(soon)?;
    ensure!(b.state(y) == Some(QpState::Rts), "the peer, which did nothing wrong, is in {:?}", b.state(y));
    b.check()
}

fn a_local_piece_that_nobody_registered_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    bad_piece(b, Sge { mr: MrId(0x7f_ffff), len: 8, offset: 0 }, false)
}

fn a_local_piece_of_another_domain_fails<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let foreign = b.extra(A, 4096, 3, Access::ALL)?;
    bad_piece(b, foreign.piece(0, 8), false)
}

fn a_local_piece_past_its_region_fails<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let piece = b.piece(A, MEM as u64 - 7, 8);
    bad_piece(b, piece, false)
}

fn a_read_into_memory_without_local_write_fails<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let guarded = b.extra(A, 4096, 0, Access::REMOTE_READ)?;
    bad_piece(b, guarded.piece(0, 8), true)?;
    ensure!(guarded.is_untouched(), "a READ was placed where the device may not write");
    Ok(())
}

fn everything_behind_a_failure_is_flushed_in_order<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    let receives: Vec<W> = (100..105).map(|id| recv(id, &[b.piece(A, 131_072, 64)])).collect();
    b.go(x, &receives)?;
    let here = b.piece(A, 0, 64);
    let behind = (1..21).map(|id| match id % 3 {
        0 => read(id, &[b.piece(A, 200_000, 64)], b.at(x, 0)),
        1 => write(id, &[here], b.at(x, 65_536)),
        _ => write(id, &[here], b.at(x, 65_536)).silent(),
    });
    let works: Vec<W> = [write(0, &[here], b.forged(x, 64))].into_iter().chain(behind).collect();
    b.go(x, &works)?;
    let flushed = |ids: std::ops::Range<u64>| ids.map(|id| (id, FLUSHED));
    let expected: Vec<_> = [(0, Status::RemAccessErr)].into_iter().chain(flushed(1..21)).collect();
    b.sends(x, &expected)?;
    let expected: Vec<_> = flushed(100..105).collect();
    b.receives(x, &expected)?;
    b.becomes_dead(y)?;
    b.check()
}

fn a_failure_of_an_unsignalled_work_is_told<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let here = b.piece(A, 0, 64);
    let works = [
        write(1, &[here], b.at(x, 4096)).silent(),
        write(2, &[here], b.forged(x, 64)).silent(),
        write(3, &[here], b.at(x, 64)).silent(),
    ];
    b.go(x, &works)?;
    b.sends(x, &[(2, Status::RemAccessErr), (3, FLUSHED)])?;
    b.copied((A, 0), (B, 4096), 64);
    b.check()
}

fn a_failure_leaves_other_endpoints_alone<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let ((x, y), (other, _)) = (b.pair()?, b.pair()?);
    let here = b.piece(A, 0, 64);
    b.go(x, &[write(1, &[here], b.forged(x, 64))])?;
    b.go(other, &[write(2, &[here], b.at(other, 4096))])?;
    b.sends(x, &[(1, Status::RemAccessErr)])?;
    b.good(other, [2])?;
    b.close(x);
    b.close(y);
    // The device takes new connections as before.
    let (again, _) = b.pair()?;
    b.go(again, &[write(3, &[b.piece(A, 64, 64)], b.at(again, 8192))])?;
    b.go(other, &[write(4, &[b.piece(A, 128, 64)], b.at(other, 12_288))])?;
    b.good(again, [3])?;
    b.good(other, [4])?;
    for (from, to) in [(0, 4096), (64, 8192), (128, 12_288)] {
        b.copied((A, from), (B, to), 64);
    }
    b.check()
}

fn works_posted_to_a_dead_endpoint_are_taken_and_flushed<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair_with(&|spec| (spec.send_depth, spec.recv_depth) = (2, 2), PLAIN)?;
    b.modify(x, QpState::Err)?;
    let (here, to) = (b.piece(A, 0, 8), b.at(x, 64));
    for id in [0, 10, 20] {
        b.go(x, &[write(id, &[here], to).silent(), write(id + 1, &[here], to)])?;
        let full = |error: &PostError| matches!(error, PostError::QueueFull { .. });
        b.is_refused(x, &write(id + 2, &[here], to), full)?;
        b.go(x, &[recv(id + 3, &[here])])?;
        b.sends(x, &[(id, FLUSHED), (id + 1, FLUSHED)])?;
        b.receives(x, &[(id + 3, FLUSHED)])?;
    }
    b.check()
}

fn a_peer_in_err_never_answers<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair_with(&|spec| (spec.timeout, spec.retry_cnt) = (10, 2), PLAIN)?;
    b.modify(y, QpState::Err)?;
    let here = b.piece(A, 0, 64);
    b.go(x, &[write(1, &[here], b.at(x, 64)), write(2, &[here], b.at(x, 64))])?;
    b.sends(x, &[(1, Status::RetryExcErr), (2, FLUSHED)])?;
    b.becomes_dead(x)?;
    b.check()
}
