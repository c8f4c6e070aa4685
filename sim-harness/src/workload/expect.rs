//! What the run must keep to: `[expect]`. Parsed here, judged after the run.

use wavetank_contract::OpKind;

use super::document::{Table, Value};
use super::error::WorkloadError;
use super::limits::MAX_OP_BYTES;
use super::op::KINDS;
use super::source::Source;
use super::units::Bytes;

/// Everything a run is held to, each with the line that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The least throughput.
    pub throughput_min: Option<ThroughputFloor>,
    /// The highest latencies.
    pub latency: Vec<LatencyCeiling>,
}

/// A floor under the bytes per second of the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThroughputFloor {
    /// Bytes per second.
    pub bytes_per_s: u64,
    /// Its line.
    pub line: u32,
}

/// Ceilings over the latencies of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyCeiling {
    /// The operation.
    pub op: OpKind,
    /// Only operations of this many bytes; all when none is given.
    pub size: Option<u64>,
    /// The ceilings, lowest percentile first. At least one.
    pub ceilings: Vec<Ceiling>,
}

/// A ceiling over one percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Which percentile.
    pub percentile: Percentile,
    /// Its highest allowed value.
    pub ns: u64,
    /// Its line.
    pub line: u32,
}

/// The percentiles that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Percentile {
    /// The median.
    P50,
    /// 90 of 100.
    P90,
    /// 99 of 100.
    P99,
    /// 999 of 1000.
    P999,
    /// The largest.
    Max,
}

impl Percentile {
    /// All of them, lowest first.
    pub const ALL: [Percentile; 5] =
        [Percentile::P50, Percentile::P90, Percentile::P99, Percentile::P999, Percentile::Max];

    /// The name in workload files: `p50`, `p90`, `p99`, `p999`, `max`.
    pub const fn name(self) -> &'static str {
        match self {
            Percentile::P50 => "p50",
            Percentile::P90 => "p90",
            Percentile::P99 => "p99",
            Percentile::P999 => "p999",
            Percentile::Max => "max",
        }
    }

    /// The fraction of operations at or below it.
    pub const fn quantile(self) -> f64 {
        match self {
            Percentile::P50 => 0.5,
            Percentile::P90 => 0.9,
            Percentile::P99 => 0.99,
            Percentile::P999 => 0.999,
            Percentile::Max => 1.0,
        }
    }
}

impl Expect {
    /// Reads `[expect]`. What the `source` never posts cannot be expected of it.
    pub(super) fn read(top: &Table<'_>, source: &Source) -> Result<Expect, WorkloadError> {
        let Some(expect) = top.get("expect") else {
            return Ok(Expect::default());
        };
        let table = expect.table(&["throughput_min", "latency"])?;
        let throughput_min = match table.get("throughput_min") {
            None => None,
            Some(floor) => Some(ThroughputFloor { bytes_per_s: floor.throughput()?, line: floor.line() }),
        };
        let keys = [
            "op", "size", "p50", "p50_ns", "p90", "p90_ns", "p99", "p99_ns", "p999", "p999_ns", "max",
            "max_ns",
        ];
        let latency = table.tables("latency", &keys)?;
        let latency = latency.iter().map(|table| read_latency(table, source)).collect::<Result<_, _>>()?;
        Ok(Expect { throughput_min, latency })
    }
}

fn read_latency(table: &Table<'_>, source: &Source) -> Result<LatencyCeiling, WorkloadError> {
    let key = table.need("op", "as in op = \"read\"")?;
    let op = key.one_of(&KINDS)?;
    if !source.posts(op, None) {
        return Err(key.error(format!("no {} is ever posted, so its latency cannot be checked", op.name())));
    }
    let size = table.get("size").map(|size| read_size(&size, op, source)).transpose()?;
    let mut ceilings: Vec<Ceiling> = Vec::new();
    for percentile in Percentile::ALL {
        let Some(value) = table.duration(percentile.name())? else {
            continue;
        };
        let ns = value.nanos()?;
        if let Some(lower) = ceilings.last().filter(|lower| lower.ns > ns) {
            let name = lower.percentile.name();
            return Err(value.error(format!("is below {name}, and no percentile is below a lower one")));
        }
        ceilings.push(Ceiling { percentile, ns, line: value.line() });
    }
    if ceilings.is_empty() {
        return Err(table.error("says nothing to check; give at least one of p50, p90, p99, p999, max"));
    }
    Ok(LatencyCeiling { op, size, ceilings })
}

fn read_size(value: &Value<'_>, op: OpKind, source: &Source) -> Result<u64, WorkloadError> {
    let bytes = value.bytes(1..=MAX_OP_BYTES)?;
    if !source.posts(op, Some(bytes)) {
        return Err(value.error(format!("no {} of {} is ever posted", op.name(), Bytes(bytes))));
    }
    Ok(bytes)
}
