//! Choices as bytes: what a fuzzer mutates and a property test shrinks.

use wavetank_contract::{Choices, Site};

/// Takes as many bytes for a choice as its bound has, lowest first; when they are used up, everything is quiet. Fewer and
/// smaller bytes are duller runs.
#[derive(Clone, Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Choices from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes(bytes)
    }
}

impl Choices for Bytes<'_> {
    fn choose(&mut self, _site: Site, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let wanted = (u64::BITS - (bound - 1).leading_zeros()).div_ceil(8) as usize;
        let (taken, left) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = left;
        taken.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_takes_as_many_bytes_as_its_bound_has() {
        let mut choices = Bytes::new(&[3, 0x34, 0x12, 250]);
        let drawn = [(256, 3), (0x1_0000, 0x1234), (1, 0), (100, 50), (100, 0)];
        for (bound, value) in drawn {
            assert_eq!(choices.choose(Site::Swarm, bound), value, "below {bound}");
        }
        assert_eq!(Bytes::new(&[0xff; 8]).choose(Site::Swarm, u64::MAX), 0, "2^64 - 1 is no remainder of it");
    }
}
