//! Weighted choice among a few things, exact in integers.

use wavetank_contract::chance::{Choices, Site};

/// Weights as running sums: a draw below the total falls on the first sum above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weights {
    sums: Vec<u64>,
}

impl Weights {
    /// None when every weight is 0, or when their sum does not fit.
    pub(super) fn new(weights: &[u64]) -> Option<Weights> {
        let unit = weights.iter().copied().fold(0, gcd);
        if unit == 0 {
            return None;
        }
        let mut total = 0u64;
        let mut sums = Vec::with_capacity(weights.len());
        for weight in weights {
            // Divided by what all have in common: one thing with any weight leaves no choice, and draws nothing.
            total = total.checked_add(weight / unit)?;
            sums.push(total);
        }
        Some(Weights { sums })
    }

    fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// Draws an index. The quiet choice is the first that has any weight.
    pub(super) fn pick<C: Choices + ?Sized>(&self, choices: &mut C, site: Site) -> usize {
        self.at(choices.choose(site, self.total()))
    }

    /// The index a fixed fraction (`hash` / 2^64) of the weight falls on.
    pub(super) fn pick_by_hash(&self, hash: u64) -> usize {
        self.at(below(hash, self.total()))
    }

    fn at(&self, drawn: u64) -> usize {
        // Mixes are short: a scan beats a binary search up to a dozen entries and is near it at a hundred.
        if self.sums.len() <= 16 {
            return self.sums.iter().position(|sum| *sum > drawn).unwrap_or(0);
        }
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}

/// Maps all of 64 bits evenly onto the numbers below `bound`.
pub(super) fn below(hash: u64, bound: u64) -> u64 {
    ((u128::from(hash) * u128::from(bound)) >> 64) as u64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
