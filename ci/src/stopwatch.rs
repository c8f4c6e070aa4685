//! The one file of this crate that reads a clock.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how long a step took is shown to people; nothing is decided by it"
)]

use std::time::{Duration, Instant};

/// Measures how long a step takes.
#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since it was started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
