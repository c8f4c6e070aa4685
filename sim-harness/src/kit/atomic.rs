//! Atomics: eight bytes at the peer, changed as one.

use super::bench::{A, B, Bench, End};
use super::case::{Case, raw};
use super::stop::{Ended, ensure};
use super::work::{W, add, swap};
use crate::lab::Lab;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Data, a_fetch_and_add_answers_the_former_and_wraps, Atomics),
        raw!(Data, a_compare_and_swap_hits_or_leaves_alone, Atomics),
        raw!(Data, atomics_of_several_endpoints_add_up, Atomics),
    ]
}

/// Where results go at A, and where the cell is at B.
const RESULT: usize = 512;
const CELL: usize = 1024;

/// Does one atomic and expects the former value, and what is there now.
fn expect<L: Lab>(b: &mut Bench<'_, L>, x: End, work: W, former: u64, now: u64) -> Ended {
    let id = work.id;
    b.go(x, &[work])?;
    b.good(x, [id])?;
    b.announce(A, RESULT, &former.to_le_bytes());
    b.announce(B, CELL, &now.to_le_bytes());
    b.check()
}

fn a_fetch_and_add_answers_the_former_and_wraps<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    b.put(B, CELL, &5u64.to_le_bytes());
    let (piece, to) = (b.piece(A, RESULT as u64, 8), b.at(x, CELL as u64));
    expect(b, x, add(1, piece, to, 37), 5, 42)?;
    expect(b, x, add(2, piece, to, 0), 42, 42)?;
    expect(b, x, add(3, piece, to, u64::MAX), 42, 41)?;
    b.put(B, CELL, &u64::MAX.to_le_bytes());
    expect(b, x, add(4, piece, to, 2), u64::MAX, 1)
}

fn a_compare_and_swap_hits_or_leaves_alone<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    b.put(B, CELL, &5u64.to_le_bytes());
    let (piece, to) = (b.piece(A, RESULT as u64, 8), b.at(x, CELL as u64));
    expect(b, x, swap(1, piece, to, 5, 1 << 40), 5, 1 << 40)?;
    expect(b, x, swap(2, piece, to, 5, 6), 1 << 40, 1 << 40)?;
    expect(b, x, swap(3, piece, to, 1 << 40, u64::MAX), 1 << 40, u64::MAX)
}

fn atomics_of_several_endpoints_add_up<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let ends = [b.pair()?.0, b.pair()?.0];
    b.put(B, CELL, &0u64.to_le_bytes());
    // Which of them comes first is nobody's business.
    b.blur();
    for (n, x) in (0u64..).zip(ends) {
        let to = b.at(x, CELL as u64);
        let works: Vec<W> =
            (50 * n..50 * n + 50).map(|id| add(id, b.piece(A, 4096 + 8 * id, 8), to, 1)).collect();
        b.go(x, &works)?;
    }
    for (n, x) in (0u64..).zip(ends) {
        b.good(x, 50 * n..50 * n + 50)?;
    }
    let results = b.get(A, 4096, 800);
    let (words, _) = results.as_chunks::<8>();
    let mut formers: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    for of_one in formers.chunks(50) {
        ensure!(of_one.is_sorted(), "atomics of one endpoint were done out of order");
    }
    formers.sort_unstable();
    ensure!(formers.iter().copied().eq(0..100), "two atomics met the same value");
    b.forgive(A, 4096, 800);
    b.announce(B, CELL, &100u64.to_le_bytes());
    b.check()
}
