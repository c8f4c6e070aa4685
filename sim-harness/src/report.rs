//! What a run found: counts, latencies, failures, and the trace hash.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use wavetank_contract::{Instant, OpKind};

use crate::check::{Check, Failures};
use crate::record::RecordedRun;
use crate::trace::Trace;
use crate::workload::{Percentile, Workload};

/// Significant digits of latencies.
const DIGITS: u8 = 3;

/// Longest latency that is told apart from longer ones: an hour, in ns.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Distinct sizes that get rows of their own; where there are more, sizes are grouped by powers of two.
const SIZES_MAX: usize = 16;

/// Operations of one kind and size.
#[derive(Clone, Debug)]
pub struct Row {
    /// What they were.
    pub kind: OpKind,
    /// Their size in bytes, or the largest of their group; `None` for all sizes together.
    pub size: Option<u64>,
    /// Whether `size` is the upper end of a group.
    pub grouped: bool,
    /// Bytes they moved.
    pub bytes: u64,
    /// Their latencies in ns: virtual, or on devices real.
    pub latency: Histogram<u64>,
}

impl Row {
    fn new(kind: OpKind, size: Option<u64>, grouped: bool) -> Row {
        let latency = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS);
        let Ok(latency) = latency else { unreachable!("constant bounds that hdrhistogram takes") };
        Row { kind, size, grouped, bytes: 0, latency }
    }

    /// `read/8192`, `read/<=65536` for a group, `read` for all sizes.
    pub fn label(&self) -> String {
        let kind = self.kind.name();
        match (self.size, self.grouped) {
            (None, _) => kind.to_owned(),
            (Some(size), false) => format!("{kind}/{size}"),
            (Some(size), true) => format!("{kind}/<={size}"),
        }
    }

    /// A percentile in ns.
    pub fn percentile_ns(&self, percentile: Percentile) -> u64 {
        self.latency.value_at_quantile(percentile.quantile())
    }
}

/// Latencies by kind and size.
#[derive(Debug)]
pub struct Latencies {
    grouped: bool,
    /// Sizes that get rows of their own in any case: something is expected of them.
    watched: Vec<(OpKind, u64)>,
    rows: BTreeMap<(OpKind, Option<u64>, bool), usize>,
    store: Vec<Row>,
    /// The row of the latest operation: workloads repeat themselves.
    last: Option<(OpKind, u64, usize)>,
}

impl Latencies {
    /// Latencies of a workload. `distinct_sizes` decides whether sizes are grouped by powers of two.
    pub fn new(workload: &Workload, distinct_sizes: usize) -> Latencies {
        let watched = workload.expect.latency.iter().filter_map(|ceiling| Some((ceiling.op, ceiling.size?)));
        Latencies {
            grouped: distinct_sizes > SIZES_MAX,
            watched: watched.collect(),
            rows: BTreeMap::new(),
            store: Vec::new(),
            last: None,
        }
    }

    fn index(&mut self, kind: OpKind, size: Option<u64>, grouped: bool) -> usize {
        let store = &mut self.store;
        *self.rows.entry((kind, size, grouped)).or_insert_with(|| {
            store.push(Row::new(kind, size, grouped));
            store.len() - 1
        })
    }

    /// Adds one operation.
    #[inline]
    pub fn record(&mut self, kind: OpKind, bytes: u64, latency_ns: u64) {
        let index = match self.last {
            Some((k, b, index)) if (k, b) == (kind, bytes) => index,
            _ => {
                let grouped = self.grouped && !self.watched.contains(&(kind, bytes));
                let size = if grouped { bytes.next_power_of_two() } else { bytes };
                let index = self.index(kind, Some(size), grouped);
                self.last = Some((kind, bytes, index));
                index
            }
        };
        let row = &mut self.store[index];
        row.bytes += bytes;
        row.latency.saturating_record(latency_ns.max(1));
    }

