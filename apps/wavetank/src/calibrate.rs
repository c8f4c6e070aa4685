//! `wavetank calibrate`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use wavetank_harness::calibrate::{self, Fit};
use wavetank_harness::workload::profile_text;

use crate::figures::duration;
use crate::{files, print, say, table};

/// Fits a latency profile to a recorded run.
///
/// The run is issued again on the simulated network, over and over, until median and 99th percentile of each kind and size of
/// operation are those of the recording. What is printed is the profile, as a file that `replay --profile` and `profile =` in
/// a workload take; its comments say how far the mock then is from the device. --validate says the same of runs that the
/// profile was not fitted to, which is what it is worth.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank replay work.toml --backend verbs --device rxe0 --record run.sim
  wavetank calibrate run.sim --validate other.sim > rxe-here.toml
  wavetank replay work.toml --profile rxe-here.toml
  wavetank calibrate run.sim --with rxe        how far this profile is; fits nothing

Exit status:
  0  fitted, however well: see the ratios
  1  never: how far a profile is off is a figure here, and no check
  2  the recording is bad, or has too few operations that ended well: stderr says where")]
pub(crate) struct Args {
    /// The run to fit to, recorded with `replay --record`.
    run: PathBuf,
    /// Name of the profile [default: that of the file].
    #[arg(long)]
    name: Option<String>,
    /// Hold the profile against this run too; may be given more than once.
    #[arg(long, value_name = "SIM")]
    validate: Vec<PathBuf>,
    /// Fit nothing: hold this profile against the run, a name or a file.
    #[arg(long, value_name = "NAME|FILE")]
    with: Option<String>,
    /// Print profile and ratios as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let run = files::recorded(&args.run)?;
    // Before the search: a long one should not end with a file that cannot be read.
    let others = args.validate.iter().map(|path| files::recorded(path)).collect::<Result<Vec<_>, _>>()?;
    let fit = match &args.with {
        Some(asked) => calibrate::measure(&run, &files::profile(asked)?),
        None => calibrate::calibrate(&run, &name(args)?, &mut |_, _| ()),
    };
    let fit = fit.map_err(|error| format!("{}: {error}", args.run.display()))?;
    let mut held = vec![(args.run.as_path(), fit)];
    for (path, other) in args.validate.iter().zip(&others) {
        let profile = held[0].1.profile.clone();
        let fit = calibrate::measure(other, &profile);
        held.push((path, fit.map_err(|error| format!("{}: {error}", path.display()))?));
    }
    if args.json {
        print(&serde_json::to_string_pretty(&to_json(&held))?)?;
    } else {
        print(text(args, &held).trim_end())?;
    }
    if args.with.is_none() && held[0].1.error > 0.5 {
        say("the profile is far from its own recording: see the ratios");
    }
    Ok(ExitCode::SUCCESS)
}

/// A name that a profile may have.
fn name(args: &Args) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let stem = args.run.file_stem().unwrap_or_default().to_string_lossy();
            stem.chars().map(|c| if plain(c) { c } else { '-' }).take(64).collect()
        }
    };
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) {
        return Ok(name);
    }
    Err(format!("--name {name:?} is not a name; wanted 1 to 64 letters, digits, '_', '-' or '.'"))
}

/// A profile's file, with all that is known of it as comments.
fn text(args: &Args, held: &[(&Path, Fit)]) -> String {
    let mut text = String::new();
    for (index, (path, fit)) in held.iter().enumerate() {
        let what = match (index, &args.with) {
            (0, None) => format!("Fitted to {} in {} runs of the mock", path.display(), fit.steps),
            _ => format!("Held against {}", path.display()),
        };
        text += &format!("# {what}: typically {:.1} % off.\n#\n", 100.0 * fit.error);
        text += &rows(fit).lines().map(|line| format!("#   {line}\n")).collect::<String>();
        text += "\n";
    }
    text + &held.first().map_or(String::new(), |(_, fit)| profile_text(&fit.profile))
}

fn rows(fit: &Fit) -> String {
    let head = ["operation/size", "count", "device p50", "mock", "ratio", "device p99", "mock", "ratio"];
    let cells = |row: &calibrate::Row| {
        let [p50, p99] = row.ratios();
        vec![
            row.label(),
            row.count.to_string(),
            duration(row.device_ns[0]),
            duration(row.mock_ns[0]),
            format!("{p50:.2}"),
            duration(row.device_ns[1]),
            duration(row.mock_ns[1]),
            format!("{p99:.2}"),
        ]
    };
    table::table(&head, fit.rows.iter().map(cells))
}

fn to_json(held: &[(&Path, Fit)]) -> Value {
    let profile = held.first().map(|(_, fit)| &fit.profile);
    let rows = |fit: &Fit| {
        let row = |row: &calibrate::Row| {
            let [p50, p99] = row.ratios();
            json!({
                "operation": row.label(), "count": row.count,
                "device_p50_ns": row.device_ns[0], "mock_p50_ns": row.mock_ns[0], "p50_ratio": p50,
                "device_p99_ns": row.device_ns[1], "mock_p99_ns": row.mock_ns[1], "p99_ratio": p99,
            })
        };
        fit.rows.iter().map(row).collect::<Vec<_>>()
    };
    let runs = held.iter().map(|(path, fit)| {
        json!({ "run": path.display().to_string(), "error": fit.error, "steps": fit.steps, "rows": rows(fit) })
    });
    json!({
        "profile": profile.map(|p| json!({
            "name": p.name, "base_ns": p.base_ns, "packet_ns": p.packet_ns, "byte_ps": p.byte_ps,
            "jitter_ns": p.jitter_ns, "jitter_shape": p.jitter_shape,
        })),
        "runs": runs.collect::<Vec<_>>(),
    })
}
