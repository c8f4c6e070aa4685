//! `wavetank demo`.

mod judged;
mod reads;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use wavetank_daemon::engine::Engine;
use wavetank_daemon::meters::Meters;
use wavetank_daemon::{EngineConfig, Settings};
use wavetank_harness::workload::units::Bytes;
use wavetank_volume::{Generator, VolumeOnDisk, WriterOptions};

use crate::figures::{duration, grouped, throughput};
use crate::scratch::Scratch;
use crate::table::table;
use crate::{print, say};
use judged::Judged;

/// Exports a SeaweedFS volume and reads all of it back, in one process on simulated NICs, and checks every byte.
///
/// An exporter and a reader, as two hosts would run them, exchange packets over a simulated network. A client reads every needle
/// through the reader's socket and its shared-memory ring, whole and in part, again and again, so that hot needles are read
/// one-sided; and compares them with what the file says. No device takes part, and nothing is left behind.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank demo                          a volume made up for it
  wavetank demo --volume /data/volumes   your own, which are only read
  wavetank demo --json

Exit status:
  0  every byte is right
  1  one is not: stderr says first which
  2  the input is bad, or something cannot be had")]
pub(crate) struct Args {
    /// A directory of volumes; made up if left out.
    #[arg(long, value_name = "DIR")]
    volume: Option<PathBuf>,
    /// Needles of a volume that is made up.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    needles: u64,
    /// Its longest needle.
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    longest: Bytes,
    /// What is drawn: contents, and which parts are read.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Longest needle that is made up: what a test of a minute can do with many of them.
const LONGEST_MAX: u64 = 64 << 20;

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let scratch = Scratch::new("demo")?;
    let folder = match &args.volume {
        Some(folder) if folder.is_dir() => folder.clone(),
        Some(folder) => {
            return Err(format!("--volume {}: no directory that can be read", folder.display()).into());
        }
        None => {
            made_up(args, scratch.path())?;
            scratch.path().to_owned()
        }
    };
    let socket = scratch.path().join("engine.sock");
    let settings = Settings {
        backend: Some("mock".to_owned()),
        export: Some(vec![folder.clone()]),
        ipc_socket: Some(socket.clone()),
        metrics: Some("off".to_owned()),
        ..Settings::default()
    };
    let config = EngineConfig::new(&settings)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let seed = args.seed;
    let judged = LocalSet::new().block_on(&runtime, async {
        let mut engine = Engine::open(&config, Meters::default()).await?;
        let (tell, told) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "a client is another program: a thread stands for it")]
        let client = std::thread::spawn(move || {
            // Nobody waits any more only if the engine has failed.
            let _ = tell.send(reads::all(&folder, &socket, seed).map_err(|why| why.to_string()));
        });
        let judged = engine.run(told).await?;
        // It has said its last word.
        let _ = client.join();
        let parts = engine.parts();
        parts.server.close();
        let left = parts.server.stats().leases_now.get();
        let judged = judged.map_err(|_| "the client ended without a word")??;
        drop(Rc::clone(&parts));
        Ok::<_, Box<dyn Error>>(Judged { leases_left: left, ..judged })
    })?;
    runtime.shutdown_background();
    match args.json {
        true => print(&json(&judged).to_string())?,
        false => print(&text(&judged))?,
    }
    if let Some(wrong) = &judged.wrong {
        say(&format!("wavetank: {wrong}"));
    }
    Ok(if judged.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn made_up(args: &Args, folder: &Path) -> Result<(), Box<dyn Error>> {
    let Bytes(longest) = args.longest;
    if longest == 0 || longest > LONGEST_MAX {
        return Err(format!("--longest {longest}: 1 byte to 64MiB").into());
    }
    let generator = Generator { seed: args.seed, needles: args.needles, len_max: longest as usize };
    let writer = generator.write(WriterOptions::default())?;
    VolumeOnDisk::create(writer, folder, "1")?;
    Ok(())
}

fn text(judged: &Judged) -> String {
    let head = ["read", "by", "count", "bytes", "p50", "p99", "max", "rate"];
    let rows = judged.rows.iter().map(|(name, row)| {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|quantile| duration(row.ns.value_at_quantile(quantile)));
        vec![
            name.what.to_owned(),
            name.path.to_owned(),
            grouped(row.ns.len()),
            grouped(row.bytes),
            p50,
            p99,
            max,
            throughput(row.rate()),
        ]
    });
    let verdict = if judged.is_right() { "every byte is right" } else { "NOT everything is right" };
    format!(
        "{}\n\n{} needles of {} volumes read whole and in part: {verdict}\n  \
         absent       {} answers that there is no such needle, each as it should be\n  \
         simulated    both ends on simulated NICs in this process; no device took part",
        table(&head, rows),
        grouped(judged.needles),
        grouped(judged.volumes),
        grouped(judged.absent),
    )
}

fn json(judged: &Judged) -> serde_json::Value {
    let rows: Vec<_> = judged
        .rows
        .iter()
        .map(|(name, row)| {
            json!({
                "read": name.what, "by": name.path, "count": row.ns.len(), "bytes": row.bytes,
                "p50_ns": row.ns.value_at_quantile(0.5), "p99_ns": row.ns.value_at_quantile(0.99),
                "max_ns": row.ns.max(), "bytes_per_s": row.rate(),
            })
        })
        .collect();
    json!({
        "ok": judged.is_right(), "simulated": true, "needles": judged.needles, "volumes": judged.volumes,
        "absent": judged.absent, "leases_left": judged.leases_left, "wrong": judged.wrong, "rows": rows,
    })
}
