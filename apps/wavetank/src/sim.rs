//! `wavetank sim`.

mod bar;
mod fleet;
mod lines;
mod merge;
mod messenger;
mod told;
mod worker;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wavetank_harness::swarm::tally::{Seeds, Tally};
use wavetank_harness::workload::units::Nanos;

pub(crate) use bar::{CellsBar, RunsBar};
pub(crate) use worker::{sing, write};

use crate::clock::Clock;
use crate::{print, say};

/// Looks for bugs: each seed draws a run with faults, and nothing wrong may become visible in it.
///
/// A seed decides which operations and faults there are, how many nodes, connections and regions, and every choice while it
/// runs. First the run is disturbed, and whatever is done has to be right or refused; then everything is healed, and
/// everything has to end. A seed that fails leaves DIR/seed-N.sim, which `wavetank replay` repeats and `wavetank shrink`
/// makes small.
///
/// Seeds are run in other processes, one per job, so that one that crashes or hangs costs only itself. A run is bounded in
/// virtual time and in steps of the network; a seed that still takes longer than --seed-timeout is given up. Job schedulers
/// run shards: what they print with --json adds up with --merge.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank sim --seeds 1000 --jobs 2
  wavetank sim --start 8117 --seeds 1               one seed again
  wavetank sim --start $(git rev-parse HEAD)        seeds of a commit
  wavetank sim --over messenger --seeds 1000        messages, over the same network and faults
  wavetank sim --over messenger --start 7 --explain what happened in one of them
  wavetank replay sim-failures/seed-8117.sim        repeats a failure
  wavetank shrink sim-failures/seed-8117.sim        makes it small

On two machines, then added up:
  wavetank sim --seeds 100000 --shard 0/2 --keep-going --json > 0.json
  wavetank sim --seeds 100000 --shard 1/2 --keep-going --json > 1.json
  wavetank sim --merge 0.json 1.json

Exit status:
  0  everything held
  1  a seed failed: stderr says which, and how to repeat it; or it was interrupted
  2  the input is bad, or a process could not be had")]
pub(crate) struct Args {
    /// What the runs are over: the engine alone, or messengers on it.
    #[arg(long, value_enum, default_value_t = Over::Engine)]
    over: Over,
    /// Run one seed over messengers and print what happened, line by line; with --shrink, after leaving out what is not needed
    /// for its failure.
    #[arg(long, requires = "over")]
    explain: bool,
    /// See --explain.
    #[arg(long, requires = "explain")]
    shrink: bool,
    /// How many seeds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed: a number, or a commit of 40 hexadecimal digits.
    #[arg(long, default_value = "1", value_parser = seed)]
    start: u64,
    /// Processes at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: u64,
    /// Run only every n-th seed, beginning with the i-th (from 0).
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(u64, u64)>,
    /// Where failures are left.
    #[arg(long, value_name = "DIR", default_value = "sim-failures")]
    out: PathBuf,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Let every seed that 100 divides fail: whoever runs this and sees no failure has a broken chain.
    #[arg(long)]
    canary: bool,
    /// Run every n-th seed twice and compare; 0 is never.
    #[arg(long, value_name = "N", default_value_t = 20)]
    repeat_every: u64,
    /// How long one seed may take, in real time.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    seed_timeout: Nanos,
    /// List also what was never covered.
    #[arg(long)]
    coverage: bool,
    /// Add up what shards printed with --json; run nothing.
    #[arg(long, value_name = "JSON", num_args = 1.., conflicts_with_all = ["seeds", "start", "jobs", "shard", "canary"])]
    merge: Vec<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// What a job is to do. Not for people.
    #[arg(long, hide = true, value_parser = worker::share)]
    worker: Option<worker::Share>,
}

/// What runs are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Over {
    /// READs, WRITEs, SENDs and atomics through the engine.
    Engine,
    /// Messages, requests and replies between messengers.
    Messenger,
}

impl Over {
    /// Its name in flags.
    const fn name(self) -> &'static str {
        match self {
            Over::Engine => "engine",
            Over::Messenger => "messenger",
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.explain {
        return messenger::explain(args.over, args.start, args.shrink);
    }
    if let Some(share) = &args.worker {
        return worker::run(args, share);
    }
    let clock = Clock::start();
    let (tally, interrupted) = match args.merge.as_slice() {
        [] => fleet::run(args, seeds(args)?)?,
        files => (merge::merge(files)?, false),
    };
    for failure in tally.failures.iter().take(told::FAILURES) {
        say(&format!("seed {}: {} check failed {}", failure.seed, failure.check, failure.what));
        say(&format!("  repeat it with: {}", failure.again));
    }
    let untold = tally.failed_total().saturating_sub(told::FAILURES as u64);
    if untold > 0 {
        say(&format!("and {untold} more"));
    }
    print(&if args.json { told::json(&tally, clock.wall_s())? } else { told::table(&tally, args.coverage) })?;
    if interrupted {
        say("wavetank: interrupted: these are the seeds so far");
    }
    Ok(if tally.ok() && !interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The seeds that are asked for.
fn seeds(args: &Args) -> Result<Seeds, String> {
    let Some(all) = Seeds::new(args.start, args.seeds) else {
        return Err(format!("--start {} --seeds {}: seeds have 64 bits; give fewer", args.start, args.seeds));
    };
    Ok(args.shard.map_or(all, |(index, of)| all.shard(index, of)))
}

/// The file of a failure.
fn file_of(out: &Path, seed: u64) -> PathBuf {
    out.join(format!("seed-{seed}.sim"))
}

/// Whether a seed is a canary.
fn is_canary(args: &Args, seed: u64) -> bool {
    args.canary && seed.is_multiple_of(100)
}

/// Whether a tally is worth going on with.
fn goes_on(args: &Args, tally: &Tally) -> bool {
    args.keep_going || tally.ok()
}

fn seed(text: &str) -> Result<u64, String> {
    let commit = text.len() == 40 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    // Fifteen digits leave room for as many seeds as anybody runs.
    let parsed = if commit { u64::from_str_radix(&text[..15], 16) } else { text.parse() };
    parsed.map_err(|_| "wanted a whole number of 64 bits, or a commit of 40 hexadecimal digits".to_owned())
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((index, of)) if index < of && of <= 1 << 20 => Ok((index, of)),
        _ => Err("wanted I/N with I below N, as in 0/4".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_number_or_a_commit() {
        assert_eq!((seed("0"), seed("18446744073709551615")), (Ok(0), Ok(u64::MAX)));
        assert_eq!(seed("00000000000000fb6d4ed6bce81c345a0c9be91b"), Ok(0xf));
        assert!(["", "-1", "1.5", "b6d4ed6", "18446744073709551616"].iter().all(|text| seed(text).is_err()));
    }

    #[test]
    fn a_shard_is_below_the_number_of_shards() {
        assert_eq!(shard("3/4"), Ok((3, 4)));
        assert!(["4/4", "0/0", "1", "a/b", "0/9999999"].iter().all(|text| shard(text).is_err()));
    }
}