    /// Adds a row for all sizes of each kind. Call once, when all is recorded.
    pub fn sum_up(&mut self) {
        for index in 0..self.store.len() {
            let (kind, bytes) = (self.store[index].kind, self.store[index].bytes);
            let sum = self.index(kind, None, false);
            let Ok([row, sum]) = self.store.get_disjoint_mut([index, sum]) else { continue };
            sum.bytes += bytes;
            // Both have the same bounds, so that adding cannot fail.
            let _ = sum.latency.add(&row.latency);
        }
    }

    /// The rows, by kind, all sizes first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().map(|index| &self.store[*index])
    }

    fn row(&self, kind: OpKind, size: Option<u64>) -> Option<&Row> {
        self.rows.get(&(kind, size, false)).map(|index| &self.store[*index])
    }
}

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// The workload's name.
    pub name: String,
    /// Which device ran it.
    pub device: String,
    /// The seed of its choices.
    pub seed: u64,
    /// Operations that ended.
    pub ops: u64,
    /// Bytes checked where they arrived.
    pub bytes_verified: u64,
    /// Bytes of regions checked once more at the end.
    pub bytes_swept: u64,
    /// Operations with a wrong byte.
    pub mismatches: u64,
    /// Steps of the simulated network.
    pub steps: u64,
    /// Everything that happened.
    pub trace: Trace,
    /// Whether no device took part: time is then virtual, and the trace is the same on every machine.
    pub simulated: bool,
    /// Time from the first operation to the end of the last: virtual, or on devices real.
    pub elapsed_ns: u64,
    /// Latencies by kind and size.
    pub latencies: Latencies,
    /// Checks that failed.
    pub failures: Failures,
    /// What happened, if it was to be [recorded](crate::replay::Replay::record) and was not too long for that.
    pub recorded: Option<RecordedRun>,
    /// What was read from the memory of another process at the end, if the storage node is one.
    pub read_back: Option<ReadBack>,
    /// What faults did, if the run was [disturbed](crate::replay::Replay::disturb).
    pub toll: Option<Toll>,
}

/// What was read from the memory of another process at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Bytes that came over the wire, and were swept.
    pub bytes: u64,
    /// The regions, in the order of the workload.
    pub regions: Vec<RegionRead>,
    /// Regions that are, by their owner's own digest, what was read; `None` where the owner was not asked.
    pub agreed: Option<u64>,
}

/// A region that was read at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionRead {
    /// Its name.
    pub name: String,
    /// What was read, as a digest; `None` where reading failed.
    pub digest: Option<u64>,
}

impl ReadBack {
    /// For machines.
    fn to_json(&self) -> Value {
        json!({ "bytes": self.bytes, "regions": self.regions.len(), "agreed": self.agreed })
    }
}

/// What the faults of a run did.
#[derive(Clone, Debug, Default)]
pub struct Toll {
    /// The faults, in the order of their schedule.
    pub came: Vec<CameOf>,
    /// Operations that failed by a fault, by status.
    pub failed: BTreeMap<String, u64>,
    /// Connections made anew.
    pub renewed: u64,
    /// Marks that the simulated network passed, and how often; empty on devices.
    pub marks: Vec<(&'static str, u64)>,
}

/// A fault, and how often it came.
#[derive(Clone, Debug)]
pub struct CameOf {
    /// Its file and line.
    pub place: String,
    /// It, as a line of text.
    pub fault: String,
    /// How often.
    pub times: u64,
}

impl Toll {
    /// Operations that failed.
    pub fn failed_ops(&self) -> u64 {
        self.failed.values().sum()
    }

    /// The toll for machines.
    fn to_json(&self) -> Value {
        let came = |came: &CameOf| json!({ "place": came.place, "fault": came.fault, "times": came.times });
        let marks: serde_json::Map<String, Value> =
            self.marks.iter().map(|(mark, times)| ((*mark).to_owned(), (*times).into())).collect();
        json!({
            "came": self.came.iter().map(came).collect::<Vec<Value>>(),
            "failed": self.failed,
            "renewed": self.renewed,
            "marks": marks,
        })
    }
}

impl Report {
    /// Whether every check held.
    pub fn ok(&self) -> bool {
        self.failures.total() == 0
    }

