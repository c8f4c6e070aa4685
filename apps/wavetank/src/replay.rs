//! `wavetank replay`.

mod peer;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Parser};
use wavetank_engine::{BackendKind, Port, RdmaContext};
use wavetank_harness::determinism::{self, Determinism};
use wavetank_harness::lab::Wire;
use wavetank_harness::report::Spent;
use wavetank_harness::trace::Event;
use wavetank_harness::workload::units::Nanos;
use wavetank_harness::workload::{Expect, Source};
use wavetank_harness::world::Waiting;
use wavetank_harness::{Replay, Report, Trace, Workload};

use crate::address::Address;
use crate::clock::Clock;
use crate::device::{Devices, Protocol};
use crate::progress::Bar;
use crate::{again, faults, files, memory, pcap, print, say, table};

/// Replays a workload and checks every byte and latency.
///
/// FILE is a workload in TOML, a fio iolog of version 2 or 3 (each file becomes a region on a storage node, each read a READ
/// and each write a WRITE), a run recorded with --record, or a run that `wavetank sim` left: that has to end as its file says. With --volume, the needles of a SeaweedFS volume are read and
/// each is checked against the checksum stored with it.
///
/// On the simulated network the same file and seed give the same trace hash on every machine. With --backend verbs or ucx the
/// same operations go to real devices, in real time, and are held to the same checks; the nodes of the workload take the devices
/// in turn. A recorded run is issued again with the same operations in flight, and how each one ends is compared with its
/// recording.
#[derive(Debug, Parser)]
#[command(group(ArgGroup::new("input").args(["file", "volume"]).required(true)))]
#[command(after_help = "Examples:
  wavetank replay workloads/pgbench-8k.toml
  wavetank replay recorded.iolog --pace --json | jq '.latency[\"read/8192\"].p99_ns'
  wavetank replay --volume /data/1.dat
  wavetank replay workloads/mixed.toml --seed 7 --check-determinism
  wavetank replay workloads/guest/pgbench-8k.toml --backend verbs --device rxe0,rxe1 --record run.sim
  wavetank replay workloads/guest/pgbench-8k.toml --backend ucx --device tcp/lo --protocol rndv
  wavetank replay workloads/guest/pgbench-8k.toml --backend ucx --device tcp --peer storage-3:7471
  wavetank replay workloads/pgbench-8k.toml --faults workloads/faults/lossy.toml
  wavetank replay workloads/mixed.toml --pcap run.pcapng      every packet, for wireshark
  wavetank replay run.sim          the same operations on the simulated network, status by status
  wavetank replay sim-failures/seed-8117.sim      a failure of `wavetank sim`, choice by choice

Exit status:
  0  every check held
  1  a check failed: stderr says first what and where, stdout has the report all the same
  2  the input is bad: stderr says file, line and key (of a volume: the needle), stdout stays empty")]
