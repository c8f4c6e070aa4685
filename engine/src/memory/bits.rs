//! A set of small numbers that finds its smallest member in a few steps.

/// Levels that 2^32 members need: 64^6 is more.
const LEVELS_MAX: usize = 6;

/// A bitmap, and over it bitmaps of which words are not zero, up to one word. All levels lie in one piece.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Box<[u64]>,
    /// Where each level starts in `words`; the members themselves are level 0.
    starts: [usize; LEVELS_MAX],
    levels: usize,
    len: u32,
}

impl Bits {
    /// The empty set of numbers below `bound`.
    pub(super) fn new(bound: u32) -> Bits {
        let mut starts = [0; LEVELS_MAX];
        let mut levels = 0;
        let mut words = 0;
        let mut members = bound as usize;
        loop {
            starts[levels] = words;
            levels += 1;
            members = members.div_ceil(64).max(1);
            words += members;
            if members == 1 {
                break;
            }
        }
        Bits { words: vec![0; words].into_boxed_slice(), starts, levels, len: 0 }
    }

    /// How many members there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `member` is in the set. It must be below the bound.
    #[inline]
    pub(super) fn contains(&self, member: u32) -> bool {
        self.words[member as usize >> 6] >> (member & 63) & 1 == 1
    }

    /// Adds a number that is not a member.
    #[inline]
    pub(super) fn insert(&mut self, member: u32) {
        self.len += 1;
        let mut bit = member as usize;
        for &start in &self.starts[..self.levels] {
            let word = &mut self.words[start + (bit >> 6)];
            let before = *word;
            *word |= 1 << (bit & 63);
            if before != 0 {
                break;
            }
            bit >>= 6;
        }
    }

    /// Removes a member.
    #[inline]
    pub(super) fn remove(&mut self, member: u32) {
        self.len -= 1;
        let mut bit = member as usize;
        for &start in &self.starts[..self.levels] {
            let word = &mut self.words[start + (bit >> 6)];
            *word &= !(1 << (bit & 63));
            if *word != 0 {
                break;
            }
            bit >>= 6;
        }
    }

    /// The smallest member.
    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let mut bit = 0;
        for &start in self.starts[..self.levels].iter().rev() {
            bit = bit << 6 | self.words[start + bit].trailing_zeros() as usize;
        }
        Some(bit as u32)
    }

    /// Members in order; slow, for checks.
    pub(super) fn iter(&self, bound: u32) -> impl Iterator<Item = u32> + '_ {
        (0..bound).filter(|&member| self.contains(member))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_of_one_and_a_set_of_many_levels_find_their_members() {
        for bound in [1, 64, 65, 4096, 4097, 300_000] {
            let mut bits = Bits::new(bound);
            assert_eq!(bits.first(), None);
            bits.insert(bound - 1);
            assert_eq!(bits.first(), Some(bound - 1));
            bits.remove(bound - 1);
            assert_eq!((bits.first(), bits.len()), (None, 0));
            assert!(bits.words.iter().all(|word| *word == 0), "every level is clean again");
        }
    }

    proptest! {
        #[test]
        fn bits_agree_with_an_ordered_set(flips in proptest::collection::vec(0..5000u32, 0..500)) {
            let mut bits = Bits::new(5000);
            let mut model = BTreeSet::new();
            for member in flips {
                prop_assert_eq!(bits.contains(member), model.contains(&member));
                if model.remove(&member) {
                    bits.remove(member);
                } else {
                    model.insert(member);
                    bits.insert(member);
                }
                prop_assert_eq!(bits.first(), model.first().copied());
                prop_assert_eq!(bits.len() as usize, model.len());
            }
            prop_assert!(bits.iter(5000).eq(model.iter().copied()));
        }
    }
}
