//! Seeds over messengers: one run, and one told line by line.

use std::error::Error;
use std::process::ExitCode;

use wavetank_contract::Instant;
use wavetank_harness::Check;
use wavetank_harness::messenger::{draw, run as run_plan, run_told, shrink};
use wavetank_harness::swarm::Guilt;
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{Outcome, caught};

use super::Over;
use super::worker::sing;
use crate::print;

/// Runs a seed, twice if it is to be compared with itself.
pub(super) fn tried(seed: u64, canary: bool, repeated: bool) -> Outcome {
    let once = || caught(|| run_plan(&draw(seed), SwarmChoices::seeded(seed)));
    let mut outcome = once();
    if let (Ok(verdict), true) = (&mut outcome, repeated) {
        let (first, second) = (verdict.trace_hash, once().map(|verdict| verdict.trace_hash));
        if second != Ok(first) {
            let second = second.map_or_else(|panic| panic, |hash| format!("{hash:016x}"));
            let what = format!("two runs of it differ: {first:016x} and {second}");
            verdict.failure = Some(Guilt { check: Check::Repeated, at: Instant::ZERO, op: None, what });
        }
    }
    if canary {
        sing(&mut outcome);
    }
    outcome
}

/// The command that tells what happened.
pub(super) fn again(seed: u64) -> String {
    format!("wavetank sim --over messenger --start {seed} --explain")
}

/// Tells a seed line by line.
pub(super) fn explain(over: Over, seed: u64, smaller: bool) -> Result<ExitCode, Box<dyn Error>> {
    if over != Over::Messenger {
        return Err(
            "--explain tells runs over messengers; `wavetank explain` tells those of the engine".into()
        );
    }
    let choices = || SwarmChoices::seeded(seed);
    let mut plan = draw(seed);
    if smaller && let Ok(Some(guilt)) = caught(|| run_plan(&plan, choices())).map(|verdict| verdict.failure) {
        plan = shrink(&plan, guilt.check, |plan| {
            caught(|| run_plan(plan, choices())).ok()?.failure.map(|guilt| guilt.check)
        });
        print(&format!("{plan:#?}"))?;
    }
    let told = run_told(&plan, choices(), true);
    print(&told.log.join("\n"))?;
    let verdict = told.verdict;
    print(&format!("trace hash {:016x}, {} bytes verified", verdict.trace_hash, verdict.bytes_verified))?;
    let Some(guilt) = verdict.failure else {
        print("everything held")?;
        return Ok(ExitCode::SUCCESS);
    };
    print(&format!("{} check failed at {}: {}", guilt.check.name(), guilt.at, guilt.what))?;
    Ok(ExitCode::FAILURE)
}
