//! Where a program has to settle so that one outcome is right, and which works have to be signalled.
//!
//! Devices run while they are given work; what a step meets there is defined only if what went before is done, wherever
//! the two could influence each other. So everything but a post waits until all is settled, and so does a post that
//!
//! * is a receive, when the peer has sent something since: whether it is there in time for the sender's retries is chance;
//! * comes from the other end than the works under way, unless neither can fail: an error of the one ends both, at a
//!   moment that is chance for the other;
//! * names local memory it may not use: whether the works before it complete or are flushed by its failure is chance on
//!   devices that find it out early (rxe: `rxe_requester`, `err:`). After one whose *answer* has no place to go, all that
//!   follows waits too: it may or may not have been carried out before the answer came.

use std::collections::{BTreeMap, BTreeSet};

use wavetank_contract::QpState;

use super::model::{Known, Model};
use super::program::{End, Post, Program, Step};

/// How a program is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// By step, and once more for the end: whether all has to be settled first.
    pub settle_before: Vec<bool>,
    /// By step: whether the work is signalled though the program does not ask for it. The last one of an endpoint always
    /// is, for otherwise nobody knew when it is done.
    pub signal: Vec<bool>,
    /// Where all is settled: whether a message may be under way that its sender has given up, so that nobody says when the
    /// last of it has arrived.
    pub linger: Vec<bool>,
    /// A step for which no order of settling makes the outcome defined: a work with wrong local memory that waits in SQD
    /// behind others. Such a program is not judged.
    pub undefined: Option<usize>,
}

/// What is under way on a connection since all was settled.
#[derive(Clone, Copy, Debug, Default)]
struct Underway {
    /// Which nodes have sent.
    sent: [bool; 2],
    /// Something of it may fail.
    may_fail: bool,
}

impl Plan {
    /// The plan for a program.
    pub fn of(program: &Program) -> Plan {
        let steps = program.steps.len();
        let mut plan = Plan {
            settle_before: vec![false; steps + 1],
            signal: vec![false; steps],
            linger: vec![false; steps + 1],
            undefined: None,
        };
        let mut model = Model::new(program);
        let mut underway: BTreeMap<usize, Underway> = BTreeMap::new();
        let mut last: BTreeMap<End, usize> = BTreeMap::new();
        // Sends that wait in SQD, by end.
        let mut held: BTreeSet<End> = BTreeSet::new();
        let (mut busy, mut barrier, mut torn) = (false, false, false);
        for (i, step) in program.steps.iter().enumerate() {
            let wants = match step {
                Step::Post(post) => barrier || clashes(&model, &underway, post),
                _ => true,
            };
            if wants && busy {
                plan.settle_before[i] = true;
                underway.clear();
                last.values().for_each(|step| plan.signal[*step] = true);
                last.clear();
                plan.linger[i] = torn;
                (busy, barrier, torn) = (false, false, false);
            }
            match step {
                Step::Post(post) if post.is_recv() => busy = true,
                Step::Post(post) => {
                    busy = true;
                    last.insert(post.end, i);
                    if model.state(post.end) == Known::Held {
                        held.insert(post.end);
                        if model.is_locally_wrong(post) {
                            plan.undefined = Some(i);
                        }
                    }
                    let on = underway.entry(post.end.connection).or_default();
                    on.sent[post.end.node] = true;
                    on.may_fail |= !model.cannot_fail(post);
                    torn |= model.is_locally_wrong(post);
                    barrier = post.kind().is_read_or_atomic() && model.is_locally_wrong(post);
                }
                Step::Move(end, QpState::Rts) => {
                    busy = true;
                    if held.remove(end) {
                        let on = underway.entry(end.connection).or_default();
                        on.sent[end.node] = true;
                        on.may_fail = true;
                    }
                }
                Step::Settle => {}
                _ => busy = true,
            }
            model.step(step);
        }
        plan.settle_before[steps] = true;
        plan.linger[steps] = torn;
        last.values().for_each(|step| plan.signal[*step] = true);
        plan
    }

    /// How many times all is settled.
    pub fn rounds(&self) -> usize {
        self.settle_before.iter().filter(|settle| **settle).count()
    }
}

fn clashes(model: &Model<'_>, underway: &BTreeMap<usize, Underway>, post: &Post) -> bool {
    let on = underway.get(&post.end.connection).copied().unwrap_or_default();
    let theirs = on.sent[post.end.peer().node];
    if post.is_recv() {
        return theirs;
    }
    theirs && (on.may_fail || !model.cannot_fail(post)) || model.is_locally_wrong(post)
}