pub(crate) struct Args {
    /// The workload: TOML, fio iolog or recorded run.
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
    /// Simulate this device instead of the workload's: ideal, rxe, cx6, or a file that `wavetank calibrate` wrote.
    #[arg(long, value_name = "NAME|FILE")]
    profile: Option<String>,
    /// Run twice and name the first event that differs. Simulated network only.
    #[arg(long)]
    check_determinism: bool,
    /// Keep the run in this file: what was asked, how it ended and when.
    #[arg(long, value_name = "SIM")]
    record: Option<PathBuf>,
    #[command(flatten)]
    pcap: pcap::Asked,
    /// The backend: mock, verbs or ucx. Nothing falls back to the mock by itself.
    #[arg(long, default_value = "mock")]
    backend: BackendKind,
    /// The devices to run on, by name; nodes take them in turn.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    device: Vec<String>,
    /// How messages travel over UCX.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// The storage node is another process, which `wavetank serve-memory` runs: its memory is read and written over the wire,
    /// and at the end read whole, swept, and compared with what the process says it holds. One node of the workload posts and
    /// one is reached, with READs, WRITEs and atomics.
    #[arg(long, value_name = "HOST:PORT")]
    peer: Option<Address>,
    /// Do not hold the run to the workload's `[expect]`: its ceilings may be of another device.
    #[arg(long)]
    no_expect: bool,
    /// How long an operation may take, as in 30s or 500ms, instead of what the workload says. On devices the default is
    /// 30s, and a run in which nothing ends for that long is given up; with --peer the same is for each step of the way there.
    #[arg(long, value_name = "TIME")]
    deadline: Option<Nanos>,
    /// Poll devices for so long before sleeping, as in 50us. For hardware: software devices need the core themselves.
    #[arg(long, value_name = "TIME")]
    spin: Option<Nanos>,
    /// Disturb the run by this schedule of faults (see workloads/faults). What succeeds is checked as ever; what fails by a
    /// fault is counted, and its connection made anew. What the workload expects is not asked for.
    #[arg(long, value_name = "TOML", conflicts_with = "record")]
    faults: Option<PathBuf>,
    /// The network devices at the two ends of the wire between two devices, for --faults: tc(8) and ip(8) disturb it, as
    /// root.
    #[arg(long, value_name = "A,B", requires = "faults")]
    wire: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    same_file(args.file.as_deref(), "--pcap", args.pcap.path())?;
    if let Some(path) = args.file.as_deref().filter(|path| again::is_swarm_run(path)) {
        refuse_for_swarm(args)?;
        return again::run(path, args.record.as_deref(), &args.pcap, args.check_determinism, args.json);
    }
    if args.peer.is_some() {
        peer::refuse(args)?;
    }
    same_file(args.file.as_deref(), "--record", args.record.as_deref())?;
    let devices = Devices::asked(args.backend, &args.device, args.protocol)?;
    if devices.is_some() && args.check_determinism {
        let why = "--check-determinism runs twice and wants the same trace; nothing on a device happens twice: leave it \
                   out, or leave --backend out";
        return Err(why.into());
    }
    let mut workload = load(args)?;
    if let Some(address) = &args.peer {
        return peer::run(args, workload, devices.as_ref(), address);
    }
    let faults = faults::load(args.faults.as_deref(), &mut workload)?;
    memory::check(&workload.path.display().to_string(), memory_bytes(&workload))?;
    // Before the run: a long one should not end with a file that cannot be written.
    let mut record = args.record.as_deref().map(files::create).transpose()?;
    let capturing = args.pcap.begin(devices.is_none())?;
    let mut tap = capturing.as_ref().map(pcap::Capturing::tap);
    let progress = Bar::new();
    let mut spent = Spent::default();
    let mut once = |trace: Trace| -> Result<Report, Box<dyn Error>> {
        let mut replay = prepare(args, &workload, devices.as_ref(), trace)?;
        if let Some(schedule) = &faults {
            let wire = args.wire.as_deref().map(Wire::parse).transpose()?;
            replay.disturb(schedule.clone(), wire)?;
        }
        if record.is_some() {
            replay.record();
        }
        if let (Some(fabric), Some(tap)) = (replay.world().fabric(), tap.take()) {
            fabric.set_tap(Some(tap));
        }
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
    if let (Some(file), Some(path)) = (&mut record, &args.record) {
        files::record(path, file, report.recorded.as_ref())?;
    }
    capturing.as_ref().map_or(Ok(()), pcap::Capturing::finish)?;
    print_report(args, &report, &spent, deterministic)
}

/// What a run found, on both streams, and the exit status it comes to.
fn print_report(
    args: &Args,
    report: &Report,
    spent: &Spent,
    deterministic: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    tell(report);
    if args.json {
        let mut json = report.to_json(spent);
        if args.check_determinism {
            json["deterministic"] = deterministic.into();
            json["ok"] = (report.ok() && deterministic).into();
        }
        print(&serde_json::to_string_pretty(&json)?)?;
    } else {
        print(&table::report(report, spent))?;
        if let Some(toll) = &report.toll {
            print(&faults::told(toll))?;
        }
        if args.check_determinism && deterministic {
            print("  repeated     two runs, the same trace: deterministic")?;
        }
    }
    Ok(if report.ok() && deterministic { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A swarm run has everything in its file.
fn refuse_for_swarm(args: &Args) -> Result<(), String> {
    let given = [
        ("--seed", args.seed.is_some()),
        ("--pace", args.pace),
        ("--profile", args.profile.is_some()),
        ("--backend", args.backend != BackendKind::Mock),
        ("--device", !args.device.is_empty()),
        ("--protocol", args.protocol.is_some()),
        ("--peer", args.peer.is_some()),
        ("--no-expect", args.no_expect),
        ("--deadline", args.deadline.is_some()),
        ("--spin", args.spin.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            Err(format!("{flag} is for workloads; a swarm run has all there is to it in its file"))
        }
        None => Ok(()),
    }
}

/// Sets a run up, on the simulated network or on devices.
fn prepare(
    args: &Args,
    workload: &Workload,
    devices: Option<&Devices>,
    trace: Trace,
) -> Result<Replay, Box<dyn Error>> {
    let Some(devices) = devices else {
        let context = |nic, config| RdmaContext::from(Port::new(nic, config));
        return Ok(Replay::prepare_with(workload.clone(), trace, context)?);
    };
    Ok(Replay::prepare_on(workload.clone(), trace, waiting(args), devices.contexts()?)?)
}

/// How devices are waited for.
fn waiting(args: &Args) -> Waiting {
    let default = Waiting::default();
    Waiting {
        deadline_ns: args.deadline.map_or(default.deadline_ns, |deadline| deadline.0),
        spin_ns: args.spin.map_or(default.spin_ns, |spin| spin.0),
    }
}

/// Failures, the first ones in full.
fn tell(report: &Report) {
    for failure in report.failures.told() {
        say(&failure.to_string());
    }
    let untold = report.failures.total() - report.failures.told().len() as u64;
    if untold > 0 {
        say(&format!("and {untold} more failed checks"));
    }
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
    if args.no_expect {
        workload.expect = Expect::default();
    }
    if let Some(seed) = args.seed {
        workload.settings.seed = seed;
    }
    if let Some(profile) = &args.profile {
        workload.settings.profile = files::profile(profile)?;
    }
    match args.deadline {
        Some(Nanos(0)) => return Err("--deadline 0s leaves no time for anything; give one above 0".into()),
        Some(Nanos(ns)) => workload.settings.deadline_ns = Some(ns),
        None => {}
    }
    if args.backend == BackendKind::Mock && args.spin.is_some() {
        return Err("--spin is for devices, in real time; leave it out, or add --backend verbs or ucx".into());
    }
    Ok(workload)
}

/// What is replayed is not written over.
fn same_file(read: Option<&Path>, option: &str, written: Option<&Path>) -> Result<(), String> {
    match (read, written) {
        (Some(read), Some(written)) if read.canonicalize().ok() == written.canonicalize().ok() => {
            Err(format!("{option} {} would overwrite what is replayed; give another name", written.display()))
        }
        _ => Ok(()),
    }
}
