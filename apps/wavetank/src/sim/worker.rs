//! One job: runs its seeds and says on stdout, line by line, at which it is and what came of them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wavetank_contract::Instant;
use wavetank_harness::Check;
use wavetank_harness::messenger::SWARM_VERSION;
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{Outcome, SimFile, caught};
use wavetank_harness::swarm::tally::{Seeds, Tally};
use wavetank_harness::swarm::{Guilt, Plan, draw, run as run_plan};

use super::lines::Line;
use super::{Args, Over, file_of, goes_on, is_canary, messenger};
use crate::clock::Clock;
use crate::print;

/// Seeds between two tallies: what a crash costs at most.
const TALLY_EVERY: u64 = 64;

/// What a job has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Its seeds.
    pub(super) seeds: Seeds,
    /// Those of them that took an earlier job with them.
    pub(super) lost: Vec<u64>,
}

impl Share {
    /// As [`share`] reads it.
    pub(super) fn to_text(&self) -> String {
        let numbers = <[u64; 3]>::from(self.seeds).into_iter().chain(self.lost.iter().copied());
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
    }
}

/// Reads a share: start, step, count, and whatever is lost.
pub(super) fn share(text: &str) -> Result<Share, String> {
    let numbers: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
    match numbers.map_err(|error| error.to_string())?.as_slice() {
        [start, step, count, lost @ ..] => {
            Ok(Share { seeds: [*start, *step, *count].try_into()?, lost: lost.to_vec() })
        }
        _ => Err("wanted start,step,count,lost,...".to_owned()),
    }
}

pub(super) fn run(args: &Args, share: &Share) -> Result<ExitCode, Box<dyn Error>> {
    let mut clock = Clock::start();
    let mut tally = Tally::default();
    if args.over == Over::Messenger {
        tally.swarm = SWARM_VERSION.to_owned();
    }
    let mut since = 0;
    for (index, seed) in (1..).zip(share.seeds.iter()) {
        since += 1;
        if !share.lost.contains(&seed) {
            print(&Line::At(seed).to_string())?;
            let (canary, repeated) = (is_canary(args, seed), is_repeated(args, seed));
            if args.over == Over::Messenger {
                tally.add(seed, &messenger::tried(seed, canary, repeated), &messenger::again(seed));
            } else {
                let tried = Tried::run(seed, canary, repeated);
                let again = tried.keep(&args.out)?;
                tally.add(seed, &tried.outcome, &again);
            }
        }
        let over = index == share.seeds.count || !goes_on(args, &tally);
        if since == TALLY_EVERY || over {
            tally.core_ns = clock.core_ns();
            print(&Line::Tally(since, Box::new(std::mem::take(&mut tally))).to_string())?;
            (clock, since) = (Clock::start(), 0);
        }
        if over {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_repeated(args: &Args, seed: u64) -> bool {
    args.repeat_every > 0 && seed.is_multiple_of(args.repeat_every)
}

/// A seed that was run.
#[derive(Debug)]
struct Tried {
    seed: u64,
    canary: bool,
    /// What it drew, unless that panicked.
    plan: Option<Plan>,
    outcome: Outcome,
}

impl Tried {
    fn run(seed: u64, canary: bool, repeated: bool) -> Tried {
        let mut plan = None;
        let mut outcome = caught(|| run_plan(plan.insert(draw(seed)), SwarmChoices::seeded(seed)));
        if let (Some(plan), Ok(verdict), true) = (&plan, &mut outcome, repeated) {
            let other = caught(|| run_plan(plan, SwarmChoices::seeded(seed)));
            let (first, second) = (verdict.trace_hash, other.map(|verdict| verdict.trace_hash));
            if second != Ok(first) {
                let second = second.map_or_else(|panic| panic, |hash| format!("{hash:016x}"));
                let what = format!("two runs of it differ: {first:016x} and {second}");
                verdict.failure = Some(Guilt { check: Check::Repeated, at: Instant::ZERO, op: None, what });
            }
        }
        if canary {
            sing(&mut outcome);
        }
        Tried { seed, canary, plan, outcome }
    }

    /// Writes a failure down. The command that repeats it; nothing for a run that held.
    fn keep(&self, out: &Path) -> Result<String, String> {
        let Some(plan) = self.plan.as_ref().filter(|_| self.failed()) else {
            return Ok(if self.failed() { again_by_seed(self.seed) } else { String::new() });
        };
        let choices = SwarmChoices::seeded(self.seed).record();
        let mut outcome = caught(|| run_plan(plan, choices.clone()));
        if self.canary {
            sing(&mut outcome);
        }
        let mut file = SimFile::of(Some(self.seed), plan, &choices, &outcome);
        file.canary = self.canary;
        if let Ok(Some(guilt)) = outcome.as_ref().map(|verdict| &verdict.failure) {
            file.notes.push(guilt.what.clone());
        }
        let path = file_of(out, self.seed);
        write(&path, &file)?;
        Ok(format!("wavetank replay {}", path.display()))
    }

    fn failed(&self) -> bool {
        self.outcome.as_ref().map_or(true, |verdict| verdict.failure.is_some())
    }
}

/// Lets a run fail, though nothing is wrong.
pub(crate) fn sing(outcome: &mut Outcome) {
    if let Ok(verdict) = outcome {
        let what = "this one has to fail".to_owned();
        verdict.failure = Some(Guilt { check: Check::Canary, at: verdict.took, op: None, what });
    }
}

/// The command that runs one seed.
pub(super) fn again_by_seed(seed: u64) -> String {
    format!("wavetank sim --start {seed} --seeds 1")
}

/// Writes a run, wholly or not at all.
pub(crate) fn write(path: &Path, file: &SimFile) -> Result<(), String> {
    let failed = |error| format!("{}: cannot be written: {error}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    std::fs::write(&part, file.to_string()).and_then(|()| std::fs::rename(&part, path)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_as_numbers() {
        let seeds = Seeds::new(7, 100).expect("few").shard(1, 3);
        for lost in [vec![], vec![11, 14]] {
            let one = Share { seeds, lost };
            assert_eq!(share(&one.to_text()), Ok(one));
        }
        assert!(["", "1,2", "1,0,5", "a,b,c"].iter().all(|text| share(text).is_err()));
    }
}
