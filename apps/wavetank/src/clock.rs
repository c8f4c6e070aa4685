//! The only clocks of the program: they measure how long simulations take, and nothing that happens in them.

use rustix::time::{ClockId, clock_gettime};

/// Measures from its start on: time that passed, and time that one core spent on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall_ns: u64,
    core_ns: u64,
}

fn ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Both clocks count up from 0, so that neither part is negative.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

impl Clock {
    /// Starts at 0.
    pub(crate) fn start() -> Clock {
        Clock { wall_ns: ns(ClockId::Monotonic), core_ns: ns(ClockId::ThreadCPUTime) }
    }

    /// Nanoseconds since 1970, for needles that expire.
    pub(crate) fn unix_ns() -> u64 {
        ns(ClockId::Realtime)
    }

    /// Nanoseconds that passed since it was started.
    pub(crate) fn wall_ns(&self) -> u64 {
        ns(ClockId::Monotonic).saturating_sub(self.wall_ns)
    }

    /// Seconds that passed since it was started.
    pub(crate) fn wall_s(&self) -> f64 {
        ns(ClockId::Monotonic).saturating_sub(self.wall_ns) as f64 / 1e9
    }

    /// Nanoseconds a core spent on this thread since it was started: what others did on it meanwhile does not count.
    pub(crate) fn core_ns(&self) -> u64 {
        ns(ClockId::ThreadCPUTime).saturating_sub(self.core_ns)
    }

    /// The same in seconds.
    pub(crate) fn core_s(&self) -> f64 {
        self.core_ns() as f64 / 1e9
    }
}
