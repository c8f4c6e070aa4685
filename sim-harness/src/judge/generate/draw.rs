//! Drawing from choices.

use wavetank_contract::{Choices, Site};

/// Chance, as a generator asks for it. Answer 0 is the dull one.
pub(super) struct Draw<'a>(pub(super) &'a mut dyn Choices);

impl Draw<'_> {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.choose(Site::WorkloadOp, bound)
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    /// An index, as often as its weight says.
    pub(super) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (i, weight) in weights.iter().enumerate() {
            if at < *weight {
                return i;
            }
            at -= weight;
        }
        0
    }

    /// One of them, if there are any.
    pub(super) fn of<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// How long a message is, for an MTU: anything from nothing to a few packets, borders often.
    pub(super) fn len(&mut self, mtu: u32) -> u32 {
        match self.below(20) {
            0 => 0,
            1..7 => 1 + self.below(16) as u32,
            7..13 => 1 + self.below(200) as u32,
            13..17 => mtu - 1 + self.below(3) as u32,
            17..19 => 1 + self.below(3 * u64::from(mtu)) as u32,
            _ => 2 * mtu,
        }
    }

    /// Cuts a length into pieces; some may be empty.
    pub(super) fn cut(&mut self, len: u32, pieces_max: u32) -> Vec<u32> {
        let wanted = match self.below(10) {
            0..6 => 1,
            6..8 => 2,
            8 => 3,
            _ => 4,
        };
        if len == 0 && self.one_in(2) {
            return Vec::new();
        }
        let mut left = len;
        let mut cut = Vec::new();
        for _ in 1..wanted.min(pieces_max) {
            let part = self.below(u64::from(left) + 1) as u32;
            cut.push(part);
            left -= part;
        }
        cut.push(left);
        cut
    }
}
