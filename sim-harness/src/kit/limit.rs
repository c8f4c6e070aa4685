//! Limits of works: taken up to what is promised, refused beyond it, and nothing else is lost.

use wavetank_contract::error::PostError;
use wavetank_contract::{Op, OpKind, Sge};

use super::bench::{A, B, Bench, PLAIN};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, ensure};
use super::work::{W, add, read, recv, send, swap, write};
use crate::lab::Lab;

/// The longest message that is really moved.
const LONG_MAX: u32 = 4 << 20;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Limits, a_send_queue_takes_its_depth_and_no_more),
        raw!(Limits, a_receive_queue_takes_its_depth_and_no_more),
        raw!(Limits, as_many_pieces_as_promised_are_taken),
        raw!(Limits, one_piece_more_than_promised_is_refused),
        raw!(Limits, as_many_inline_bytes_as_promised_are_taken, Inline),
        raw!(Limits, one_inline_byte_more_than_promised_is_refused),
        raw!(Limits, inline_bytes_go_with_sends_and_writes_only, Inline),
        raw!(Limits, a_message_as_long_as_promised_is_carried),
        raw!(Limits, a_message_longer_than_promised_is_refused, Pieces),
        raw!(Limits, a_refused_work_leaves_the_works_before_it),
        raw!(Limits, as_many_reads_as_promised_are_outstanding, Reads),
        raw!(Limits, an_atomic_takes_one_piece_of_eight_bytes, Atomics),
        raw!(Limits, atomics_that_are_not_promised_are_refused, NoAtomics),
        raw!(Limits, immediates_that_are_not_promised_are_refused, NoImmediate),
    ]
}

fn full(error: &PostError) -> bool {
    matches!(error, PostError::QueueFull { .. })
}

fn not_promised(error: &PostError) -> bool {
    matches!(error, PostError::NotPromised(_))
}

fn a_send_queue_takes_its_depth_and_no_more<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair_with(&|spec| spec.send_depth = 5, PLAIN)?;
    for round in 0..3u64 {
        let work = |b: &Bench<'_, L>, id| write(id, &[b.piece(A, 64 * id, 64)], b.at(x, 65_536 + 64 * id));
        for id in 6 * round..6 * round + 5 {
            let work = work(b, id);
            b.post(x, &work).or_fail("a work within the depth of its queue")?;
        }
        let over = work(b, 6 * round + 5);
        b.is_refused(x, &over, full)?;
        b.ring(x)?;
        b.good(x, 6 * round..6 * round + 5)?;
        b.copied((A, 384 * round as usize), (B, 65_536 + 384 * round as usize), 64 * 5);
        b.check()?;
    }
    Ok(())
}

fn a_receive_queue_takes_its_depth_and_no_more<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair_with(PLAIN, &|spec| spec.recv_depth = 3)?;
    for round in 0..3u64 {
        let work = |b: &Bench<'_, L>, id| recv(id, &[b.piece(B, 65_536 + 64 * id, 64)]);
        for id in 4 * round..4 * round + 3 {
            let work = work(b, id);
            b.post(y, &work).or_fail("a receive within the depth of its queue")?;
        }
        let over = work(b, 4 * round + 3);
        b.is_refused(y, &over, full)?;
        b.ring(y)?;
        for id in 4 * round..4 * round + 3 {
            b.go(x, &[send(id, &[b.piece(A, 64 * id, 64)])])?;
            b.good(x, [id])?;
            b.meets(y, id, OpKind::Send, 64, None)?;
            b.copied((A, 64 * id as usize), (B, 65_536 + 64 * id as usize), 64);
        }
    }
    b.check()
}

/// As many pieces of one byte, each beside but one of the other.
fn scattered<L: Lab>(b: &Bench<'_, L>, side: usize, count: u32) -> Vec<Sge> {
    (0..u64::from(count)).map(|n| b.piece(side, 2 * n, 1)).collect()
}

