//! Which granules are free: the buddy system (Knowlton 1965), with bitmaps instead of lists.
//!
//! A block of class `k` is `2^k` granules and starts at a multiple of that. Where a block is placed depends on which
//! blocks are free and on nothing else: the smallest class that has one, then the lowest address. That keeps low
//! addresses busy and large blocks whole, and makes placement the same in every run.

use super::bits::Bits;

/// Free blocks of one range of granules. Knows no bytes and no memory.
#[derive(Clone, Debug)]
pub(super) struct Buddy {
    granules: u32,
    /// Free blocks per class, named by start over size. Two buddies are never both in it: they are merged.
    free: Vec<Bits>,
    /// Bit `k` says whether class `k` has a free block.
    classes_free: u32,
}

impl Buddy {
    /// Everything free, in the fewest blocks that `granules` can be cut into. Largest first from address 0, so a
    /// length that is a power of two is one block.
    pub(super) fn new(granules: u32) -> Buddy {
        let classes = u32::BITS - granules.leading_zeros();
        let mut buddy = Buddy {
            granules,
            free: (0..classes).map(|class| Bits::new(granules >> class)).collect(),
            classes_free: 0,
        };
        let mut start = 0;
        for class in (0..classes).rev().filter(|class| granules >> class & 1 == 1) {
            buddy.insert(class, start >> class);
            start += 1 << class;
        }
        buddy
    }

    /// Classes are numbered from 0 to one less than this.
    #[inline]
    pub(super) fn classes(&self) -> u32 {
        self.free.len() as u32
    }

    /// Granules in all.
    pub(super) fn granules(&self) -> u32 {
        self.granules
    }

    /// Free blocks of a class.
    pub(super) fn free_blocks(&self, class: u32) -> u32 {
        self.free[class as usize].len()
    }

    /// The largest class with a free block.
    pub(super) fn largest(&self) -> Option<u32> {
        self.classes_free.checked_ilog2()
    }

    /// The first granule of a block of this class, taken from the smallest block that will do.
    pub(super) fn take(&mut self, class: u32) -> Option<u32> {
        // The lowest class that is large enough; beyond the last one there is none.
        let found = class + (self.classes_free >> class).trailing_zeros();
        let mut block = self.free.get(found as usize)?.first()?;
        self.remove(found, block);
        for half in (class..found).rev() {
            block <<= 1;
            self.insert(half, block | 1);
        }
        Some(block << class)
    }

    /// Takes a block back and merges it as far as it goes.
    pub(super) fn give(&mut self, mut class: u32, start: u32) {
        let mut block = start >> class;
        // The last block of a class may have no buddy: the range ends there.
        while block ^ 1 < self.granules >> class && self.free[class as usize].contains(block ^ 1) {
            self.remove(class, block ^ 1);
            block >>= 1;
            class += 1;
        }
        self.insert(class, block);
    }

    /// Free blocks as (class, first granule); slow, for checks.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.classes()).flat_map(move |class| {
            self.free[class as usize].iter(self.granules >> class).map(move |block| (class, block << class))
        })
    }

    #[inline]
    fn insert(&mut self, class: u32, block: u32) {
        self.free[class as usize].insert(block);
        self.classes_free |= 1 << class;
    }

    #[inline]
    fn remove(&mut self, class: u32, block: u32) {
        let bits = &mut self.free[class as usize];
        bits.remove(block);
        if bits.is_empty() {
            self.classes_free &= !(1 << class);
        }
    }

    /// What must hold between two calls.
    ///
    /// # Errors
    /// The first thing that does not, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        for class in 0..self.classes() {
            let has_free = self.classes_free >> class & 1 == 1;
            if has_free == self.free[class as usize].is_empty() {
                return Err(format!("class {class} is marked wrongly as free or not"));
            }
        }
        for (class, start) in self.iter() {
            let buddy = start >> class ^ 1;
            if buddy < self.granules >> class && self.free[class as usize].contains(buddy) {
                return Err(format!(
                    "granule {start} and its buddy of class {class} are free and not merged"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_length_is_cut_into_its_powers_of_two() {
        let buddy = Buddy::new(0b1_0110);
        let blocks: Vec<_> = buddy.iter().collect();
        assert_eq!(blocks, [(1, 20), (2, 16), (4, 0)]);
        assert_eq!(buddy.largest(), Some(4));
    }

    #[test]
    fn the_smallest_block_that_will_do_is_taken_at_the_lowest_address() {
        let mut buddy = Buddy::new(16);
        let taken: Vec<_> = (0..4).filter_map(|_| buddy.take(0)).collect();
        assert_eq!(taken, [0, 1, 2, 3]);
        buddy.give(0, 1);
        assert_eq!(buddy.take(1), Some(4), "a pair comes from the next block that has one");
        assert_eq!(buddy.take(0), Some(1), "the hole is filled before anything is split");
    }

    #[test]
    fn blocks_given_back_in_any_order_become_whole_again() {
        for granules in [1, 2, 3, 7, 8, 100, 1000] {
            let mut buddy = Buddy::new(granules);
            let whole: Vec<_> = buddy.iter().collect();
            let mut taken: Vec<u32> = core::iter::from_fn(|| buddy.take(0)).collect();
            assert_eq!(taken.len(), granules as usize);
            assert_eq!(buddy.largest(), None);
            taken.sort_by_key(|start| start.wrapping_mul(0x9e37_79b9));
            for start in taken {
                buddy.give(0, start);
                assert_eq!(buddy.check(), Ok(()));
            }
            assert_eq!(buddy.iter().collect::<Vec<_>>(), whole);
        }
    }
}
