//! `wavetank audit`: a client that reads everything and compares it with the files.

mod judged;
mod reads;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use crate::figures::{duration, grouped, throughput};
use crate::table::table;
use crate::{print, say};
pub(crate) use judged::Judged;
pub(crate) use reads::all;

/// Reads every needle of SeaweedFS volumes through a running engine, and compares each byte with the files.
///
/// Each needle is read whole and in part, through the engine's socket and a shared-memory ring, more than once, so that hot ones
/// are read one-sided; then with a cookie that is not its own. The table says by which way the bytes came: from the file, pushed by
/// the engine that exports them, or pulled from its memory.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank audit --volume /data/volumes --ipc-socket /tmp/rdma-engine.sock
  wavetank audit --volume /data/volumes --needs pull --json

Exit status:
  0  every byte is right
  1  one is not, or none came by a way that was needed: stderr says first which
  2  the input is bad, or there is no engine")]
pub(crate) struct Args {
    /// A directory of volumes that the engine exports, or reads from one that does.
    #[arg(long, value_name = "DIR")]
    volume: PathBuf,
    /// The engine's socket.
    #[arg(long, value_name = "PATH", default_value = wavetank_client::SOCKET_PATH)]
    ipc_socket: PathBuf,
    /// Fail unless some bytes came by this way; again for more: file, push, pull.
    #[arg(long, value_name = "WAY", value_parser = ["file", "push", "pull"])]
    needs: Vec<String>,
    /// What is drawn: which parts are read.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let judged = all(&args.volume, &args.ipc_socket, args.seed)?;
    let taken = |way: &String| judged.rows.iter().any(|(name, row)| name.path == way && row.bytes > 0);
    let missed = args.needs.iter().find(|way| !taken(way));
    tell(&judged, args.json)?;
    if let Some(way) = missed {
        say(&format!("wavetank: no byte came by {way}, and --needs {way} was given"));
    }
    Ok(if judged.is_right() && missed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what became of the reads; what is wrong goes to stderr as well.
pub(crate) fn tell(judged: &Judged, as_json: bool) -> Result<(), String> {
    match as_json {
        true => print(&to_json(judged).to_string())?,
        false => print(&text(judged))?,
    }
    if let Some(wrong) = &judged.wrong {
        say(&format!("wavetank: {wrong}"));
    }
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
    let device = match judged.simulated {
        true => "simulated    both ends on simulated NICs in one process; no device took part",
        false => "on devices   as the engine says",
    };
    format!(
        "{}\n\n{} needles, {} volumes, read whole and in part: {verdict}\n  \
         absent       {} answers that there is no such needle, each as it should be\n  {device}",
        table(&head, rows),
        grouped(judged.needles),
        grouped(judged.volumes),
        grouped(judged.absent),
    )
}

fn to_json(judged: &Judged) -> Value {
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
        "ok": judged.is_right(), "simulated": judged.simulated, "needles": judged.needles,
        "volumes": judged.volumes, "absent": judged.absent, "leases_left": judged.leases_left,
        "wrong": judged.wrong, "rows": rows,
    })
}
