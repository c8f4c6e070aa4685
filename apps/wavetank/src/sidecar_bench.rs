//! `wavetank bench sidecar`: requests by wrk to a sidecar before two engines over UCX, beside an HTTP server that has the same bytes
//! in memory, which is as fast as it can be, and one that reads them from the file, which is what the sidecar replaces.
//!
//! All are processes of this program, on as many threads each as there are CPUs, and take their turns in rounds. What is asked is
//! compared byte by byte before anything is measured, and nothing but RDMA serves the sidecar's figures.

pub(crate) mod server;
mod town;
mod wrk;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use wavetank_engine::BackendKind;
use wavetank_sidecar::FileId;

use crate::bench_volume::{self, COOKIE, Known, VOLUME, size};
use crate::beside::{median, shown_ratio};
use crate::device::Devices;
use crate::figures::{duration, grouped};
use crate::scratch::Scratch;
use crate::sim::CellsBar;
use crate::table::table;
use crate::{programs, say};
use town::Town;
use wrk::Round;

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// UCX devices, each for both engines.
    pub(crate) devices: Vec<String>,
    pub(crate) sizes: Vec<u32>,
    pub(crate) rounds: u32,
    /// Of a round of each server.
    pub(crate) seconds: u32,
    /// Beside one.
    pub(crate) connections: u32,
}

impl Known {
    /// What a mount asks for, but for the volume server, which the master says as well.
    fn path(&self) -> String {
        let file = FileId { volume: VOLUME, needle: self.id, cookie: COOKIE };
        format!("/read?file_id={file}&offset=0&size={}", self.bytes.len())
    }
}

/// Who is asked.
const WHO: [&str; 3] = ["sidecar", "memory", "file"];

/// Everything of one size and as many connections.
struct Found {
    device: String,
    bytes: u32,
    connections: u32,
    /// In the order of [`WHO`].
    rounds: [Vec<Round>; 3],
    /// Most memory that the sidecar had at a time, in bytes; with what it maps of the engine's.
    memory_bytes: Option<u64>,
    failed: Vec<String>,
}

impl Found {
    fn per_s(&self, who: usize) -> Option<f64> {
        median(&self.rounds[who].iter().map(|round| round.per_s).collect::<Vec<_>>())
    }

    fn core_ns(&self, who: usize) -> Option<f64> {
        median(&self.rounds[who].iter().map(|round| round.core_ns).collect::<Vec<_>>())
    }

    /// The sidecar's requests per second by theirs.
    fn by(&self, who: usize) -> Option<f64> {
        Some(self.per_s(0)? / self.per_s(who)?)
    }
}

/// Measures everything.
pub(crate) fn run(plan: &Plan) -> Result<(Value, String, ExitCode), Box<dyn Error>> {
    wrk::is_had()?;
    for device in &plan.devices {
        Devices::named("--backend", BackendKind::Ucx, std::slice::from_ref(device), None)?;
    }
    programs::heed_signals()?;
    let scratch = Scratch::new("bench-sidecar")?;
    let needles = bench_volume::write(&plan.sizes, scratch.path())?;
    let mut all = Vec::new();
    let bar = CellsBar::new((plan.devices.len() * plan.sizes.len() * 2) as u64);
    for device in &plan.devices {
        let first =
            needles.first().and_then(|needles| needles.first()).ok_or("there is nothing to ask for")?;
        let town = Town::start(device, scratch.path(), first)?;
        for needles in &needles {
            let script = wrk::script(scratch.path(), needles)?;
            for connections in [1, plan.connections] {
                bar.show(all.len() as u64, &format!("the sidecar over {device}, {connections} connections"));
                all.push(found(plan, device, &town, needles, &script, connections)?);
            }
        }
    }
    bar.done();
    let lost: Vec<&String> = all.iter().flat_map(|found| &found.failed).collect();
    lost.iter().for_each(|why| say(&format!("wavetank: {why}")));
    let code = if lost.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok((to_json(plan, &all), text(plan, &all), code))
}

