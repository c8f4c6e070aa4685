//! The forms a work may have: immediates, inline bytes, several pieces.

use wavetank_contract::{OpKind, Sge};

use super::bench::{A, B, Bench, End};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail};
use super::work::{W, read, recv, send, write};
use crate::lab::Lab;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Data, a_write_with_an_immediate_spends_a_receive, Immediate),
        raw!(Data, a_send_carries_its_immediate, Immediate),
        raw!(Data, inline_bytes_are_free_once_posted, Inline),
        raw!(Data, pieces_are_gathered_in_their_order, Pieces),
        raw!(Data, pieces_are_scattered_in_their_order, Pieces, Reads),
    ]
}

fn a_write_with_an_immediate_spends_a_receive<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    for (id, len) in (0u64..).zip([0, 1, 1024, 1025, 4097, 20_003]) {
        let (imm, at) = (0xfeed_0000 + id as u32, 4099 + 1009 * id);
        let spare = b.piece(B, 200_000, 64);
        b.go(y, &[recv(id, &[spare])])?;
        let local = b.pieces(A, at, len);
        b.go(x, &[write(id, &local, b.at(x, 131_071)).imm(imm)])?;
        b.good(x, [id])?;
        b.meets(y, id, OpKind::WriteImm, len, Some(imm))?;
        b.copied((A, at as usize), (B, 131_071), len);
        b.check()?;
    }
    Ok(())
}

fn a_send_carries_its_immediate<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    for (id, imm) in (0u64..).zip([Some(0), None, Some(u32::MAX), Some(0x0102_0304)]) {
        b.go(y, &[recv(id, &[b.piece(B, 65_536 + 64 * id, 64)])])?;
        let plain = send(id, &[b.piece(A, 64 * id, 40)]);
        b.go(
            x,
            &[match imm {
                Some(value) => plain.imm(value),
                None => plain,
            }],
        )?;
        b.good(x, [id])?;
        b.meets(y, id, OpKind::Send, 40, imm)?;
        b.copied((A, 64 * id as usize), (B, 65_536 + 64 * id as usize), 40);
    }
    b.check()
}

fn inline_bytes_are_free_once_posted<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    let len = b.caps(A).inline_bytes_max.min(16);
    let receives: Vec<W> = (0..8).map(|id| recv(id, &[b.piece(B, 4096 + 64 * id, 64)])).collect();
    b.go(y, &receives)?;
    b.blur();
    for id in 0..8u64 {
        let at = 64 * id as usize;
        let bytes: Vec<u8> = (0..len as u8).map(|i| i.wrapping_mul(37) ^ id as u8).collect();
        post_and_reuse(b, x, write(2 * id, &[], b.at(x, at as u64)).inline(&bytes))?;
        post_and_reuse(b, x, send(2 * id + 1, &[]).inline(&bytes))?;
        b.announce(B, at, &bytes);
        b.announce(B, 4096 + at, &bytes);
    }
    b.ring(x)?;
    b.good(x, 0..16)?;
    for id in 0..8 {
        b.meets(y, id, OpKind::Send, len, None)?;
    }
    b.check()
}

/// Posts, and overwrites the bytes before the doorbell.
fn post_and_reuse<L: Lab>(b: &mut Bench<'_, L>, x: End, mut work: W) -> Ended {
    b.post(x, &work).or_fail("an inline work")?;
    work.inline.iter_mut().flatten().for_each(|byte| *byte = !*byte);
    Ok(())
}

/// Offset and length of each piece, in no order: up to four, as many as may be.
fn cuts<L: Lab>(b: &Bench<'_, L>) -> Vec<(usize, u32)> {
    let max = b.caps(A).sge_max.min(b.caps(B).sge_max) as usize;
    [(9000, 700), (100, 3), (20_001, 5000), (50_000, 64)].into_iter().take(max).collect()
}

fn pieces<L: Lab>(b: &Bench<'_, L>, side: usize, cuts: &[(usize, u32)]) -> Vec<Sge> {
    cuts.iter().map(|(at, len)| b.piece(side, *at as u64, *len)).collect()
}

fn pieces_are_gathered_in_their_order<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    b.blur();
    let (x, y) = b.pair()?;
    let cuts = cuts(b);
    let (pieces, whole) = (pieces(b, A, &cuts), cuts.iter().map(|(_, len)| len).sum());
    b.go(y, &[recv(1, &[b.piece(B, 131_072, whole)])])?;
    b.go(x, &[send(1, &pieces), write(2, &pieces, b.at(x, 65_537))])?;
    b.good(x, [1, 2])?;
    b.meets(y, 1, OpKind::Send, whole, None)?;
    let mut done = 0;
    for (at, len) in cuts {
        b.copied((A, at), (B, 131_072 + done), len);
        b.copied((A, at), (B, 65_537 + done), len);
        done += len as usize;
    }
    b.check()
}

fn pieces_are_scattered_in_their_order<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    b.blur();
    let (x, y) = b.pair()?;
    let cuts = cuts(b);
    let (mine, theirs) = (pieces(b, A, &cuts), pieces(b, B, &cuts));
    let whole = cuts.iter().map(|(_, len)| len).sum();
    b.go(x, &[read(1, &mine, b.at(x, 131_073))])?;
    b.good(x, [1])?;
    let mut done = 0;
    for (at, len) in &cuts {
        b.copied((B, 131_073 + done), (A, *at), *len);
        done += *len as usize;
    }
    b.check()?;
    b.go(y, &[recv(1, &theirs)])?;
    b.go(x, &[send(2, &[b.piece(A, 200_001, whole)])])?;
    b.good(x, [2])?;
    b.meets(y, 1, OpKind::Send, whole, None)?;
    let mut done = 0;
    for (at, len) in &cuts {
        b.copied((A, 200_001 + done), (B, *at), *len);
        done += *len as usize;
    }
    b.check()
}
