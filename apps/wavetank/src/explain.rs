//! `wavetank explain`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wavetank_engine::{Port, RdmaContext};
use wavetank_harness::explain::Explainer;
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{SimFile, caught};
use wavetank_harness::swarm::run_on;
use wavetank_harness::{Replay, Workload};

use crate::again::is_swarm_run;
use crate::{faults, memory, print, say};

/// Tells the story of one operation: every event that touched it, in order and in words.
///
/// FILE is whatever `wavetank replay` runs on the simulated network: a run that `wavetank sim` kept, a workload, an iolog. It
/// is run again, and every packet, timeout, fault, completion and event that touched the operation is told, with its time since
/// the operation was submitted.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank explain sim-failures/seed-8117.sim               the operation that failed
  wavetank explain sim-failures/seed-8117.sim --op 17
  wavetank explain workloads/mixed.toml --op 4211           why was it slow?

Exit status:
  0  the story was told
  1  the run has no such operation, or did not come to it
  2  the input is bad: stderr says file, line and key, stdout stays empty")]
pub(crate) struct Args {
    /// The run, workload or iolog.
    file: PathBuf,
    /// The operation: its number in the run, or in a workload its place, from 0. Without it the one that the file says
    /// failed.
    #[arg(long)]
    op: Option<u64>,
    /// Disturb a workload by this schedule of faults, as `wavetank replay --faults` does.
    #[arg(long, value_name = "TOML")]
    faults: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let path = args.file.as_path();
    let (op, told) = match (is_swarm_run(path), &args.faults) {
        (true, Some(_)) => {
            return Err("--faults is for workloads; a swarm run has its own in its file".into());
        }
        (true, None) => swarm(path, args.op)?,
        (false, faults) => workload(path, args.op, faults.as_deref())?,
    };
    match told {
        Some(story) => {
            print(story.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            say(&format!("{}: operation {op} was never submitted", path.display()));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn swarm(path: &Path, op: Option<u64>) -> Result<(u64, Option<String>), Box<dyn Error>> {
    let file = SimFile::load(path)?;
    let tell = |op: u64| {
        let explainer = Explainer::of(op);
        let choices = SwarmChoices::sparse(&file.case.loud);
        let context = |nic, config| RdmaContext::from(Port::new(nic, config));
        // A run that panics has a story up to then.
        let outcome = caught(|| run_on(&file.case.plan, choices, explainer.watch(), context));
        (outcome, explainer.told())
    };
    if let Some(op) = op {
        return Ok((op, tell(op).1));
    }
    let guilty = |outcome: wavetank_harness::swarm::file::Outcome| outcome.ok()?.failure?.op;
    match guilty(tell(u64::MAX).0) {
        Some(op) => Ok((op.into(), tell(op.into()).1)),
        None => Err(format!(
            "{}: no operation is to blame for how it ended; say which one is meant with --op",
            path.display()
        )
        .into()),
    }
}

fn workload(
    path: &Path,
    op: Option<u64>,
    schedule: Option<&Path>,
) -> Result<(u64, Option<String>), Box<dyn Error>> {
    let mut workload = Workload::load(path)?;
    let schedule = faults::load(schedule, &mut workload)?;
    memory::check(&path.display().to_string(), workload.memory_bytes())?;
    let Some(op) = op else {
        return Err(format!("{}: say which operation is meant with --op", path.display()).into());
    };
    let explainer = Explainer::of(op);
    let mut replay = Replay::prepare(workload)?;
    // What is under way when a check fails is told to its end.
    replay.record();
    if let Some(schedule) = schedule {
        replay.disturb(schedule, None)?;
    }
    replay.watch(explainer.watch());
    replay.run(&mut |_| ());
    Ok((op, explainer.told()))
}
