//! What needs no device: figures of the simulator and the engine over it, of one core's time.

use std::error::Error;

use serde_json::{Value, json};
use wavetank_engine::PortConfig;
use wavetank_harness::bench::{self, MemoryFigures, SessionFigures};

use super::{Args, What};
use crate::clock::Clock;
use crate::device::Devices;
use crate::figures::grouped;
use crate::table;

/// The figures for machines and for people, and whether the checks held.
pub(super) fn run(args: &Args) -> Result<(Value, String, bool), Box<dyn Error>> {
    let clock = Clock::start();
    let now = || clock.core_ns();
    Ok(match args.what {
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
        What::Swarm => {
            let figures = bench::swarm(1..1001, &now);
            let rows = [
                ("seeds", grouped(figures.seeds_per_core_s)),
                ("fault episodes", grouped(figures.episodes_per_core_s)),
                ("operations verified", grouped(figures.ops_per_core_s)),
            ];
            let rows = rows.map(|(what, figure)| vec![what.to_owned(), figure]);
            let text = table::table(&["swarm", "per core-second"], rows);
            (serde_json::to_value(&figures)?, text, figures.failed == 0)
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
            let text = table::table(&["sessions", "figure"], session_rows(&figures));
            (serde_json::to_value(&figures)?, text, true)
        }
        What::Memory => {
            let devices = Devices::asked(args.backend, &args.device, args.protocol)?;
            let device = match devices {
                Some(devices) => Some(devices.contexts()?(0, PortConfig::default())?),
                None => None,
            };
            memory(&bench::memory(&now, device)?)?
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
        _ => unreachable!("they were told apart above"),
    })
}

fn session_rows(figures: &SessionFigures) -> [Vec<String>; 3] {
    let rows = [
        ("create + look up + close", format!("{:.1} M/s", figures.cycles_per_s as f64 / 1e6)),
        ("the same among a million", format!("{:.1} M/s", figures.cycles_per_s_among_a_million as f64 / 1e6)),
        ("each of a million open", format!("{:.1} B", figures.bytes_per_session)),
    ];
    rows.map(|(what, figure)| vec![what.to_owned(), figure])
}

/// Figures of memory, those of sessions below, and what an operator would see.
fn memory(figures: &MemoryFigures) -> Result<(Value, String, bool), serde_json::Error> {
    let ns = |ns: f64| format!("{ns:.1} ns");
    let rows = [
        ("buffer registered already, the last one", ns(figures.hit_ns)),
        ("the same, any of a thousand", ns(figures.hit_among_ns)),
        ("buffer not registered: evict + register", ns(figures.miss_ns)),
        ("raw deregister + register", ns(figures.raw_ns)),
        ("ratio of the two", format!("{:.3}", figures.miss_ratio)),
        ("what the cache adds", ns(figures.miss_ns - figures.raw_ns)),
        ("4 KiB lease + drop", ns(figures.lease_ns)),
        ("the same of what a peer may reach", ns(figures.exposed_lease_ns)),
    ];
    let rows = rows.map(|(what, figure)| vec![what.to_owned(), figure]);
    let text = format!(
        "{}\n\n{}\n\n{}",
        table::table(&[&format!("memory of {}", figures.device), "figure"], rows),
        table::table(&["sessions", "figure"], session_rows(&figures.sessions)),
        figures.stats
    );
    Ok((serde_json::to_value(figures)?, text, true))
}
