//! `wavetank kit`.

mod today;
mod told;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use wavetank_engine::BackendKind;
use wavetank_harness::kit::{self, Case, Date, Difference, Group, Plan, Quirks, Report};
use wavetank_harness::lab::{DeviceLab, Lab, MockLab, Wire};

use crate::device::{self, Devices, Named, Protocol, Task};
use crate::{files, print, say};

/// Tries on a device what every backend promises.
///
/// The same cases run on the simulated NIC, on soft-RoCE, on iWARP, over UCX and on hardware, each with fresh devices. What a device
/// does not promise is skipped, and says why. Known deviations are in quirk files, with a reason and an expiry; those of
/// soft-RoCE (rxe), soft-iWARP (siw) and UCX are built in.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank kit                                                   on the simulated NIC
  wavetank kit --only errors --only a_registration_ends_once
  wavetank kit --backend verbs --device rxe0,rxe1 --wire va,vb   on two soft-RoCE devices, cutting their wire
  wavetank kit --backend ucx --device tcp/lo,tcp/lo              on UCX, over TCP of the loopback device
  wavetank kit --save mock.json
  wavetank kit --backend verbs --device rxe0 --compare mock.json

Exit status:
  0  every promise was kept, but for what a quirk says
  1  one was not, or a quirk is not needed or has expired: stderr says first what
  2  the input is bad, or a device could not be had")]
pub(crate) struct Args {
    /// The device: mock, verbs or ucx. Nothing falls back to the mock by itself.
    #[arg(long, default_value = "mock")]
    backend: BackendKind,
    /// The devices of node 0 and node 1, by name; one device may be both. Of the mock: a profile (ideal, rxe, cx6).
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    device: Vec<String>,
    /// How messages travel over UCX.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// The network devices of the two nodes, like va,vb: cases may then cut the wire between them (needs root).
    #[arg(long, value_name = "A,B")]
    wire: Option<String>,
    /// Run these alone: a group, or a case. May be given again.
    #[arg(long, value_name = "GROUP|CASE")]
    only: Vec<String>,
    /// Known deviations besides those that are built in. May be given again.
    #[arg(long, value_name = "FILE")]
    quirks: Vec<PathBuf>,
    /// What day it is, for quirks that expire.
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<Date>,
    /// Other chance, on the simulated NIC.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name the cases, with what they need, and run none.
    #[arg(long)]
    list: bool,
    /// Write the report to a file, to be compared with later.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Say where this run and a saved one part, beyond pass and fail.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    // The names of the cases are the same for every lab.
    let cases = kit::cases::<MockLab>();
    for filter in &args.only {
        if !cases.iter().any(|case| case.is_meant_by(filter)) {
            let groups = Group::ALL.map(Group::name).join(", ");
            let problem = format!(
                "--only {filter:?}: there is no such group or case; groups are {groups}, and --list names the cases"
            );
            return Err(problem.into());
        }
    }
    if args.list {
        print(&list(args, &cases)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let other = args.compare.as_deref().map(saved).transpose()?;
    match args.backend {
        BackendKind::Mock => on_mock(args, &cases, other.as_ref()),
        kind => {
            let devices = Devices::named("--backend", kind, &args.device, args.protocol)?;
            let quirks = quirks(args, &cases, &devices.lab())?;
            // Said once, before anything runs.
            args.wire.as_deref().map(Wire::parse).transpose()?;
            devices.give(OnDevices { args, lab: devices.lab(), quirks, other: other.as_ref() })
        }
    }
}

fn list(args: &Args, cases: &[Case<MockLab>]) -> Result<String, serde_json::Error> {
    let meant = |case: &&Case<MockLab>| {
        args.only.is_empty() || args.only.iter().any(|filter| case.is_meant_by(filter))
    };
    let listed: Vec<&Case<MockLab>> = cases.iter().filter(meant).collect();
    if !args.json {
        return Ok(told::list(&listed));
    }
    let needs =
        |case: &Case<MockLab>| case.needs().iter().map(|need| format!("{need:?}")).collect::<Vec<_>>();
    let cases = listed
        .iter()
        .map(|case| json!({ "group": case.group().name(), "case": case.name(), "needs": needs(case) }));
    serde_json::to_string_pretty(&cases.collect::<Vec<_>>())
}

fn on_mock(args: &Args, cases: &[Case<MockLab>], other: Option<&Report>) -> Result<ExitCode, Box<dyn Error>> {
    if args.wire.is_some() {
        return Err("--wire is for devices; the simulated network is disturbed without it".into());
    }
    device::no_protocol("--backend", args.backend, args.protocol)?;
    let profile = match &args.device[..] {
        [] => files::profile("ideal")?,
        [name] => files::profile(name)?,
        _ => return Err("--device with the mock is one profile: ideal, rxe, cx6, or a file".into()),
    };
    let quirks = quirks(args, cases, "mock")?;
    on(args, quirks, other, &mut || MockLab::new(profile.clone(), args.seed))
}

/// The devices of a machine, node by node: fresh ones for each case.
struct OnDevices<'a> {
    args: &'a Args,
    lab: String,
    quirks: Quirks,
    other: Option<&'a Report>,
}

impl Task for OnDevices<'_> {
    type Done = ExitCode;

    fn on<D: Named>(self, configs: &[D::Config]) -> Result<ExitCode, Box<dyn Error>> {
        on(self.args, self.quirks, self.other, &mut || {
            let lab = DeviceLab::new(self.lab.clone(), Box::new(device::opener::<D>(configs)));
            match self.args.wire.as_deref().map(Wire::parse) {
                Some(Ok(wire)) => lab.with_wire(wire),
                _ => lab,
            }
        })
    }
}

/// Those that are built in for this lab, and those of `--quirks`.
fn quirks(args: &Args, cases: &[Case<MockLab>], lab: &str) -> Result<Quirks, Box<dyn Error>> {
    let known: Vec<&str> = cases.iter().map(Case::name).collect();
    let mut quirks = Quirks::built_in(lab, &known)?;
    for path in &args.quirks {
        quirks.extend(Quirks::parse(path, &read(path)?, &known)?);
    }
    Ok(quirks)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

fn saved(path: &Path) -> Result<Report, String> {
    Report::from_json(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))
}

fn on<L: Lab>(
    args: &Args,
    quirks: Quirks,
    other: Option<&Report>,
    make: &mut dyn FnMut() -> L,
) -> Result<ExitCode, Box<dyn Error>> {
    let today = match args.today {
        Some(today) => today,
        None => today::today().ok_or("the system's clock is beyond the calendar; give --today")?,
    };
    // Before the run: whoever waited for it would not like to hear of it afterwards.
    if let Some(path) = &args.save {
        fs::write(path, "").map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    }
    let plan = Plan { only: args.only.clone(), quirks, today };
    let report = kit::run(make, &plan, &mut |_| {})?;
    if let Some(path) = &args.save {
        fs::write(path, report.to_json()? + "\n")
            .map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    }
    for line in told::failures(&report) {
        say(&format!("wavetank: {line}"));
    }
    let difference = other.map(|other| Difference::between(&report, other));
    if args.json {
        let mut json = json!({ "ok": report.ok(), "counts": report.counts(), "report": report });
        if let Some(difference) = &difference {
            json["difference"] = serde_json::to_value(difference)?;
        }
        print(&serde_json::to_string_pretty(&json)?)?;
    } else {
        print(&told::report(&report))?;
        if let Some(difference) = &difference {
            print(&told::difference(difference))?;
        }
    }
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
