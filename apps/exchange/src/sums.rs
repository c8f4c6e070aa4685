//! Sums of a needle's blocks: with them, a range that is READ alone is verified as the whole was.

use std::collections::BTreeMap;
use std::rc::Rc;

use wavetank_contract::Lease;
use wavetank_rpc::{Joiner, crc32c_append_of, crc32c_blocks_of};
use wavetank_volume::crc32c_raw;

/// Length of a block, unless that would make too many: a page is what the shortest ranges ask for.
const BLOCK_BYTES_MIN: u64 = 4096;

/// Sums that are kept of a needle, 4 bytes each. Of a longer one the blocks are longer.
const BLOCKS_MAX: u64 = 256;

/// Joiners by length of their blocks, each made once. There are as many as lengths of blocks: a dozen.
#[derive(Debug, Default)]
pub(crate) struct Joiners(BTreeMap<u64, Rc<Joiner>>);

/// CRC32-C of each block of a needle's data, taken when all of it was verified.
#[derive(Clone, Debug)]
pub(crate) struct BlockSums {
    block_bytes: u64,
    whole_bytes: u64,
    sums: Rc<[u32]>,
    joiner: Rc<Joiner>,
}

impl BlockSums {
    /// Of data that was verified.
    pub(crate) fn of(data: &[u8], joiners: &mut Joiners) -> BlockSums {
        let whole_bytes = data.len() as u64;
        let block_bytes = whole_bytes.div_ceil(BLOCKS_MAX).next_power_of_two().max(BLOCK_BYTES_MIN);
        let joiner = joiners.0.entry(block_bytes);
        let joiner = Rc::clone(joiner.or_insert_with(|| Rc::new(Joiner::new(block_bytes as usize))));
        let sums = data.chunks(block_bytes as usize).map(crc32c_raw).collect();
        BlockSums { block_bytes, whole_bytes, sums, joiner }
    }

    /// Where the blocks begin that a range lies in, and where they end.
    pub(crate) fn around(&self, offset: u64, len: u64) -> (u64, u64) {
        let begin = offset / self.block_bytes * self.block_bytes;
        let end = (offset + len).next_multiple_of(self.block_bytes).min(self.whole_bytes);
        (begin, end)
    }

    /// Verifies the blocks around a range, which begin at `at` of the lease. Answers the CRC32-C of the range, or `None` where a
    /// block is not what was verified.
    pub(crate) fn verify(&self, lease: &Lease, at: u64, offset: u64, len: u64) -> Option<u32> {
        let (begin, end) = self.around(offset, len);
        let (mut from, mut sum, mut is_right) = (begin, 0, true);
        crc32c_blocks_of(lease, at, end - begin, self.block_bytes, |block| {
            is_right &= self.sums.get((from / self.block_bytes) as usize) == Some(&block);
            let next = from + self.block_bytes;
            let inside = offset.max(from)..(offset + len).min(next);
            sum = if inside == (from..next) {
                self.joiner.join(sum, block)
            } else {
                crc32c_append_of(sum, lease, at + (inside.start - begin), inside.end - inside.start)
            };
            from = next;
        });
        is_right.then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use wavetank_contract::{Region, RegionSpec};

    use super::*;

    #[test]
    fn every_range_is_verified_and_summed_and_a_changed_byte_around_it_is_told() {
        let region = Region::allocate(&RegionSpec::new(2 << 20)).expect("memory");
        let lease = region.lease(0, 2 << 20).expect("free");
        let mut joiners = Joiners::default();
        for whole in [1_u64, 4095, 4096, 4097, 20_000, 1_100_000] {
            let data: Vec<u8> = (0..whole).map(|i| (i * 7 + (i >> 9)) as u8).collect();
            let sums = BlockSums::of(&data, &mut joiners);
            assert!(sums.sums.len() as u64 <= BLOCKS_MAX);
            let block = sums.block_bytes;
            for offset in [0, 1, 4095, 4096, block, whole / 2, whole - 1].into_iter().filter(|o| *o < whole) {
                for len in [1, 100, block - 1, block, 2 * block + 1, whole].map(|len| len.min(whole - offset))
                {
                    let (begin, end) = sums.around(offset, len);
                    assert!(begin <= offset && offset + len <= end && end - begin <= len + 2 * block);
                    lease.write(8, &data[begin as usize..end as usize]);
                    let right = crc32c_raw(&data[offset as usize..][..len as usize]);
                    assert_eq!(
                        sums.verify(&lease, 8, offset, len),
                        Some(right),
                        "{offset} + {len} of {whole}"
                    );
                    for wrong in [begin, offset, offset + len - 1, end - 1] {
                        lease.write(8 + wrong - begin, &[data[wrong as usize] ^ 1]);
                        assert_eq!(sums.verify(&lease, 8, offset, len), None, "byte {wrong}");
                        lease.write(8 + wrong - begin, &[data[wrong as usize]]);
                    }
                }
            }
        }
    }
}
