//! Making a program that the devices disagree on as small as it gets.

use super::program::{Key, LocalData, Piece, Post, Program, Step};

/// The smallest program found, trying at most `tries` others: each is kept if `disagree` says that it still shows it.
pub(crate) fn shrink(
    program: &Program,
    mut tries: u32,
    disagree: &mut dyn FnMut(&Program) -> bool,
) -> Program {
    let mut best = program.clone();
    let mut attempt = |best: &mut Program, candidate: Program, tries: &mut u32| {
        if *tries == 0 || candidate == *best {
            return false;
        }
        *tries -= 1;
        let kept = disagree(&candidate);
        if kept {
            *best = candidate;
        }
        kept
    };
    loop {
        let before = best.clone();
        let mut chunk = best.steps.len().div_ceil(2);
        while chunk > 0 {
            // From the end: what comes last depends on what comes first. Small pieces may begin anywhere.
            let stride = if chunk <= 3 { 1 } else { chunk };
            let mut end = best.steps.len();
            while end > 0 {
                let mut candidate = best.clone();
                candidate.steps.drain(end.saturating_sub(chunk)..end);
                attempt(&mut best, candidate, &mut tries);
                end = end.saturating_sub(stride).min(best.steps.len());
            }
            chunk = if chunk > 3 { (chunk / 2).max(3) } else { chunk - 1 };
        }
        for index in 0..best.steps.len() {
            for simpler in simpler_steps(&best.steps[index]) {
                let mut candidate = best.clone();
                candidate.steps[index] = simpler;
                attempt(&mut best, candidate, &mut tries);
            }
        }
        let candidate = best.without_unused();
        attempt(&mut best, candidate, &mut tries);
        if best == before || tries == 0 {
            return best;
        }
    }
}

/// Steps that are like this one but duller, the dullest first.
fn simpler_steps(step: &Step) -> Vec<Step> {
    let Step::Post(post) = step else { return Vec::new() };
    let mut simpler = Vec::new();
    let mut with = |change: &dyn Fn(&mut Post)| {
        let mut candidate = post.clone();
        change(&mut candidate);
        simpler.push(Step::Post(candidate));
    };
    with(&|p| p.imm = None);
    with(&|p| p.signalled = true);
    with(&|p| p.fence = false);
    if let Some(place) = post.remote {
        with(&|p| p.remote = Some(super::program::Place { key: Key::Latest, ..place }));
        with(&|p| p.remote = Some(super::program::Place { offset: 0, ..place }));
    }
    let pieces = post.pieces().to_vec();
    if let [first, _, ..] = pieces.as_slice() {
        let len = pieces.iter().fold(0u32, |sum, piece| sum.saturating_add(piece.len));
        with(&|p| p.data = LocalData::Pieces(vec![Piece { len, ..*first }]));
    }
    if let [first, rest @ ..] = pieces.as_slice() {
        for len in [0, 1, 8, first.len / 2, first.len.saturating_sub(1)] {
            let shorter: Vec<Piece> =
                [Piece { len: len.min(first.len), ..*first }].iter().chain(rest).copied().collect();
            with(&|p| p.data = LocalData::Pieces(shorter.clone()));
        }
        let start: Vec<Piece> = [Piece { offset: 0, ..*first }].iter().chain(rest).copied().collect();
        with(&|p| p.data = LocalData::Pieces(start.clone()));
    }
    if let LocalData::Inline(len) = post.data {
        for len in [0, 1, 8, len / 2].into_iter().filter(|shorter| *shorter < len) {
            with(&|p| p.data = LocalData::Inline(len));
        }
    }
    simpler
}
