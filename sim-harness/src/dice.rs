//! What a seed draws when it draws a plan, of the engine's swarm or of the messenger's.

use wavetank_contract::chance::mix64;
use wavetank_contract::{Choices, Seeded, Site};

/// Draws one number after the other.
pub(crate) struct Dice(Seeded);

impl Dice {
    /// Those of a seed.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(Seeded::new(mix64(seed)))
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.choose(Site::Swarm, n)
    }

    /// A number from `low` to `high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Whether something happens that happens once in `n`.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.once_in(2)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number up to `high` whose size is drawn before it is: small ones are as likely as large ones.
    pub(crate) fn scaled(&mut self, low: u64, high: u64) -> u64 {
        let bits = self.within(low.max(1).ilog2().into(), high.max(1).ilog2().into());
        self.within(1 << bits, (2 << bits) - 1).clamp(low, high)
    }

    /// Which of these exist: each with probability 1/2, and one at least.
    pub(crate) fn some_of<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let some: Vec<T> = all.iter().copied().filter(|_| self.coin()).collect();
        if some.is_empty() { vec![self.pick(all)] } else { some }
    }
}
