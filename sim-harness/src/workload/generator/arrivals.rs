//! When the operations of an open load arrive: a Poisson process, the same on every machine.
//!
//! Gaps are exponential by inversion, `-ln(u) * mean` with `u` of 53 bits in (0, 1]; the logarithm is `libm`'s and
//! the rest IEEE arithmetic. The clock counts 1/256 ns, so that rounding adds nothing to a mean of 10 ns and more.
//! No gap is below 1 ns: time must pass even when every choice is zero.

use wavetank_contract::chance::{Choices, Site};
use wavetank_contract::time::Instant;

const TICKS_PER_NS: u64 = 256;
const RESOLUTION: u64 = 1 << 53;

#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    mean_ticks: f64,
    clock_ticks: u64,
    end: Instant,
}

impl Arrivals {
    pub(super) fn new(rate_per_s: u64, end: Instant) -> Arrivals {
        let mean_ticks = (TICKS_PER_NS * 1_000_000_000) as f64 / rate_per_s.max(1) as f64;
        Arrivals { mean_ticks, clock_ticks: 0, end }
    }

    /// The next arrival; none at or after the end.
    pub(super) fn next<C: Choices + ?Sized>(&mut self, choices: &mut C) -> Option<Instant> {
        let drawn = choices.choose(Site::WorkloadArrival, RESOLUTION);
        let u = (RESOLUTION - drawn) as f64 / RESOLUTION as f64;
        let gap = (-libm::log(u) * self.mean_ticks) as u64;
        self.clock_ticks = self.clock_ticks.saturating_add(gap.max(TICKS_PER_NS));
        let at = Instant(self.clock_ticks / TICKS_PER_NS);
        (at < self.end).then_some(at)
    }
}
