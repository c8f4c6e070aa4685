//! `wavetank bench`.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use wavetank_harness::bench;

use crate::clock::Clock;
use crate::{print, table};

/// Measures what the simulator and the engine cost on this machine.
///
/// Figures are of the time one core spends, and vary with the machine: compare within one run.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank bench sim
  wavetank bench post-poll
  wavetank bench sim --json | jq .ops_per_core_s

Exit status:
  0  measured, however slow
  1  a check failed in what was measured: the figures mean nothing
  2  it could not be set up")]
pub(crate) struct Args {
    /// What to measure.
    #[arg(value_enum)]
    what: What,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Verified 4 KiB READs per core-second, every check on, over 1 queue pair and over 64.
    Sim,
    /// Post and poll of one simulated READ through RdmaContext, of 8 B and of 4 KiB.
    PostPoll,
    /// Create + look up + close of sessions per second, and bytes each with a million open.
    Sessions,
    /// What the enum RdmaContext adds to the port it holds.
    Dispatch,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let clock = Clock::start();
    let now = || clock.core_ns();
    let (json, text, ok) = match args.what {
        What::Sim => {
            let runs = [(1, 32), (64, 256)]
                .map(|(queue_pairs, concurrency)| bench::sim(queue_pairs, concurrency, &now));
            let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
            let rows = runs.iter().map(|run| {
                vec![
                    run.queue_pairs.to_string(),
                    run.concurrency.to_string(),
                    format!("{:.2} M", run.ops_per_core_s as f64 / 1e6),
                    format!("{:.2} GB", run.verified_bytes_per_s as f64 / 1e9),
                    format!("{:.2} M", run.bytes_alone_per_core_s as f64 / 1e6),
                    format!("{:.0} %", 100.0 * run.bytes_share),
                    run.trace_hash.clone(),
                ]
            });
            let head = [
                "queue pairs",
                "in flight",
                "READs/s",
                "verified/s",
                "bytes alone/s",
                "share of time",
                "trace hash",
            ];
            let ok = runs.iter().all(|run| run.ok);
            let mut json = json!({ "ok": ok, "runs": runs });
            json["ops_per_core_s"] = json["runs"][0]["ops_per_core_s"].clone();
            (json, table::table(&head, rows), ok)
        }
        What::PostPoll => {
            let runs = [8, 4096].map(|len| bench::post_poll(len, &now));
            let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
            let rows = runs.iter().map(|run| {
                vec![
                    format!("{} B", run.len),
                    format!("{:.1} ns", run.context_ns),
                    format!("{:.1} ns", run.backend_ns),
                    format!("{:.1} ns", run.engine_ns),
                ]
            });
            let head = ["READ of", "RdmaContext", "bare backend", "enum + port + ledger"];
            (json!({ "runs": runs }), table::table(&head, rows), true)
        }
        What::Sessions => {
            let figures = bench::sessions(&now)?;
            let rows = [
                ("create + look up + close", format!("{:.1} M/s", figures.cycles_per_s as f64 / 1e6)),
                (
                    "the same among a million",
                    format!("{:.1} M/s", figures.cycles_per_s_among_a_million as f64 / 1e6),
                ),
                ("each of a million open", format!("{:.1} B", figures.bytes_per_session)),
            ];
            let rows = rows.map(|(what, figure)| vec![what.to_owned(), figure]);
            (serde_json::to_value(&figures)?, table::table(&["sessions", "figure"], rows), true)
        }
        What::Dispatch => {
            let figures = bench::dispatch(&now)?;
            let row = vec![
                "post + poll of 8 B".to_owned(),
                format!("{:.1} ns", figures.enum_ns),
                format!("{:.1} ns", figures.bare_ns),
                format!("{:.3}", figures.ratio),
            ];
            let text = table::table(&["READ", "RdmaContext", "Port<MockNic>", "ratio"], [row]);
            (serde_json::to_value(&figures)?, text, true)
        }
    };
    print(&if args.json { pretty(&json)? } else { text })?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn pretty(json: &Value) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(json)
}
