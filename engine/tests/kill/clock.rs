//! The time, and waiting for it: these are real processes.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use wavetank_contract::Instant;

pub(crate) const MS: u64 = 1_000_000;

/// Since the machine booted.
pub(crate) fn now() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    Instant(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// Waits until one of them is readable, or for so long. Whether one is.
pub(crate) fn readable(fds: &[BorrowedFd<'_>], ns: u64) -> bool {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let time = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
    poll(&mut fds, Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Waits.
pub(crate) fn pause(ns: u64) {
    readable(&[], ns);
}

/// A line for whoever looks on, or for a parent.
#[expect(clippy::print_stdout, reason = "a table for the record")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
