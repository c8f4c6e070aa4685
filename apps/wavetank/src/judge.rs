//! `wavetank judge`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use wavetank_engine::BackendKind;
use wavetank_harness::judge::{Judge, Program, SHRINK_TRIES, Summary, parse};
use wavetank_harness::lab::{DeviceLab, Lab, MockLab};
use wavetank_mock::Profile;

use crate::clock::Clock;
use crate::device::{self, Devices, Named, Protocol, Task};
use crate::figures::grouped;
use crate::{print, say, table};

/// Runs generated programs on the simulated NIC and on a device, and compares all that is defined.
///
/// A program is a few regions and connections and some twenty steps: every verb, right and wrong keys, bounds and rights,
/// missing and short receives, regions that go, endpoints that die. Compared are refusals, completions in their order with
/// what they carry, states, and every byte of memory. A disagreement is made as small as it gets and printed as text that
/// --program reads, both logs side by side.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank judge                                          the simulated NIC against itself, slower and with other chance
  wavetank judge --against verbs --device rxe0,rxe1       against two soft-RoCE devices
  wavetank judge --against ucx --device tcp/lo            against UCX over TCP
  wavetank judge --against verbs --device rxe0 --program disagreement.txt

Exit status:
  0  the devices agree, but for what is known
  1  they disagree: stdout has the programs
  2  the input is bad, or a device could not be had")]
pub(crate) struct Args {
    /// How many programs.
    #[arg(long, default_value_t = 2000)]
    programs: u64,
    /// Other programs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is judged: verbs, ucx, or mock, which is the simulated NIC with the rxe profile and other chance.
    #[arg(long, value_name = "BACKEND", default_value = "mock")]
    against: BackendKind,
    /// The devices of node 0 and node 1, by name; one device may be both.
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    device: Vec<String>,
    /// How messages travel over UCX.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// The profile of the simulated NIC that is right: ideal, rxe or cx6. No outcome may depend on it.
    #[arg(long, default_value = "ideal")]
    profile: String,
    /// Judge this program instead.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How many smaller programs to try for a disagreement; 0 leaves it as it is.
    #[arg(long, value_name = "TRIES", default_value_t = SHRINK_TRIES)]
    shrink: u32,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let profile = Profile::ALL.into_iter().find(|profile| profile.name == args.profile).ok_or_else(|| {
        let names: Vec<&str> = Profile::ALL.iter().map(|profile| &*profile.name).collect();
        format!("--profile {}: there is no such profile; there are {}", args.profile, names.join(", "))
    })?;
    let reference = MockLab::new(profile.clone(), args.seed);
    let program = args.program.as_ref().map(read).transpose()?;
    match args.against {
        BackendKind::Mock if !args.device.is_empty() => {
            Err("--device goes with --against verbs or ucx".into())
        }
        BackendKind::Mock => {
            device::no_protocol("--against", args.against, args.protocol)?;
            judge(args, reference, MockLab::new(Profile::RXE, !args.seed), program.as_ref())
        }
        kind => {
            let devices = Devices::named("--against", kind, &args.device, args.protocol)?;
            let lab = devices.lab();
            devices.give(OnDevices { args, lab, reference, program: program.as_ref() })
        }
    }
}

fn read(path: &PathBuf) -> Result<Program, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The devices of a machine, node by node.
struct OnDevices<'a> {
    args: &'a Args,
    lab: String,
    reference: MockLab,
    program: Option<&'a Program>,
}

impl Task for OnDevices<'_> {
    type Done = ExitCode;

    fn on<D: Named>(self, configs: &[D::Config]) -> Result<ExitCode, Box<dyn Error>> {
        let lab = DeviceLab::new(self.lab, Box::new(device::opener::<D>(configs)));
        judge(self.args, self.reference, lab, self.program)
    }
}

fn judge<L: Lab>(
    args: &Args,
    reference: MockLab,
    other: L,
    program: Option<&Program>,
) -> Result<ExitCode, Box<dyn Error>> {
    let labs = [reference.name().to_owned(), other.name().to_owned()];
    let mut judge = Judge::new(reference, other)?;
    judge.shrink_tries(args.shrink);
    let clock = Clock::start();
    let summary = match program {
        Some(program) => {
            let mut summary = judge.nothing_yet();
            judge.take(program, None, &mut summary);
            summary
        }
        None => judge.run(args.seed, args.programs, &mut |_, _| true),
    };
    let wall_s = clock.wall_s();
    if args.json {
        let json = json!({ "ok": summary.ok(), "labs": labs, "seed": args.seed, "wall_s": wall_s, "summary": summary });
        print(&json.to_string())?;
    } else {
        print(&told(&labs, &summary, wall_s))?;
    }
    if let Some(why) = &summary.refused.1 {
        say(&format!("wavetank: {} programs could not be run; the first: {why}", summary.refused.0));
    }
    if program.is_none() {
        for rule in summary.rules.iter().filter(|rule| rule.programs == 0) {
            say(&format!("wavetank: the rule {:?} never applied: is it still needed?", rule.rule));
        }
    }
    Ok(if summary.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(labs: &[String; 2], summary: &Summary, wall_s: f64) -> String {
    let row = |what: &str, figure: String| vec![what.to_owned(), figure];
    let all_bytes = (summary.bytes + summary.masked_bytes).max(1);
    let mut rows = vec![
        row("programs", grouped(summary.programs)),
        row("programs/s", format!("{:.0}", summary.programs as f64 / wall_s)),
        row("steps", grouped(summary.steps)),
        row("completions compared", grouped(summary.completions)),
        row("bytes compared", grouped(summary.bytes)),
        row("bytes masked", format!("{:.2} %", 100.0 * summary.masked_bytes as f64 / all_bytes as f64)),
        row("programs without a defined outcome", grouped(summary.undefined)),
        row("programs disagreed on", grouped(summary.sorts.values().sum())),
        row("disagreements that did not come again", grouped(summary.unsteady.len() as u64)),
    ];
    for (sort, programs) in &summary.sorts {
        rows.push(row(&format!("  {sort}"), grouped(*programs)));
    }
    for rule in &summary.rules {
        rows.push(row(&format!("known: {}", rule.rule), format!("{} programs", grouped(rule.programs))));
    }
    let head = format!("{} | {}", labs[0], labs[1]);
    let mut text = table::table(&[&head, ""], rows);
    for disagreement in &summary.disagreements {
        text += &format!("\n\n{disagreement}");
    }
    for disagreement in &summary.unsteady {
        text += &format!("\n\n# This one did not come again.\n{disagreement}");
    }
    text
}
