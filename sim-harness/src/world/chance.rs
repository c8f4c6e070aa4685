//! The chance of a world: a seed, and the shape that a profile gives to jitter.

use wavetank_contract::{Choices, Seeded, Site};

/// Choices from a seed, in which the delay of a packet may be rarer the longer it is.
///
/// A shape of 1 leaves jitter as it is drawn, evenly between none and all of it. A shape of `n` raises the drawn share to
/// its n-th power: half of all packets are then delayed by at most `1 / 2^n` of the jitter, and a few by most of it, which
/// is how devices behave. Zero stays the quiet choice. Integers throughout, so that every machine has the same delays.
#[derive(Clone, Debug)]
pub struct Shaped {
    seeded: Seeded,
    jitter_shape: u32,
}

impl Shaped {
    /// Choices from `seed`.
    pub fn new(seed: u64, jitter_shape: u32) -> Shaped {
        Shaped { seeded: Seeded::new(seed), jitter_shape }
    }
}

impl Choices for Shaped {
    #[inline]
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        let drawn = self.seeded.choose(site, bound);
        if self.jitter_shape > 1 && site == Site::LinkJitter {
            bend(drawn, bound, self.jitter_shape)
        } else {
            drawn
        }
    }
}

/// `bound * (drawn / bound)^shape`, in fractions of 2^32.
fn bend(drawn: u64, bound: u64, shape: u32) -> u64 {
    let share = (u128::from(drawn) << 32) / u128::from(bound.max(1));
    let (mut power, mut square, mut left) = (1 << 32, share, shape);
    while left > 0 {
        if left & 1 == 1 {
            power = (power * square) >> 32;
        }
        square = (square * square) >> 32;
        left >>= 1;
    }
    ((u128::from(bound) * power) >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_of_one_changes_nothing() {
        let (mut plain, mut shaped) = (Seeded::new(5), Shaped::new(5, 1));
        for bound in [0, 1, 2, 1000, 1 << 60] {
            assert_eq!(plain.choose(Site::LinkJitter, bound), shaped.choose(Site::LinkJitter, bound));
        }
    }

    #[test]
    fn a_shape_makes_long_delays_rare_and_leaves_the_quiet_choice_quiet() {
        let mut shaped = Shaped::new(5, 4);
        let mut drawn: Vec<u64> = (0..10_000).map(|_| shaped.choose(Site::LinkJitter, 16_000)).collect();
        drawn.sort_unstable();
        assert!((950..1050).contains(&drawn[5_000]), "half of the packets: {}", drawn[5_000]);
        assert!((15_200..15_600).contains(&drawn[9_900]), "one in a hundred: {}", drawn[9_900]);
        assert_eq!((bend(0, 16_000, 4), bend(0, 0, 4)), (0, 0));
        assert!(bend(u64::MAX - 1, u64::MAX, 3) < u64::MAX);
    }

    #[test]
    fn only_jitter_is_shaped() {
        let (mut plain, mut shaped) = (Seeded::new(5), Shaped::new(5, 4));
        assert_eq!(plain.choose(Site::WorkloadPlace, 999), shaped.choose(Site::WorkloadPlace, 999));
    }
}
