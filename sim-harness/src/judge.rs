//! The differential judge: runs programs on two labs and compares everything that is defined.
//!
//! The reference is a lab whose time is free (the simulated NIC), so that it can be waited for until nothing more happens;
//! the other is then waited for until it has done the same. What is compared: refusals, completions of each endpoint and
//! queue in their order with what they carry, states, and every byte of memory. What is not: the order between endpoints
//! or queues, how long anything takes, vendor codes, asynchronous events (devices differ in whether they tell), fields of
//! failed completions, and bytes that are undefined: `judge/mask.rs` lists them, with a reason each.

mod compare;
mod generate;
mod known;
mod log;
mod mask;
mod model;
mod plan;
mod program;
mod ranges;
mod shrink;
mod side_by_side;
mod stage;
mod summary;
mod text;

use std::fmt;

use wavetank_contract::chance::mix64;
use wavetank_contract::{Instant, Seeded};

pub use compare::{Compared, Difference};
pub use generate::{Limits, generate};
pub use known::Rule;
pub use log::{Ended, Log, Queue, Refusal, Round};
pub use plan::Plan;
pub use program::{
    ConnectionPlan, End, Key, LocalData, NODES, Piece, Place, Post, Program, RegionId, RegionPlan, Step, Verb,
};
pub use summary::{Disagreement, Summary};
pub use text::{TextError, parse};

use crate::lab::{Lab, LabError};
use stage::Stage;

/// Steps of a generated program, about.
const STEPS: u64 = 25;
/// Smaller programs tried for one disagreement.
pub const SHRINK_TRIES: u32 = 500;
/// Real time spent on that.
const SHRINK_NS: u64 = 60_000_000_000;

/// Two labs, one of which is right.
pub struct Judge<R: Lab, O: Lab> {
    reference: Stage<R>,
    other: Stage<O>,
    rules: Vec<Rule>,
    shrink_tries: u32,
}

impl<R: Lab, O: Lab> fmt::Debug for Judge<R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labs = [self.reference.lab.name(), self.other.lab.name()];
        f.debug_struct("Judge").field("labs", &labs).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What became of one program.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What was run: the program, but for what rules change of it.
    pub program: Program,
    /// Differences that no rule knows, in the order in which they came about.
    pub differences: Vec<Difference>,
    /// How often each rule applied.
    pub applied: Vec<u32>,
    /// What was compared.
    pub compared: Compared,
    /// What the reference did, and what the other.
    pub logs: [Log; 2],
}

impl<R: Lab, O: Lab> Judge<R, O> {
    /// Opens two devices of either lab.
    ///
    /// # Errors
    /// One could not be had.
    pub fn new(reference: R, other: O) -> Result<Judge<R, O>, LabError> {
        let rules = known::rules_for(other.name());
        let (reference, other) = (Stage::new(reference)?, Stage::new(other)?);
        Ok(Judge { reference, other, rules, shrink_tries: SHRINK_TRIES })
    }

    /// How many smaller programs to try for one disagreement; 0 leaves it as it is.
    pub fn shrink_tries(&mut self, tries: u32) {
        self.shrink_tries = tries;
    }

    /// What all four devices take.
    pub fn limits(&self) -> Limits {
        let caps = || self.reference.caps().chain(self.other.caps());
        let least = |of: fn(&wavetank_contract::Caps) -> u32| caps().map(of).min().unwrap_or(0);
        Limits { pieces: least(|c| c.sge_max), inline_bytes: least(|c| c.inline_bytes_max), steps: STEPS }
    }

    /// The program of this number in a run with this seed.
    pub fn program(&self, seed: u64, number: u64) -> Program {
        generate(self.limits(), &mut Seeded::new(mix64(seed) ^ mix64(number)))
    }

    /// Runs a program on both labs and compares.
    ///
    /// # Errors
    /// A lab could not set it up, or its outcome is not defined ([`Plan::undefined`]).
    pub fn judge(&mut self, program: &Program) -> Result<Verdict, String> {
        let mut applied = vec![0; self.rules.len()];
        let program = known::changed(&self.rules, program, &mut applied);
        let plan = Plan::of(&program);
        if let Some(step) = plan.undefined {
            return Err(format!("the outcome is not defined from step {step} on"));
        }
        let by = |lab: &str, why: String| format!("{lab}: {why}");
        let ours =
            self.reference.run(&program, &plan, None).map_err(|why| by(self.reference.lab.name(), why))?;
        let mut theirs =
            self.other.run(&program, &plan, Some(&ours)).map_err(|why| by(self.other.lab.name(), why))?;
        known::read_alike(&self.rules, &program, &ours, &mut theirs, &mut applied);
        let (differences, compared) = compare::compare(&program, &ours, &theirs);
        Ok(Verdict { program, differences, applied, compared, logs: [ours, theirs] })
    }

    /// A summary of nothing.
    pub fn nothing_yet(&self) -> Summary {
        Summary::new(&self.rules)
    }

    /// Judges `programs` generated programs. `watch` is told how many are done and how many are disagreed on; it answers
    /// whether to go on.
    pub fn run(&mut self, seed: u64, programs: u64, watch: &mut dyn FnMut(u64, usize) -> bool) -> Summary {
        let mut summary = self.nothing_yet();
        for number in 0..programs {
            let program = self.program(seed, number);
            self.take(&program, Some(number), &mut summary);
            if !watch(number + 1, summary.disagreements.len()) {
                break;
            }
        }
        summary
    }

    /// Judges one program into a summary.
    pub fn take(&mut self, program: &Program, number: Option<u64>, summary: &mut Summary) {
        let changed = known::changed(&self.rules, program, &mut vec![0; self.rules.len()]);
        if Plan::of(&changed).undefined.is_some() {
            summary.undefined += 1;
            return;
        }
        let first = self.judge(program);
        summary.count(&first);
        if !disagrees(&first) {
            return;
        }
        // What does not come again is told apart: devices in real time may be late once.
        let again = self.judge(program);
        if !disagrees(&again) && !disagrees(&self.judge(program)) {
            summary.unsteady.push(Disagreement::of(number, &first));
            return;
        }
        let sort = sort_of(&first);
        let seen = summary.sorts.entry(sort.clone().unwrap_or_default()).or_default();
        *seen += 1;
        if *seen > 1 {
            // One of each sort is shown.
            return;
        }
        let begun = self.other.lab.now();
        let real = self.other.caps().any(|caps| !caps.simulated);
        let small = shrink::shrink(program, self.shrink_tries, &mut |candidate| {
            let late = |now: Instant| real && now.since_ns(begun) > SHRINK_NS;
            !late(self.other.lab.now()) && sort_of(&self.judge(candidate)) == sort
        });
        let verdict = self.judge(&small);
        let kept = if disagrees(&verdict) { &verdict } else { &first };
        summary.disagreements.push(Disagreement::of(number, kept));
    }
}

fn disagrees(verdict: &Result<Verdict, String>) -> bool {
    verdict.as_ref().is_ok_and(|verdict| !verdict.differences.is_empty())
}

/// Which sort of difference a verdict begins with.
fn sort_of(verdict: &Result<Verdict, String>) -> Option<String> {
    let verdict = verdict.as_ref().ok()?;
    verdict.differences.first().map(|difference| difference.sort(&verdict.program))
}
