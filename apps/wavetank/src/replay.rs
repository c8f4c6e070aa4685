//! `wavetank replay`.

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wavetank_engine::{BackendKind, Port, RdmaContext};
use wavetank_harness::determinism::{self, Determinism};
use wavetank_harness::{Progress, Replay, Report, SetupError, Trace, Workload};

use crate::clock::Clock;
use crate::{memory, print, say, table};

/// A run that takes longer than this shows how far it is.
const PATIENCE_S: f64 = 1.0;

/// Replays a workload and checks every byte and latency.
///
/// FILE is a workload in TOML, or a fio iolog of version 2 or 3 (each file becomes a region on a storage node, each read a
/// READ and each write a WRITE). With --volume, the needles of a SeaweedFS volume are read and each is checked against the
/// checksum stored with it.
///
/// The same file and seed give the same trace hash on every machine.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank replay workloads/pgbench-8k.toml
  wavetank replay recorded.iolog --pace --json
  wavetank replay --volume /data/1.dat
  wavetank replay workloads/mixed.toml --seed 7 --check-determinism")]
pub(crate) struct Args {
    /// The workload: TOML or fio iolog.
    #[arg(required_unless_present = "volume", conflicts_with = "volume")]
    file: Option<PathBuf>,
    /// Read the needles of this SeaweedFS volume (.dat, with its .idx beside it).
    #[arg(long, value_name = "DAT")]
    volume: Option<PathBuf>,
    /// Another order and other jitter, instead of the workload's own seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Replay an iolog at the pace it was recorded with, instead of as fast as its concurrency allows.
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
    memory::check(&workload.name, workload.memory_bytes())?;
    // Longer than a second, on a terminal: show how far it is.
    let progress = Bar::new();
    let mut spent_s = 0.0;
    let mut once = |trace: Trace| -> Result<Report, SetupError> {
        let context = |nic, config| RdmaContext::from(Port::new(nic, config));
        let replay = Replay::prepare_with(workload.clone(), trace, context)?;
        let clock = Clock::start();
        let report = replay.run(&mut |at| progress.show(at, &clock));
        spent_s = clock.seconds();
        Ok(report)
    };
    let (report, deterministic) = if args.check_determinism {
        match determinism::check(&mut once)? {
            Determinism::Same(report) => (report, true),
            Determinism::Different { event, first, second, report } => {
                let told = |event: Option<_>| {
                    event.map_or("nothing".to_owned(), |e: wavetank_harness::trace::Event| e.to_string())
                };
                say(&format!("not deterministic: two runs first differ at event {event}"));
                say(&format!("  one had   {}", told(first)));
                say(&format!("  other had {}", told(second)));
                (report, false)
            }
        }
    } else {
        (Box::new(once(Trace::default())?), true)
    };
    progress.done();
    for failure in report.failures.told() {
        say(&failure.to_string());
    }
    let untold = report.failures.total() - report.failures.told().len() as u64;
    if untold > 0 {
        say(&format!("and {untold} more failed checks"));
    }
    if args.json {
        let mut json = report.to_json(spent_s);
        if args.check_determinism {
            json["deterministic"] = deterministic.into();
            json["ok"] = (report.ok() && deterministic).into();
        }
        print(&serde_json::to_string_pretty(&json)?);
    } else {
        print(&table::report(&report, spent_s));
        if args.check_determinism && deterministic {
            print("deterministic: two runs, the same trace");
        }
    }
    Ok(if report.ok() && deterministic { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(args: &Args) -> Result<Workload, Box<dyn Error>> {
    let mut workload = match (&args.file, &args.volume) {
        (_, Some(volume)) => Workload::from_volume(volume),
        (Some(file), None) => Workload::load(file)?,
        (None, None) => return Err("give a workload file, or --volume with a SeaweedFS volume".into()),
    };
    if args.pace {
        workload.set_recorded_pace()?;
    }
    if let Some(seed) = args.seed {
        workload.settings.seed = seed;
    }
    Ok(workload)
}

/// A progress bar that appears only where somebody waits for it.
struct Bar {
    bar: ProgressBar,
    wanted: bool,
}

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Bar { bar, wanted: std::io::stderr().is_terminal() }
    }

    fn show(&self, progress: &Progress, clock: &Clock) {
        if !self.wanted || clock.seconds() < PATIENCE_S {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            let template = match progress.of {
                Some(_) => "{bar:40} {human_pos}/{human_len} operations, {per_sec}, {eta} left",
                None => "{spinner} {human_pos} operations, {per_sec}, virtual time {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            if let Some(of) = progress.of {
                self.bar.set_length(of);
            }
        }
        self.bar.set_position(progress.ops);
        self.bar.set_message(progress.at.to_string());
    }

    fn done(&self) {
        self.bar.finish_and_clear();
    }
}
