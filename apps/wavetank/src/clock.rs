//! The only clock of the program: it measures how long simulations take, and nothing that happens in them.

/// Nanoseconds of a monotonic clock, from its first call on.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "wall time of runs and benchmarks, outside the simulation")]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// Starts at 0.
    #[expect(clippy::disallowed_methods, reason = "wall time of runs and benchmarks, outside the simulation")]
    #[expect(clippy::disallowed_types, reason = "wall time of runs and benchmarks, outside the simulation")]
    pub(crate) fn start() -> Clock {
        Clock(std::time::Instant::now())
    }

    /// Nanoseconds since it was started.
    pub(crate) fn ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Seconds since it was started.
    pub(crate) fn seconds(&self) -> f64 {
        self.ns() as f64 / 1e9
    }
}
