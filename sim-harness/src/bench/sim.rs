//! Verified 4 KiB READs per core-second: the simulator's figure of merit.

use std::path::Path;

use serde::Serialize;

use super::Clock;
use crate::replay::{Replay, SetupError};
use crate::report::per_second;
use crate::workload::Workload;

/// READs of one run.
const OPS: u64 = 2_000_000;

/// What the simulator does per second of one core, every check on.
#[derive(Clone, Debug, Serialize)]
pub struct Sim {
    /// Queue pairs the READs were spread over.
    pub queue_pairs: u32,
    /// READs in flight.
    pub concurrency: u32,
    /// Bytes of the region they were read from.
    pub region_bytes: u64,
    /// READs done.
    pub ops: u64,
    /// Whether every check held; the figures mean nothing if not.
    pub ok: bool,
    /// READs per second of one core.
    pub ops_per_core_s: u64,
    /// Bytes verified where they arrived, per second.
    pub verified_bytes_per_s: u64,
    /// Steps of the network per second.
    pub steps_per_s: u64,
    /// The trace hash: equal on every machine.
    pub trace_hash: String,
}

/// Runs 4 KiB READs over `queue_pairs` queue pairs.
///
/// # Errors
/// None that a machine with a few megabytes free can cause.
pub fn sim(queue_pairs: u32, concurrency: u32, clock: Clock<'_>) -> Result<Sim, SetupError> {
    const REGION_BYTES: u64 = 1 << 20;
    let text = format!(
        r#"
profile = "cx6"
queue_pairs = {queue_pairs}
[[node]]
name = "client"
[[node]]
name = "storage"
[[region]]
name = "pages"
node = "storage"
size = {REGION_BYTES}
[[op]]
kind = "read"
from = "client"
region = "pages"
size = "4KiB"
align = "4KiB"
[load]
concurrency = {concurrency}
count = {OPS}
"#
    );
    let workload = Workload::parse(Path::new("bench sim"), text.as_bytes())?;
    let replay = Replay::prepare(workload)?;
    let start = clock();
    let report = replay.run(&mut |_| ());
    let core_s = (clock() - start) as f64 / 1e9;
    Ok(Sim {
        queue_pairs,
        concurrency,
        region_bytes: REGION_BYTES,
        ops: report.ops,
        ok: report.ok(),
        ops_per_core_s: per_second(report.ops, core_s),
        verified_bytes_per_s: per_second(report.bytes_verified, core_s),
        steps_per_s: per_second(report.steps, core_s),
        trace_hash: format!("{:016x}", report.trace.hash()),
    })
}