fn as_many_pieces_as_promised_are_taken<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    b.blur();
    let (x, y) = b.pair()?;
    let (out, into) = (b.caps(A).sge_max, b.caps(B).sge_max);
    let (sources, targets) = (scattered(b, A, out), scattered(b, B, into));
    b.go(y, &[recv(1, &[b.piece(B, 131_072, out)]), recv(2, &targets)])?;
    let works =
        [send(1, &sources), send(2, &[b.piece(A, 131_072, into)]), write(3, &sources, b.at(x, 200_000))];
    b.go(x, &works)?;
    b.good(x, 1..4)?;
    b.meets(y, 1, OpKind::Send, out, None)?;
    b.meets(y, 2, OpKind::Send, into, None)?;
    for n in 0..out as usize {
        b.copied((A, 2 * n), (B, 131_072 + n), 1);
        b.copied((A, 2 * n), (B, 200_000 + n), 1);
    }
    for n in 0..into as usize {
        b.copied((A, 131_072 + n), (B, 2 * n), 1);
    }
    b.check()
}

fn one_piece_more_than_promised_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let pieces = scattered(b, A, b.caps(A).sge_max + 1);
    let too_many = |error: &PostError| matches!(error, PostError::TooManyPieces { .. });
    b.is_refused(x, &send(1, &pieces), too_many)?;
    b.is_refused(x, &write(2, &pieces, b.at(x, 0)), too_many)?;
    b.is_refused(x, &read(3, &pieces, b.at(x, 0)), too_many)?;
    b.is_refused(x, &recv(4, &pieces), too_many)?;
    b.check()
}

fn as_many_inline_bytes_as_promised_are_taken<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    b.blur();
    let (x, y) = b.pair()?;
    let len = b.caps(A).inline_bytes_max;
    let bytes = b.get(A, 777, len as usize);
    b.go(y, &[recv(1, &[b.piece(B, 131_072, len)])])?;
    b.go(x, &[send(1, &[]).inline(&bytes), write(2, &[], b.at(x, 200_000)).inline(&bytes)])?;
    b.good(x, [1, 2])?;
    b.meets(y, 1, OpKind::Send, len, None)?;
    b.announce(B, 131_072, &bytes);
    b.announce(B, 200_000, &bytes);
    b.check()
}

fn one_inline_byte_more_than_promised_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let bytes = vec![7; b.caps(A).inline_bytes_max as usize + 1];
    let too_long = |error: &PostError| matches!(error, PostError::InlineTooLong { .. });
    b.is_refused(x, &send(1, &[]).inline(&bytes), too_long)?;
    b.is_refused(x, &write(2, &[], b.at(x, 0)).inline(&bytes), too_long)?;
    b.check()
}

fn inline_bytes_go_with_sends_and_writes_only<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let not_sending = |error: &PostError| *error == PostError::InlineNotSending;
    b.is_refused(x, &read(1, &[], b.at(x, 0)).inline(b"x"), not_sending)?;
    b.is_refused(x, &recv(2, &[]).inline(b"x"), not_sending)?;
    b.check()
}

fn a_message_as_long_as_promised_is_carried<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    use super::bench::bytes;
    use wavetank_contract::Access;
    b.blur();
    let (x, _) = b.pair()?;
    let len = b.caps(A).message_bytes_max.min(LONG_MAX);
    let near = b.extra(A, len.into(), 0, Access::LOCAL)?;
    let far = b.extra(B, len.into(), 0, Access::ALL)?;
    let to = b.to(x, &far)?;
    b.go(x, &[write(1, &[near.piece(0, len)], to)])?;
    b.good(x, [1])?;
    let carried = bytes(&near.mem, 0, len as usize) == bytes(&far.mem, 0, len as usize);
    ensure!(carried, "a message as long as promised was not carried whole");
    b.check()
}

