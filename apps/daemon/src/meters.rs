//! What is measured while the daemon runs: latencies by operation, path and size. Counts that the parts keep anyway are collected when
//! somebody asks (see [`crate::health`]).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of latencies, in seconds: from what a ring costs to what nobody waits for.
const BOUNDS_S: [f64; 16] =
    [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 2e-2, 0.1, 1.0, 10.0];

/// Size classes of reads.
const SIZES: [(&str, u64); 5] =
    [("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20), ("16MiB", 16 << 20), ("more", u64::MAX)];

/// Labels of a latency.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRead {
    path: &'static str,
    size: &'static str,
}

/// Labels of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFailure {
    code: String,
}

/// Handles of metrics: cheap to clone, and the same ones.
#[derive(Clone, Debug)]
pub struct Meters {
    latencies: Family<OfRead, Histogram>,
    bytes: Family<OfRead, Counter>,
    failures: Family<OfFailure, Counter>,
}

impl Default for Meters {
    fn default() -> Meters {
        Meters {
            latencies: Family::new_with_constructor(|| Histogram::new(BOUNDS_S)),
            bytes: Family::default(),
            failures: Family::default(),
        }
    }
}

impl Meters {
    /// A read that went well.
    pub fn read(&self, path: &'static str, bytes: u64, ns: u64) {
        let size = SIZES.iter().find(|(_, max)| bytes <= *max).map_or("more", |(name, _)| name);
        let labels = OfRead { path, size };
        self.latencies.get_or_create(&labels).observe(ns as f64 / 1e9);
        self.bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// A read that did not, by the code of its error.
    pub fn failed(&self, code: &str) {
        self.failures.get_or_create(&OfFailure { code: code.to_owned() }).inc();
    }

    /// Names them for whoever collects.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "read_duration",
            "How long reads for local programs took, by path and size",
            Unit::Seconds,
            self.latencies.clone(),
        );
        registry.register_with_unit(
            "read_size",
            "Bytes that were read for local programs, by path and size of the read",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register(
            "read_failures",
            "Reads for local programs that failed, by error code",
            self.failures.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reads_and_failures_are_told_by_path_size_and_code() {
        let meters = Meters::default();
        meters.read("pull", 4096, 12_000);
        meters.read("pull", 4097, 12_000);
        meters.failed("NEEDLE_MISSING");
        let mut registry = Registry::with_prefix("wavetank");
        meters.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "wavetank_read_duration_seconds_bucket{le=\"0.00002\",path=\"pull\",size=\"4KiB\"} 1",
            "wavetank_read_size_bytes_total{path=\"pull\",size=\"64KiB\"} 4097",
            "wavetank_read_failures_total{code=\"NEEDLE_MISSING\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
