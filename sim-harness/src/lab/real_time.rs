//! Real time: the clock of labs over real devices, and waiting on it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use wavetank_contract::Instant;

use super::{Sleeper, Waited};

/// A monotonic clock that began when it was made.
#[derive(Clone, Copy, Debug)]
pub struct RealTime {
    started_ns: u64,
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at boot: neither part is negative, and 2^64 ns are 584 years.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl RealTime {
    /// Starts the clock.
    pub fn start() -> RealTime {
        RealTime { started_ns: monotonic_ns() }
    }

    /// The time since.
    #[inline]
    pub fn now(&self) -> Instant {
        Instant(monotonic_ns().saturating_sub(self.started_ns))
    }

    /// Sleeps until somebody may have something to say, or until `until`.
    pub fn wait(&self, sleepers: &[Sleeper<'_>], until: Instant) -> Waited {
        let mut first = until;
        for sleeper in sleepers {
            match sleeper.until() {
                None => return Waited::Woken,
                Some(at) => first = first.min(at),
            }
        }
        let mut watched: Vec<PollFd<'_>> = sleepers
            .iter()
            .filter_map(|sleeper| sleeper.notifier)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let now = self.now();
        if first <= now {
            return if until <= now { Waited::Reached } else { Waited::Woken };
        }
        let ns = first.since_ns(now);
        let timeout = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
        let forever = first == Instant::FAR;
        // An interrupted or failed wait is a wake-up too: whoever waits polls and comes again.
        match poll(&mut watched, if forever { None } else { Some(&timeout) }) {
            Ok(0) if until <= self.now() => Waited::Reached,
            _ => Waited::Woken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use wavetank_contract::Wake;

    const LONG: u64 = 60_000_000_000;

    #[test]
    fn a_wait_ends_at_its_limit_and_not_before() {
        let time = RealTime::start();
        let until = time.now() + 2_000_000;
        assert_eq!(time.wait(&[], until), Waited::Reached);
        assert!(time.now() >= until);
    }

    #[test]
    fn a_sleeper_that_has_something_to_say_is_not_waited_for() {
        let time = RealTime::start();
        let now = Sleeper { wake: Wake::Now, notifier: None };
        assert_eq!(time.wait(&[now], time.now() + LONG), Waited::Woken);
        let at = Sleeper { wake: Wake::At(time.now() + 1_000_000), notifier: None };
        assert_eq!(time.wait(&[at], time.now() + LONG), Waited::Woken, "its own time is not the limit");
    }

    #[test]
    fn what_becomes_readable_ends_the_wait() {
        let (reader, writer) = std::io::pipe().expect("two descriptors");
        let time = RealTime::start();
        let sleeper =
            Sleeper { wake: Wake::Notified { until: Instant::FAR }, notifier: Some(reader.as_fd()) };
        assert_eq!(time.wait(&[sleeper], time.now() + 1_000_000), Waited::Reached, "nothing was written");
        std::io::Write::write_all(&mut &writer, b"x").expect("room in a pipe");
        assert_eq!(time.wait(&[sleeper], time.now() + LONG), Waited::Woken);
    }
}
