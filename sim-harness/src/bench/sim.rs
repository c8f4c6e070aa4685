//! Verified 4 KiB READs per core-second: the simulator's figure of merit.

use std::path::Path;

use serde::Serialize;
use wavetank_contract::chance::mix64;
use wavetank_contract::{Region, RegionSpec};
use wavetank_mock::digest;

use super::Clock;
use crate::pattern::{self, Tag};
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
    /// The yardstick, measured right after: the same bytes copied into a packet, digested, copied out and checked, with
    /// the same memory and nothing else. READs per second of one core.
    pub bytes_alone_per_core_s: u64,
    /// Of the time the simulation took, the share that its bytes alone take.
    pub bytes_share: f64,
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
    let bytes_alone_s = bytes_alone(REGION_BYTES, concurrency, clock)?;
    Ok(Sim {
        queue_pairs,
        concurrency,
        region_bytes: REGION_BYTES,
        ops: report.ops,
        ok: report.ok(),
        ops_per_core_s: per_second(report.ops, core_s),
        verified_bytes_per_s: per_second(report.bytes_verified, core_s),
        bytes_alone_per_core_s: per_second(OPS, bytes_alone_s),
        bytes_share: bytes_alone_s / core_s,
        steps_per_s: per_second(report.steps, core_s),
        trace_hash: format!("{:016x}", report.trace.hash()),
    })
}

/// Seconds that the bytes of the READs take without a simulation around them.
fn bytes_alone(region_bytes: u64, concurrency: u32, clock: Clock<'_>) -> Result<f64, SetupError> {
    const LEN: usize = 4096;
    let allocate = |bytes| {
        let failed = |error| SetupError::Allocate { what: "the yardstick".to_owned(), error };
        Region::allocate(&RegionSpec::new(bytes)).map_err(failed)
    };
    let (pages, buffers) = (allocate(region_bytes)?, allocate(u64::from(concurrency) * LEN as u64)?);
    let tag = Tag { region: 0, generation: 0 };
    pattern::fill(&pages, 0, region_bytes as usize, tag, 0);
    let mut packet = [0; LEN];
    let mut held = 0u64;
    let start = clock();
    for number in 0..OPS {
        let from = mix64(number) % (region_bytes / LEN as u64) * LEN as u64;
        let to = number % u64::from(concurrency) * LEN as u64;
        pattern::poison(&buffers, to, LEN);
        pages.read(from, &mut packet);
        std::hint::black_box(digest(&packet));
        buffers.write(to, &packet);
        held += u64::from(pattern::holds(&buffers, to, LEN, tag, from));
    }
    let spent_s = (clock() - start) as f64 / 1e9;
    assert_eq!(held, OPS, "copying loses nothing");
    Ok(spent_s)
}
