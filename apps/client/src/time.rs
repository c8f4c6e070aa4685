//! The clock of clients: they wait for a real engine, never for a simulated one.

use std::time::Duration;

use rustix::event::Timespec;
use rustix::time::{ClockId, clock_gettime};

/// What the engine gets beyond a read's own time before it is taken for dead: its answer has to travel.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Nanoseconds of the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// A time after which nobody waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(u64);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Deadline {
        Deadline(now_ns().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// What is left, for `poll(2)`. `None`: nothing.
    pub(crate) fn rest(self) -> Option<Timespec> {
        let rest = self.0.saturating_sub(now_ns());
        let (tv_sec, tv_nsec) = ((rest / 1_000_000_000) as i64, (rest % 1_000_000_000) as i64);
        (rest > 0).then_some(Timespec { tv_sec, tv_nsec })
    }
}
