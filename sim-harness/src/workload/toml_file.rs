//! A workload written in TOML: the keys of the top level, and the order in which the rest is read.

use std::path::Path;

use super::document::{Document, Table};
use super::error::WorkloadError;
use super::expect::Expect;
use super::limits::{
    MAX_MEMORY_BYTES, MAX_OP_BYTES, MAX_QUEUE_PAIRS, MAX_SIGNAL_EVERY, MAX_WINDOW, MIN_CHUNK_BYTES,
};
use super::load::{self, Load};
use super::source::Source;
use super::topology::{self, Topology, client_and_storage};
use super::units::Bytes;
use super::{Settings, Workload, mix, profile};

const KEYS: &[&str] = &[
    "name",
    "seed",
    "profile",
    "mtu",
    "queue_pairs",
    "chunk",
    "window",
    "deadline",
    "deadline_ns",
    "signal_every",
    "node",
    "region",
    "op",
    "load",
    "source",
    "expect",
];

pub(super) fn parse(path: &Path, text: &str) -> Result<Workload, WorkloadError> {
    let document = Document::new(path, text);
    let tree = document.tree()?;
    let top = document.top(&tree, KEYS)?;
    let settings = read_settings(&top, path)?;
    let name = match top.get("name") {
        Some(name) => topology::name(&name)?,
        None => super::stem(path),
    };
    let (nodes, regions, load, source) = match top.get("source") {
        Some(value) => {
            Source::refuse_mix_keys(&top)?;
            let (source, arrival) = Source::read(&value, path)?;
            let load = Load::read_recorded(&top, arrival)?;
            let regions = match &source {
                Source::Iolog { log, .. } => log.recording.regions(),
                _ => Vec::new(),
            };
            (client_and_storage(), regions, load, source)
        }
        None => {
            let topology = Topology::read(&top)?;
            let source = Source::Mix(mix::read(&top, &topology)?);
            (topology.nodes, topology.regions, Load::read(&top)?, source)
        }
    };
    let expect = Expect::read(&top, &source)?;
    let workload = Workload { name, path: path.to_owned(), settings, nodes, regions, load, source, expect };
    check_memory(&top, &workload)?;
    Ok(workload)
}

fn read_settings(top: &Table<'_>, path: &Path) -> Result<Settings, WorkloadError> {
    let mut settings = Settings::default();
    let named = top.need("profile", "the device to simulate: profile = \"cx6\" (or rxe, ideal, a file)")?;
    settings.profile = profile::read(&named, path)?;
    if let Some(value) = top.get("seed") {
        settings.seed = value.integer()?;
    }
    if let Some(value) = top.get("mtu") {
        settings.mtu = match value.integer()? {
            mtu @ (256 | 512 | 1024 | 2048 | 4096) => mtu as u32,
            mtu => return Err(value.error(format!("found {mtu}; wanted 256, 512, 1024, 2048 or 4096"))),
        };
    }
    if let Some(value) = top.get("queue_pairs") {
        settings.queue_pairs = value.number(1..=MAX_QUEUE_PAIRS)? as u32;
    }
    if let Some(value) = top.get("chunk") {
        settings.chunk_bytes = value.bytes(MIN_CHUNK_BYTES..=MAX_OP_BYTES)? as u32;
    }
    if let Some(value) = top.get("window") {
        settings.window = value.number(1..=MAX_WINDOW)? as u32;
    }
    if let Some(value) = top.duration("deadline")? {
        settings.deadline_ns = Some(value.nanos()?);
    }
    if let Some(value) = top.get("signal_every") {
        settings.signal_every = value.number(1..=MAX_SIGNAL_EVERY)? as u32;
    }
    Ok(settings)
}

/// Regions were checked as they were read; with a buffer for everything in flight they may still be too much.
fn check_memory(top: &Table<'_>, workload: &Workload) -> Result<(), WorkloadError> {
    let needed = workload.memory_bytes();
    if needed <= MAX_MEMORY_BYTES {
        return Ok(());
    }
    let (needed, limit, in_flight) = (Bytes(needed), Bytes(MAX_MEMORY_BYTES), workload.load.concurrency);
    let largest = Bytes(workload.source.largest_buffers_bytes());
    let problem = format!(
        "{in_flight} operations of up to {largest} in flight, and the regions, need {needed}; the limit is {limit}"
    );
    let Some(load) = top.get("load") else {
        return Err(top.missing("load.concurrency", &problem));
    };
    let concurrency = load.table(load::KEYS)?.get("concurrency");
    Err(concurrency.unwrap_or(load).error(problem))
}