/// All rounds of a size and as many connections.
fn found(
    plan: &Plan,
    device: &str,
    town: &Town,
    needles: &[Known],
    script: &Path,
    connections: u32,
) -> Result<Found, Box<dyn Error>> {
    let bytes = needles.first().map_or(1, |needle| needle.bytes.len() as u32);
    let servers = [&town.sidecar, &town.memory, &town.file];
    let mut found = Found {
        device: device.to_owned(),
        bytes,
        connections,
        rounds: Default::default(),
        memory_bytes: None,
        failed: Vec::new(),
    };
    let what = format!("{bytes} bytes over {device}, {connections} connections");
    for (server, who) in servers.iter().zip(WHO) {
        // Twice: pushed first, and pulled as they will be.
        for needle in needles.iter().chain(needles) {
            server.serves(needle, who == "sidecar").map_err(|why| format!("{what}, {who}: {why}"))?;
        }
    }
    town.sidecar.program.forget_peak();
    for _ in 0..plan.rounds {
        for (at, (server, who)) in servers.iter().zip(WHO).enumerate() {
            if programs::interrupted() {
                return Err("interrupted: what ran was ended, and nothing is told of it".into());
            }
            match wrk::measure(server, script, connections, plan.seconds) {
                Ok(round) => found.rounds[at].push(round),
                Err(why) => found.failed.push(format!("{what}, {who}: {why}")),
            }
        }
        if !found.failed.is_empty() {
            break;
        }
    }
    found.memory_bytes = town.sidecar.program.peak_bytes();
    Ok(found)
}

fn text(plan: &Plan, all: &[Found]) -> String {
    let rows = all.iter().map(|found| {
        let per_s = |who| found.per_s(who).map_or("n/a".to_owned(), |figure| grouped(figure as u64));
        let core = |who| found.core_ns(who).map_or("n/a".to_owned(), |ns| duration(ns as u64));
        vec![
            format!("{} over {}", size(found.bytes), found.device),
            found.connections.to_string(),
            per_s(0),
            per_s(1),
            shown_ratio(found.by(1)),
            per_s(2),
            shown_ratio(found.by(2)),
            core(0),
            core(1),
            core(2),
            found.memory_bytes.map_or("n/a".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
        ]
    });
    let head = [
        "needles of",
        "connections",
        "sidecar/s",
        "memory/s",
        "ratio",
        "file/s",
        "ratio",
        "CPU",
        "memory's",
        "file's",
        "peak",
    ];
    format!(
        "{}\n\nMedians of {} rounds in turn of {} s each by wrk, on {} CPUs that servers, engines and wrk share. Memory: an HTTP server \
         that has the\nbytes in memory, the aim is a ratio of 0.8; file: one that reads them from the volume, the aim is more than 1 from \
         64 KiB on. CPU: of the\nserver's process, for a request, without the engines'. Peak: of the sidecar's memory with what it maps \
         of the engine's; the aim is 256 MiB.",
        table(&head, rows),
        plan.rounds,
        plan.seconds,
        cpus(),
    )
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn to_json(plan: &Plan, all: &[Found]) -> Value {
    let cells = all.iter().map(|found| {
        let mut cell = json!({
            "device": found.device,
            "bytes": found.bytes,
            "connections": found.connections,
            "by_memory": found.by(1),
            "by_file": found.by(2),
            "peak_bytes": found.memory_bytes,
            "failed": found.failed,
        });
        for (at, who) in WHO.into_iter().enumerate() {
            cell[who] = json!({ "per_s": found.per_s(at), "core_ns": found.core_ns(at) });
        }
        cell
    });
    json!({ "rounds": plan.rounds, "seconds": plan.seconds, "cpus": cpus(), "cells": cells.collect::<Vec<_>>() })
}
