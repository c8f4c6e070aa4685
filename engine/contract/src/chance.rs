//! Chance as an argument: one oracle answers every question that has more than one legal answer.

/// A place in the code that asks for a choice.
///
/// Sites name *what* is being decided, so that a recorded run can be read and shrunk by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Site {
    /// Extra latency of a packet on a link, in ns.
    LinkJitter,
    /// Whether a link loses this packet: the last of `bound` choices loses it.
    LinkLoss,
    /// How far an ACK timeout runs past its nominal value (IBA lets it reach four times that).
    TimeoutSlack,
    /// Which of the ready nodes is turned first.
    NodeOrder,
    /// Which operation of a mix comes next.
    WorkloadOp,
    /// The size of the next operation.
    WorkloadSize,
    /// The place the next operation goes to.
    WorkloadPlace,
    /// The gap before the next arrival of an open loop.
    WorkloadArrival,
}

/// The one source of chance. No other entropy exists in simulated code.
///
/// **Zero is always the quiet choice**: no fault, the shortest delay, the first in order. Shrinking and replay
/// depend on it: a run whose choices are all zero is the dullest legal run.
pub trait Choices {
    /// Picks a number below `bound`. A `bound` of 0 or 1 leaves no choice and must answer 0 without consuming
    /// anything.
    fn choose(&mut self, site: Site, bound: u64) -> u64;
}

/// Always the quiet choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Choices for Quiet {
    fn choose(&mut self, _site: Site, _bound: u64) -> u64 {
        0
    }
}

/// Choices drawn from a seed by SplitMix64 (Steele, Lea, Flood 2014): the same on every machine.
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
    draws: u64,
}

impl Seeded {
    /// Every seed is good, 0 included.
    pub fn new(seed: u64) -> Seeded {
        Seeded { state: seed, draws: 0 }
    }

    /// How many choices have been drawn: two runs that disagree here took different paths.
    pub fn draws(&self) -> u64 {
        self.draws
    }

    fn next(&mut self) -> u64 {
        self.draws += 1;
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix64(self.state)
    }
}

impl Choices for Seeded {
    fn choose(&mut self, _site: Site, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        // Lemire's multiply-shift: no division, and a bias below 2^-64 * bound that no workload can see.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// SplitMix64's finaliser: a bijection on 64 bits in which every input bit reaches every output bit.
pub const fn mix64(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_splitmix64_sequence() {
        // First outputs for seed 1234567, from the reference implementation by S. Vigna.
        let mut s = Seeded::new(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| s.next()).collect();
        assert_eq!(drawn, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn choices_stay_below_their_bound_and_no_choice_draws_nothing() {
        let mut s = Seeded::new(7);
        assert!((0..1000).all(|_| s.choose(Site::LinkJitter, 10) < 10));
        let before = s.draws();
        assert_eq!((s.choose(Site::LinkJitter, 0), s.choose(Site::LinkJitter, 1)), (0, 0));
        assert_eq!(s.draws(), before);
    }
}
