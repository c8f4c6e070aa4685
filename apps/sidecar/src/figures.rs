//! What is counted and timed: for `/stats`, where people and scripts look, and for `/metrics`, which a collector does.

mod recent;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use tokio::time::Instant;

use crate::figures::recent::Recent;
use crate::reads::Way;

/// Upper bounds of latencies, in seconds.
const BOUNDS_S: [f64; 16] =
    [2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 5.0];

/// Size classes of reads.
const SIZES: [(&str, u64); 4] =
    [("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20), ("more", u64::MAX)];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRead {
    path: &'static str,
    size: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    status: u16,
}

/// What one way served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OfWay {
    /// Reads.
    pub reads: u64,
    /// Bytes.
    pub bytes: u64,
    /// Half of the last minute's were as quick, in microseconds.
    pub p50_us: u64,
    /// Nine tenths.
    pub p90_us: u64,
    /// All but one of a hundred.
    pub p99_us: u64,
    /// The slowest of the last minute.
    pub max_us: u64,
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    served: u64,
    failed: u64,
    bytes: u64,
    latency: Duration,
    ways: BTreeMap<&'static str, (u64, u64, Recent)>,
    reasons: BTreeMap<&'static str, u64>,
    statuses: BTreeMap<u16, u64>,
    hints_refused: u64,
}

/// What is counted; handles of one and the same.
#[derive(Clone, Debug)]
pub struct Figures {
    counts: Arc<Mutex<Counts>>,
    latencies: Family<OfRead, Histogram>,
    bytes: Family<OfRead, Counter>,
    reasons: Family<OfReason, Counter>,
    failures: Family<OfStatus, Counter>,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            counts: Arc::default(),
            latencies: Family::new_with_constructor(|| Histogram::new(BOUNDS_S)),
            bytes: Family::default(),
            reasons: Family::default(),
            failures: Family::default(),
        }
    }
}

/// Sums of everything so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sums {
    /// Requests to read.
    pub total_requests: u64,
    /// Those that were answered with bytes, or with what stands for them.
    pub successful_reads: u64,
    /// Those that were not.
    pub failed_reads: u64,
    /// Of the one to the other.
    pub success_rate_pct: String,
    /// Bytes that were answered.
    pub total_bytes_read: u64,
    /// Mean time of a successful read.
    pub avg_latency_ns: u64,
    /// The same.
    pub avg_latency_ms: String,
    /// By the way that served: `local`, `pull`, `push`, `http`.
    pub reads: BTreeMap<&'static str, OfWay>,
    /// Reads that were not served through the engine, by why.
    pub fallbacks: BTreeMap<&'static str, u64>,
    /// Requests that failed, by status.
    pub failures: BTreeMap<u16, u64>,
    /// Requests whose `volume_server` was not asked because nobody allows it.
    pub hints_refused: u64,
}

/// A figure that somebody else keeps.
#[derive(Clone, Copy, Debug)]
pub struct Other {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it only grows.
    pub total: bool,
    /// Its value.
    pub value: u64,
}

impl Figures {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read that went well.
    pub fn served(&self, way: Way, bytes: u64, took: Duration, reason: Option<&'static str>) {
        let size = SIZES.iter().find(|(_, max)| bytes <= *max).map_or("more", |(name, _)| name);
        let labels = OfRead { path: way.name(), size };
        self.latencies.get_or_create(&labels).observe(took.as_secs_f64());
        self.bytes.get_or_create(&labels).inc_by(bytes);
        let mut counts = self.counts();
        counts.requests += 1;
        counts.served += 1;
        counts.bytes += bytes;
        counts.latency += took;
        let of_way = counts.ways.entry(way.name()).or_default();
        of_way.0 += 1;
        of_way.1 += bytes;
        of_way.2.record(took, Instant::now());
        if let Some(reason) = reason.filter(|_| way == Way::Http) {
            *counts.reasons.entry(reason).or_default() += 1;
            self.reasons.get_or_create(&OfReason { reason }).inc();
        }
    }

    /// One that did not.
    pub fn failed(&self, status: u16) {
        self.failures.get_or_create(&OfStatus { status }).inc();
        let mut counts = self.counts();
        counts.requests += 1;
        counts.failed += 1;
        *counts.statuses.entry(status).or_default() += 1;
    }

    /// A client named a server that may not be asked.
    pub fn hint_refused(&self) {
        self.counts().hints_refused += 1;
    }

    /// Everything so far.
    pub fn sums(&self) -> Sums {
        let mut counts = self.counts();
        let (now, mean) = (Instant::now(), counts.latency.as_nanos() / u128::from(counts.served.max(1)));
        let percent = 100.0 * counts.served as f64 / counts.requests.max(1) as f64;
        let of_way = |(name, (reads, bytes, recent)): (&&'static str, &mut (u64, u64, Recent))| {
            let [p50_us, p90_us, p99_us, max_us] = recent.quantiles_us(now);
            (*name, OfWay { reads: *reads, bytes: *bytes, p50_us, p90_us, p99_us, max_us })
        };
        let mut reads: BTreeMap<_, _> = counts.ways.iter_mut().map(of_way).collect();
        for way in [Way::Local, Way::Pull, Way::Push, Way::Http] {
            reads.entry(way.name()).or_default();
        }
        Sums {
            total_requests: counts.requests,
            successful_reads: counts.served,
            failed_reads: counts.failed,
            success_rate_pct: format!("{percent:.1}"),
            total_bytes_read: counts.bytes,
            avg_latency_ns: u64::try_from(mean).unwrap_or(u64::MAX),
            avg_latency_ms: format!("{:.3}", mean as f64 / 1e6),
            reads,
            fallbacks: counts.reasons.clone(),
            failures: counts.statuses.clone(),
            hints_refused: counts.hints_refused,
        }
    }

    /// Everything as OpenMetrics has it, with what others keep.
    ///
    /// # Errors
    /// Never: a text has room.
    pub fn page(&self, others: &[Other]) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("wavetank_sidecar");
        let (latencies, bytes) = (self.latencies.clone(), self.bytes.clone());
        registry.register_with_unit(
            "read_duration",
            "Time of reads by path and size",
            Unit::Seconds,
            latencies,
        );
        registry.register_with_unit(
            "read_size",
            "Bytes that were read, by path and size of the read",
            Unit::Bytes,
            bytes,
        );
        registry.register("fallbacks", "Reads by HTTP, by why not through the engine", self.reasons.clone());
        registry.register("read_failures", "Requests to read that failed, by status", self.failures.clone());
        for Other { name, help, total, value } in others {
            match total {
                true => registry.register(*name, *help, ConstCounter::new(*value)),
                false => {
                    let value = i64::try_from(*value).unwrap_or(i64::MAX);
                    registry.register(*name, *help, ConstGauge::new(value));
                }
            }
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
