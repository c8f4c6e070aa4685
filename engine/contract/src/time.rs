//! Time as an argument: an instant is a number somebody hands in, never one that is looked up.

use core::fmt;
use core::ops::{Add, Sub};

/// A point in time, in nanoseconds since the start of the run.
///
/// In simulation this is virtual time; on hardware the driver's owner reads a monotonic clock once per turn.
/// Arithmetic saturates: [`Instant::FAR`] plus anything is still [`Instant::FAR`], so "no deadline" needs no
/// special case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The start of the run.
    pub const ZERO: Instant = Instant(0);
    /// Later than every event: the deadline of something that has none.
    pub const FAR: Instant = Instant(u64::MAX);

    /// Nanoseconds from `earlier` to `self`, or 0 when `earlier` is the later one.
    pub fn since_ns(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Instant {
    type Output = Instant;
    fn add(self, ns: u64) -> Instant {
        Instant(self.0.saturating_add(ns))
    }
}

impl Sub<u64> for Instant {
    type Output = Instant;
    fn sub(self, ns: u64) -> Instant {
        Instant(self.0.saturating_sub(ns))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Instant::FAR { write!(f, "never") } else { write!(f, "{} ns", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_plus_anything_is_still_far() {
        assert_eq!(Instant::FAR + 1, Instant::FAR);
        assert_eq!(Instant(5).since_ns(Instant(9)), 0);
    }
}
