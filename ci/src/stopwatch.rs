//! The one file of this crate that reads a clock, or waits.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how long a step took is shown to people, and what runs outside this program has a deadline"
)]

use std::time::{Duration, Instant};

/// How often something that runs outside this program is looked at.
const NAP: Duration = Duration::from_millis(20);

/// Measures how long something takes.
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

/// Lets other processes have the processor for a moment.
pub(crate) fn nap() {
    std::thread::sleep(NAP);
}
