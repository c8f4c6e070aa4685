//! Who touches which bytes, and in which order devices have to do it.

use wavetank_contract::{OpKind, Status};

use super::outcome::Outcomes;
use crate::judge::program::{End, Piece, Post, Program, RegionId};

/// What a work does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// They are copied from here.
    Source,
    /// They are placed here.
    Target,
}

/// Bytes that a work touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    pub(super) step: usize,
    /// The endpoint whose request it is.
    by: End,
    kind: OpKind,
    /// Done by the peer's device, in the order of the requests.
    at_peer: bool,
    pub(super) region: RegionId,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) place: Place,
    pub(super) reads: bool,
    pub(super) writes: bool,
    /// What was undefined here stays so: an atomic's new value depends on the old one.
    pub(super) keeps: bool,
}

/// What the works of a round touch. A work that failed and did no harm touches nothing.
pub(super) fn of_round(program: &Program, outcomes: &Outcomes, round: usize) -> Vec<Touch> {
    let mut touches = Vec::new();
    for step in 0..program.steps.len() {
        let (Some(post), Some(outcome)) = (program.post(step), outcomes.get(step)) else { continue };
        let succeeded = outcome.status == Some(Status::Success);
        if outcome.round == round && (succeeded || outcomes.is_torn(program, step)) {
            add(program, outcomes, step, post, succeeded, &mut touches);
        }
    }
    touches
}

fn add(
    program: &Program,
    outcomes: &Outcomes,
    step: usize,
    post: &Post,
    succeeded: bool,
    out: &mut Vec<Touch>,
) {
    use Place::{Source, Target};
    let blank = Touch {
        step,
        by: post.end,
        kind: post.kind(),
        at_peer: false,
        region: ' ',
        start: 0,
        end: 0,
        place: Target,
        reads: false,
        writes: true,
        keeps: false,
    };
    let local = |place| Touch { place, reads: place == Source, writes: place == Target, ..blank };
    let mut put = |pattern: Touch, region: RegionId, start: i64, len: u32| {
        let limit = program.regions.get(&region).map_or(0, |r| i64::from(r.len));
        let (start, end) = (start.clamp(0, limit) as u32, (start + i64::from(len)).clamp(0, limit) as u32);
        if start < end {
            out.push(Touch { region, start, end, ..pattern });
        }
    };
    let mut put_pieces = |pattern: Touch, pieces: &[Piece], mut left: u32| {
        for piece in pieces {
            put(pattern, piece.region, piece.offset.into(), piece.len.min(left));
            left -= piece.len.min(left);
        }
    };
    let len = post.len_bytes();
    match post.kind() {
        // A receive that ended well is touched by the message it took.
        OpKind::Recv if succeeded => {}
        OpKind::Recv => put_pieces(local(Target), post.pieces(), u32::MAX),
        OpKind::Read | OpKind::CompareSwap | OpKind::FetchAdd => {
            put_pieces(local(Target), post.pieces(), len)
        }
        OpKind::Send | OpKind::Write | OpKind::WriteImm => put_pieces(local(Source), post.pieces(), len),
    }
    if let (OpKind::Send, Some(receive)) = (post.kind(), outcomes.receives.get(&step))
        && let Some(receive) = program.post(*receive)
    {
        put_pieces(Touch { at_peer: true, ..local(Target) }, receive.pieces(), len);
    }
    if !succeeded && post.kind() == OpKind::Send {
        for receive in outcomes.begun(program, step).into_iter().filter_map(|receive| program.post(receive)) {
            put_pieces(Touch { at_peer: true, ..local(Target) }, receive.pieces(), u32::MAX);
        }
    }
    let Some(remote) = post.remote else { return };
    let mut put_remote =
        |pattern: Touch| put(Touch { at_peer: true, ..pattern }, remote.region, remote.offset, len);
    match post.kind() {
        OpKind::Read => put_remote(local(Source)),
        OpKind::CompareSwap | OpKind::FetchAdd => {
            put_remote(local(Source));
            put_remote(Touch { reads: true, keeps: true, ..local(Target) });
        }
        _ => put_remote(local(Target)),
    }
}

/// Whether devices have to do the one before the other, in the order in which they were posted.
pub(super) fn is_ordered(program: &Program, x: &Touch, y: &Touch) -> bool {
    let (first, second) = if x.step < y.step { (x, y) } else { (y, x) };
    if first.by != second.by || first.at_peer != second.at_peer {
        return false;
    }
    let fetched_late = match (first.at_peer, first.place, second.place) {
        // A READ's data may be fetched when a later request is done already.
        (true, Place::Source, _) => first.kind == OpKind::Read,
        (true, Place::Target, _) | (false, Place::Target, Place::Target) => false,
        // The answer may come when a later message has left already.
        (false, Place::Target, Place::Source) => true,
        (false, Place::Source, _) => return false,
    };
    let fenced = || {
        (first.step + 1..=second.step)
            .filter_map(|step| program.post(step))
            .any(|post| post.end == first.by && post.fence)
    };
    !fetched_late || fenced()
}
