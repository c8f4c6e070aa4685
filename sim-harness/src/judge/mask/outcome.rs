//! How each work ended, and in which round it was carried out.

use std::collections::BTreeMap;

use wavetank_contract::Status;

use super::is_harmless;
use crate::judge::log::{Log, Queue};
use crate::judge::program::{End, Program, Step};

/// The end of a work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) round: usize,
    /// `None`: the devices do not agree.
    pub(super) status: Option<Status>,
}

/// The ends of all works that were carried out or failed. Works that are missing were refused, wait, or were forgotten.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    by_step: BTreeMap<usize, Outcome>,
    /// The receive that a message took, by the message's step.
    pub(super) receives: BTreeMap<usize, usize>,
}

impl Outcomes {
    pub(super) fn of(program: &Program, reference: &Log, other: &Log) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for (round, seen) in reference.rounds.iter().enumerate() {
            for (at, ends) in &seen.ends {
                let theirs = other.rounds.get(round).and_then(|r| r.ends.get(at));
                for ended in ends {
                    let same = theirs
                        .and_then(|theirs| theirs.iter().find(|t| t.step == ended.step))
                        .is_some_and(|t| t.agrees(ended));
                    let status = same.then_some(ended.status);
                    outcomes.by_step.insert(ended.step, Outcome { round, status });
                }
            }
        }
        outcomes.add_silent(program, reference);
        outcomes.match_receives(program, reference);
        outcomes
    }

    pub(super) fn get(&self, step: usize) -> Option<Outcome> {
        self.by_step.get(&step).copied()
    }

    /// A silent work that was not refused succeeded by the time the next one of its endpoint completed.
    fn add_silent(&mut self, program: &Program, log: &Log) {
        let mut next: BTreeMap<End, usize> = BTreeMap::new();
        for (i, step) in program.steps.iter().enumerate().rev() {
            match step {
                Step::Reconnect(connection) => next.retain(|end, _| end.connection != *connection),
                Step::Move(end, wavetank_contract::QpState::Reset) => drop(next.remove(end)),
                Step::Post(post) if !post.is_recv() && !log.refusals.contains_key(&i) => {
                    if let Some(outcome) = self.by_step.get(&i) {
                        next.insert(post.end, outcome.round);
                    } else if let Some(round) = next.get(&post.end) {
                        let status = Some(Status::Success);
                        self.by_step.insert(i, Outcome { round: *round, status });
                    }
                }
                _ => {}
            }
        }
    }

    /// Messages take receives in order: in each round, the messages that succeeded took the receives that did.
    fn match_receives(&mut self, program: &Program, log: &Log) {
        for (round, seen) in log.rounds.iter().enumerate() {
            for end in program.ends() {
                let messages = self.by_step.iter().filter(|(step, outcome)| {
                    let sent = program.post(**step).is_some_and(|p| p.end == end && p.is_message());
                    sent && outcome.round == round && outcome.status.is_none_or(|s| s == Status::Success)
                });
                let receives = seen.ends.get(&(end.peer(), Queue::Recv)).into_iter().flatten();
                let taken = receives.filter(|r| r.status == Status::Success).map(|r| r.step);
                self.receives.extend(messages.map(|(step, _)| *step).zip(taken).collect::<Vec<_>>());
            }
        }
    }

    /// Whether what the work should have written may be half written, or something else.
    pub(super) fn is_torn(&self, program: &Program, step: usize) -> bool {
        let (Some(outcome), Some(post)) = (self.get(step), program.post(step)) else { return false };
        let mtu = program.connections.get(&post.end.connection).map_or(1, |c| c.mtu.bytes());
        match outcome.status {
            None => true,
            Some(Status::Success) => false,
            // The answer had no place to go; the request was carried out all the same.
            Some(Status::LocProtErr) if post.kind().is_read_or_atomic() => true,
            // Whatever a message left in it is the message's doing.
            Some(Status::WrFlushErr) => false,
            Some(status) => !is_harmless(status, post.len_bytes().div_ceil(mtu).max(1)) || post.is_recv(),
        }
    }

    /// The receives that a message which its sender could not finish may have begun to fill: any that waited then.
    pub(super) fn begun(&self, program: &Program, message: usize) -> Vec<usize> {
        let Some(end) = program.post(message).map(|post| post.end.peer()) else { return Vec::new() };
        let round = self.get(message).map_or(0, |outcome| outcome.round);
        let waited = |receive: &usize| {
            let posted = program.post(*receive).is_some_and(|p| p.is_recv() && p.end == end);
            posted && self.get(*receive).is_none_or(|o| o.round >= round && o.status != Some(Status::Success))
        };
        (0..message).filter(waited).collect()
    }
}
