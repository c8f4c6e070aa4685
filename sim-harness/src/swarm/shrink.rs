//! Making a failing run as small as it gets: fewer operations, fewer faults, fewer loud choices, fewer connections, regions
//! and nodes, duller settings. What is left still fails, by the same check.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 28(2), 2002): whole
//! first, then halves, quarters and so on, from the end, since what comes last depends on what comes first. Nothing is drawn,
//! so that shrinking the same run gives the same result.

mod choices;
mod parts;
mod settings;
#[cfg(test)]
mod tests;
mod unused;

use super::choices::{Loud, SwarmChoices};
use super::file::Failing;
use super::plan::Plan;

/// A run: all there is to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What is done.
    pub plan: Plan,
    /// What was chosen.
    pub loud: Vec<Loud>,
}

/// Runs a plan, and says how it failed.
pub type Runner<'a> = &'a mut dyn FnMut(&Plan, SwarmChoices) -> Option<Failing>;

/// What shrinking is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Runs so far.
    pub runs: u32,
    /// The smallest run so far.
    pub best: &'a Case,
}

/// What became of shrinking.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest run found.
    pub case: Case,
    /// Runs it took.
    pub runs: u32,
    /// Whether nothing more could be taken away, one at a time; otherwise the runs were used up.
    pub done: bool,
}

/// The run does not fail as it should, so that nothing can be learned from smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not fail by {} but {}: replay it first", .wanted.name(), .found.map_or("holds", Failing::name))]
pub struct DoesNotFail {
    /// By what it should fail.
    pub wanted: Failing,
    /// By what it fails, if at all.
    pub found: Option<Failing>,
}

/// Shrinks a run that fails by `wanted`, in `runs_max` runs at most. Whatever else a smaller run fails by is not what is
/// looked for.
///
/// # Errors
/// It does not fail by `wanted`.
pub fn shrink(
    case: &Case,
    wanted: Failing,
    runs_max: u32,
    run: Runner<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Shrunk, DoesNotFail> {
    let mut shrinker =
        Shrinker { best: case.clone(), wanted, runs: 0, runs_max: runs_max.max(1), run, progress };
    let found = shrinker.judge(case.clone());
    if found != Some(wanted) {
        return Err(DoesNotFail { wanted, found });
    }
    let done = loop {
        let before = shrinker.best.clone();
        shrinker.pass();
        if shrinker.runs == shrinker.runs_max {
            break false;
        }
        if shrinker.best == before {
            break true;
        }
    };
    Ok(Shrunk { case: shrinker.best, runs: shrinker.runs, done })
}

struct Shrinker<'a> {
    best: Case,
    wanted: Failing,
    runs: u32,
    runs_max: u32,
    run: Runner<'a>,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Shrinker<'_> {
    /// Everything once.
    fn pass(&mut self) {
        // Most failures need one loud choice or none; without the others every later run is shorter.
        self.attempt(Case { loud: Vec::new(), ..self.best.clone() });
        self.sites();
        self.steady();
        self.ops();
        self.faults();
        self.choices();
        self.unused();
        self.settings();
    }

    /// Takes this case if it is another one and fails alike.
    fn attempt(&mut self, candidate: Case) -> bool {
        candidate != self.best && self.runs < self.runs_max && self.judge(candidate) == Some(self.wanted)
    }

    /// Runs a case. If it fails as it should, it is the best so far, with those of its choices that were asked for.
    fn judge(&mut self, mut candidate: Case) -> Option<Failing> {
        if candidate.plan.check().is_err() {
            return None;
        }
        let choices = SwarmChoices::sparse(&candidate.loud).record();
        self.runs += 1;
        let found = (self.run)(&candidate.plan, choices.clone());
        if found == Some(self.wanted) {
            candidate.loud = choices.loud();
            self.best = candidate;
        }
        (self.progress)(Progress { runs: self.runs, best: &self.best });
        found
    }

    /// Removes what can be removed from a list: all, then halves, quarters, and so on.
    fn remove(&mut self, len: fn(&Case) -> usize, without: fn(&Case, std::ops::Range<usize>) -> Case) {
        let mut chunk = len(&self.best);
        while chunk > 0 {
            let mut end = len(&self.best);
            while end > 0 && self.runs < self.runs_max {
                let start = end.saturating_sub(chunk);
                self.attempt(without(&self.best, start..end));
                end = start.min(len(&self.best));
            }
            chunk = chunk.min(len(&self.best)) / 2;
        }
    }
}
