//! `wavetank replay`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Parser};
use wavetank_engine::{BackendKind, Port, RdmaContext};
use wavetank_harness::determinism::{self, Determinism};
use wavetank_harness::report::Spent;
use wavetank_harness::trace::Event;
use wavetank_harness::workload::Source;
use wavetank_harness::{Replay, Report, SetupError, Trace, Workload};

use crate::clock::Clock;
use crate::progress::Bar;
use crate::{memory, print, say, table};

/// Replays a workload and checks every byte and latency.
///
/// FILE is a workload in TOML, or a fio iolog of version 2 or 3 (each file becomes a region on a storage node, each read a
/// READ and each write a WRITE). With --volume, the needles of a SeaweedFS volume are read and each is checked against the
/// checksum stored with it.
///
/// The same file and seed give the same trace hash on every machine.
#[derive(Debug, Parser)]
#[command(group(ArgGroup::new("input").args(["file", "volume"]).required(true)))]
#[command(after_help = "Examples:
  wavetank replay workloads/pgbench-8k.toml
  wavetank replay recorded.iolog --pace --json | jq '.latency[\"read/8192\"].p99_ns'
  wavetank replay --volume /data/1.dat
  wavetank replay workloads/mixed.toml --seed 7 --check-determinism

Exit status:
  0  every check held
  1  a check failed: stderr says first what and where, stdout has the report all the same
  2  the input is bad: stderr says file, line and key (of a volume: the needle), stdout stays empty")]
pub(crate) struct Args {
    /// The workload: TOML or fio iolog.
    file: Option<PathBuf>,
    /// Read the needles of this SeaweedFS volume (.dat, with its .idx beside it).
    #[arg(long, value_name = "DAT")]
    volume: Option<PathBuf>,
    /// Another order and other jitter, instead of the workload's own seed.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Replay an iolog at the pace it was recorded with, instead of as fast as its concurrency allows. A throughput_min of
    /// the workload is then not asked for: throughput is what was recorded.
    #[arg(long)]
    pace: bool,
    /// Run twice and name the first event that differs.
    #[arg(long)]
    check_determinism: bool,
    /// The device: mock, verbs or ucx. Nothing falls back to the mock by itself.
    #[arg(long, default_value = "mock")]
    backend: BackendKind,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    args.backend.require_built()?;
    let workload = load(args)?;
    memory::check(&workload.path.display().to_string(), memory_bytes(&workload))?;
    let progress = Bar::new();
    let mut spent = Spent::default();
    let mut once = |trace: Trace| -> Result<Report, SetupError> {
        let context = |nic, config| RdmaContext::from(Port::new(nic, config));
        let replay = Replay::prepare_with(workload.clone(), trace, context)?;
        let clock = Clock::start();
        let report = replay.run(&mut |at| progress.show(at));
        spent = Spent { wall_s: clock.wall_s(), core_s: clock.core_s() };
        Ok(report)
    };
    let ran = if args.check_determinism {
        determinism::check(&mut once)?
    } else {
        Determinism::Same(Box::new(once(Trace::default())?))
    };
    progress.done();
    let (report, deterministic) = match ran {
        Determinism::Same(report) => (report, true),
        Determinism::Different { event, first, second, report } => {
            let told = |event: Option<Event>| event.map_or("nothing".to_owned(), |event| event.to_string());
            say(&format!("not deterministic: two runs first differ at event {event}"));
            say(&format!("  one had   {}", told(first)));
            say(&format!("  other had {}", told(second)));
            (report, false)
        }
    };
    for failure in report.failures.told() {
        say(&failure.to_string());
    }
    let untold = report.failures.total() - report.failures.told().len() as u64;
    if untold > 0 {
        say(&format!("and {untold} more failed checks"));
    }
    if args.json {
        let mut json = report.to_json(&spent);
        if args.check_determinism {
            json["deterministic"] = deterministic.into();
            json["ok"] = (report.ok() && deterministic).into();
        }
        print(&serde_json::to_string_pretty(&json)?)?;
    } else {
        print(&table::report(&report, &spent))?;
        if args.check_determinism && deterministic {
            print("  repeated     two runs, the same trace: deterministic")?;
        }
    }
    Ok(if report.ok() && deterministic { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Bytes a run takes. A volume that is still to be read will be there twice: as it is on disk, and as the storage node's
/// memory.
fn memory_bytes(workload: &Workload) -> u64 {
    let file_bytes = match &workload.source {
        Source::Volume { path, needles: None } => std::fs::metadata(path).map_or(0, |file| file.len()),
        _ => 0,
    };
    workload.memory_bytes().saturating_add(file_bytes.saturating_mul(2))
}

fn load(args: &Args) -> Result<Workload, Box<dyn Error>> {
    let mut workload = match (&args.file, &args.volume) {
        (_, Some(volume)) => Workload::from_volume(volume),
        (Some(file), None) => Workload::load(file)?,
        (None, None) => return Err("give a workload file, or --volume with a SeaweedFS volume".into()),
    };
    if args.pace {
        workload.set_recorded_pace()?;
        workload.expect.throughput_min = None;
    }
    if let Some(seed) = args.seed {
        workload.settings.seed = seed;
    }
    Ok(workload)
}