    /// Bytes moved per second of the time that [`elapsed_ns`](Self::elapsed_ns) counts.
    pub fn bytes_per_s(&self) -> u64 {
        let bytes: u64 = self.latencies.rows().filter(|row| row.size.is_none()).map(|row| row.bytes).sum();
        let per_s = u128::from(bytes) * 1_000_000_000 / u128::from(self.elapsed_ns.max(1));
        u64::try_from(per_s).unwrap_or(u64::MAX)
    }

    /// Holds the run to what its workload expects; each miss cites its line.
    pub(crate) fn expect(&mut self, workload: &Workload) {
        let at = Instant(self.elapsed_ns);
        if let Some(floor) = workload.expect.throughput_min {
            let (got, asked) = (self.bytes_per_s(), floor.bytes_per_s);
            if got < asked {
                let place = workload.cite(floor.line);
                self.failures.add(Check::Expectation, at, || {
                    format!("{place}: throughput_min is {asked} bytes/s, the run had {got}")
                });
            }
        }
        for ceiling in &workload.expect.latency {
            let Some(row) = self.latencies.row(ceiling.op, ceiling.size) else {
                let (kind, size) = (ceiling.op.name(), ceiling.size);
                let place = workload.cite(ceiling.ceilings.first().map_or(0, |ceiling| ceiling.line));
                self.failures.add(Check::Expectation, at, || {
                    format!("{place}: a latency of {kind} (size {size:?}) is expected, and none was done")
                });
                continue;
            };
            for limit in &ceiling.ceilings {
                let got = row.percentile_ns(limit.percentile);
                if got > limit.ns {
                    let (place, label) = (workload.cite(limit.line), row.label());
                    let (name, asked) = (limit.percentile.name(), limit.ns);
                    self.failures.add(Check::Expectation, at, || {
                        format!("{place}: {name} of {label} is at most {asked} ns, the run had {got} ns")
                    });
                }
            }
        }
    }

    /// The report for machines.
    pub fn to_json(&self, spent: &Spent) -> Value {
        let latency: serde_json::Map<String, Value> = self
            .latencies
            .rows()
            .map(|row| {
                let mut entry = json!({ "count": row.latency.len(), "bytes": row.bytes });
                for percentile in Percentile::ALL {
                    entry[format!("{}_ns", percentile.name())] = row.percentile_ns(percentile).into();
                }
                (row.label(), entry)
            })
            .collect();
        let failures: Vec<String> = self.failures.told().iter().map(ToString::to_string).collect();
        let mut report = json!({
            "ok": self.ok(),
            "name": self.name,
            "device": self.device,
            "simulated": self.simulated,
            "seed": self.seed,
            "ops": self.ops,
            "bytes_verified": self.bytes_verified,
            "bytes_swept": self.bytes_swept,
            "mismatches": self.mismatches,
            "failures": self.failures.total(),
            "failures_told": failures,
            "wall_s": spent.wall_s,
            "core_s": spent.core_s,
            "ops_per_core_s": per_second(self.ops, spent.core_s),
            "latency": latency,
        });
        if self.simulated {
            report["trace_hash"] = format!("{:016x}", self.trace.hash()).into();
            report["events"] = self.trace.events().into();
            report["virtual_ns"] = self.elapsed_ns.into();
            report["bytes_per_virtual_s"] = self.bytes_per_s().into();
        } else {
            // No hash: nothing on a device happens twice.
            report["elapsed_ns"] = self.elapsed_ns.into();
            report["bytes_per_s"] = self.bytes_per_s().into();
        }
        if let Some(read_back) = &self.read_back {
            report["read_back"] = read_back.to_json();
        }
        if let Some(toll) = &self.toll {
            report["faults"] = toll.to_json();
        }
        report
    }
}

/// What a run cost, on the clocks of whoever ran it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Seconds that passed.
    pub wall_s: f64,
    /// Seconds that one core spent on it.
    pub core_s: f64,
}

/// Whole operations per second; 0 when no time passed.
pub fn per_second(ops: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (ops as f64 / seconds) as u64 } else { 0 }
}
