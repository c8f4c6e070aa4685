//! Swarm runs per core-second: how much a night of seeds finds.

use std::ops::Range;

use serde::Serialize;

use super::Clock;
use crate::report::per_second;
use crate::swarm::choices::SwarmChoices;
use crate::swarm::tally::Tally;
use crate::swarm::{draw, run};

/// What swarm runs do per second of one core, drawing, faults and every oracle included.
#[derive(Clone, Debug, Serialize)]
pub struct Swarm {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that failed; the figures mean little if there are any.
    pub failed: u64,
    /// Faults of their plans.
    pub episodes: u64,
    /// Operations that ended well, and were verified.
    pub ops: u64,
    /// Seeds per second of one core.
    pub seeds_per_core_s: u64,
    /// Faults per second of one core.
    pub episodes_per_core_s: u64,
    /// Verified operations per second of one core.
    pub ops_per_core_s: u64,
    /// The hash over all: equal on every machine.
    pub hash: String,
}

/// Runs these seeds.
pub fn swarm(seeds: Range<u64>, clock: Clock<'_>) -> Swarm {
    let (mut tally, mut episodes) = (Tally::default(), 0);
    let start = clock();
    for seed in seeds {
        let plan = draw(seed);
        episodes += plan.faults.len() as u64;
        tally.add(seed, &Ok(run(&plan, SwarmChoices::seeded(seed))), "");
    }
    let core_s = (clock() - start) as f64 / 1e9;
    let ops = tally.ops.get("well").copied().unwrap_or(0);
    Swarm {
        seeds: tally.runs,
        failed: tally.failed_total(),
        episodes,
        ops,
        seeds_per_core_s: per_second(tally.runs, core_s),
        episodes_per_core_s: per_second(episodes, core_s),
        ops_per_core_s: per_second(ops, core_s),
        hash: format!("{:016x}", tally.hash),
    }
}