fn a_message_longer_than_promised_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let max = b.caps(A).message_bytes_max;
    // Nobody looks whether such a piece is there before its length is looked at.
    let pieces = [b.piece(A, 0, max), b.piece(A, 0, 1)];
    let too_long = |error: &PostError| matches!(error, PostError::MessageTooLong { .. });
    b.is_refused(x, &send(1, &pieces), too_long)?;
    b.is_refused(x, &write(2, &pieces, b.at(x, 0)), too_long)?;
    b.is_refused(x, &read(3, &pieces, b.at(x, 0)), too_long)?;
    b.is_refused(x, &recv(4, &pieces), too_long)?;
    b.check()
}

fn a_refused_work_leaves_the_works_before_it<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let pieces = scattered(b, A, b.caps(A).sge_max + 1);
    for id in [0, 10, 20] {
        let at = 4096 + 64 * id;
        let work =
            |b: &Bench<'_, L>, id: u64| write(id, &[b.piece(A, at + id, 8)], b.at(x, at + 8 * (id % 10)));
        let first = [work(b, id), work(b, id + 1)];
        for work in &first {
            b.post(x, work).or_fail("a good work")?;
        }
        let too_many = |error: &PostError| matches!(error, PostError::TooManyPieces { .. });
        b.is_refused(x, &write(id + 2, &pieces, b.at(x, 0)), too_many)?;
        let last = work(b, id + 3);
        b.go(x, &[last])?;
        b.good(x, [id, id + 1, id + 3])?;
        for n in [0, 1, 3] {
            b.copied((A, (at + id + n) as usize), (B, (at + 8 * n) as usize), 8);
        }
        b.check()?;
    }
    Ok(())
}

fn as_many_reads_as_promised_are_outstanding<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    b.blur();
    let max = b.caps(A).rd_atomic_max.min(b.caps(B).rd_atomic_max);
    let (x, _) = b.pair_with(&|spec| spec.max_rd_atomic = max, &|spec| spec.max_dest_rd_atomic = max)?;
    let count = (2 * u64::from(max)).min(100);
    let works: Vec<W> =
        (0..count).map(|id| read(id, &[b.piece(A, 2000 * id, 1999)], b.at(x, 1001 * id))).collect();
    b.go(x, &works)?;
    b.good(x, 0..count)?;
    for id in 0..count as usize {
        b.copied((B, 1001 * id), (A, 2000 * id), 1999);
    }
    b.check()
}

fn an_atomic_takes_one_piece_of_eight_bytes<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let (to, misshapen) = (b.at(x, 0), |error: &PostError| matches!(error, PostError::AtomicShape { .. }));
    for (id, lens) in (0u64..).zip([&[][..], &[7], &[9], &[4, 4]]) {
        let pieces: Vec<Sge> = lens.iter().map(|len| b.piece(A, 512, *len)).collect();
        if pieces.len() > b.caps(A).sge_max as usize {
            continue;
        }
        b.is_refused(x, &W::new(2 * id, Op::FetchAdd { remote: to, add: 1 }, &pieces), misshapen)?;
        let op = Op::CompareSwap { remote: to, compare: 1, swap: 2 };
        b.is_refused(x, &W::new(2 * id + 1, op, &pieces), misshapen)?;
    }
    b.check()
}

fn atomics_that_are_not_promised_are_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let (piece, to) = (b.piece(A, 512, 8), b.at(x, 0));
    b.is_refused(x, &add(1, piece, to, 1), not_promised)?;
    b.is_refused(x, &swap(2, piece, to, 1, 2), not_promised)?;
    b.check()
}

fn immediates_that_are_not_promised_are_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let piece = b.piece(A, 0, 8);
    b.is_refused(x, &send(1, &[piece]).imm(1), not_promised)?;
    b.is_refused(x, &write(2, &[piece], b.at(x, 0)).imm(1), not_promised)?;
    b.check()
}
