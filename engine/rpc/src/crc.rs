//! CRC32-C of leased memory.

use wavetank_contract::Lease;

/// Bytes looked at together. It stays in the first level of the cache: 7 to 10 GB/s where a slice would give 11 to 17, and
/// larger blocks give no more.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// CRC32-C of `len_bytes` at `offset` of the lease.
///
/// Memory that a device may write is never lent as a slice, so it is copied in blocks. Bytes that change meanwhile give a
/// sum of neither state.
///
/// # Panics
/// When the range is not all inside, as slices do: ranges of a peer are checked first.
pub fn crc32c_of(lease: &Lease, offset: u64, len_bytes: u64) -> u32 {
    crc32c_append_of(0, lease, offset, len_bytes)
}

/// What a CRC32-C becomes when `len_bytes` at `offset` of the lease follow; otherwise as [`crc32c_of`].
///
/// # Panics
/// As [`crc32c_of`].
pub fn crc32c_append_of(sum: u32, lease: &Lease, offset: u64, len_bytes: u64) -> u32 {
    append(&mut [0; BLOCK_BYTES], sum, lease, offset, len_bytes)
}

/// Tells the CRC32-C of each block of that many bytes, of the last shorter one too, of `len_bytes` at `offset` of the lease.
///
/// # Panics
/// As [`crc32c_of`].
pub fn crc32c_blocks_of(
    lease: &Lease,
    offset: u64,
    len_bytes: u64,
    block_bytes: u64,
    mut tell: impl FnMut(u32),
) {
    let mut copy = [0; BLOCK_BYTES];
    let mut done = 0;
    while done < len_bytes {
        let block = (len_bytes - done).min(block_bytes);
        tell(append(&mut copy, 0, lease, offset + done, block));
        done += block;
    }
}

fn append(block: &mut [u8; BLOCK_BYTES], sum: u32, lease: &Lease, offset: u64, len_bytes: u64) -> u32 {
    let mut sum = sum;
    let mut done = 0;
    while done < len_bytes {
        let part = (len_bytes - done).min(BLOCK_BYTES as u64);
        let part = &mut block[..part as usize];
        lease.read(offset + done, part);
        sum = crc32c::crc32c_append(sum, part);
        done += part.len() as u64;
    }
    sum
}

/// Joins CRC32-C sums of blocks of one length: what a sum becomes when a block follows whose own sum is known, for four
/// look-ups instead of another pass over the block.
#[derive(Debug)]
pub struct Joiner(Box<[[u32; 256]; 4]>);

impl Joiner {
    /// For blocks of this length. It takes some 100 us.
    pub fn new(block_bytes: usize) -> Joiner {
        // Shifting a sum past a block is linear: what becomes of each bit says what becomes of each byte.
        let bits: [u32; 32] = std::array::from_fn(|bit| crc32c::crc32c_combine(1 << bit, 0, block_bytes));
        let mut tables = Box::new([[0; 256]; 4]);
        for (place, table) in tables.iter_mut().enumerate() {
            for (byte, shifted) in table.iter_mut().enumerate() {
                let of = |bit: usize| if byte >> bit & 1 == 1 { bits[place * 8 + bit] } else { 0 };
                *shifted = (0..8).map(of).fold(0, |all, one| all ^ one);
            }
        }
        Joiner(tables)
    }

    /// The sum of all that `sum` is of, with a block of this sum behind it.
    #[inline]
    pub fn join(&self, sum: u32, block: u32) -> u32 {
        let [a, b, c, d] = sum.to_le_bytes().map(usize::from);
        let [first, second, third, fourth] = &*self.0;
        first[a] ^ second[b] ^ third[c] ^ fourth[d] ^ block
    }
}

#[cfg(test)]
mod tests {
    use wavetank_contract::{Region, RegionSpec};

    use super::*;

    #[test]
    fn the_sum_of_leased_memory_is_that_of_its_bytes() {
        let region = Region::allocate(&RegionSpec::new(16384)).expect("memory");
        let lease = region.lease(4096, 12288).expect("free");
        let bytes: Vec<u8> = (0..12288u32).map(|i| (i * 7 + (i >> 8)) as u8).collect();
        lease.write(0, &bytes);
        for (offset, len) in [(0, 0), (0, 1), (1, 4095), (1, 4096), (5, 9000), (0, 12288)] {
            let mut blocks = Vec::new();
            crc32c_blocks_of(&lease, offset, len, 5000, |block| blocks.push(block));
            let whole = &bytes[offset as usize..][..len as usize];
            assert_eq!(blocks, whole.chunks(5000).map(crc32c::crc32c).collect::<Vec<_>>());
            assert_eq!(
                crc32c_of(&lease, offset, len),
                crc32c::crc32c(&bytes[offset as usize..][..len as usize])
            );
        }
    }

    #[test]
    fn joined_sums_are_those_of_one_pass() {
        let joiner = Joiner::new(BLOCK_BYTES);
        let bytes: Vec<u8> = (0..5 * BLOCK_BYTES).map(|i| ((i * 31) ^ (i >> 7)) as u8).collect();
        let mut sum = crc32c::crc32c(&bytes[..100]);
        let blocks = &bytes[100..100 + 4 * BLOCK_BYTES];
        for block in blocks.chunks(BLOCK_BYTES) {
            sum = joiner.join(sum, crc32c::crc32c(block));
        }
        assert_eq!(sum, crc32c::crc32c(&bytes[..100 + 4 * BLOCK_BYTES]));
        assert_eq!(joiner.join(0, 7), 7, "nothing before it");
    }
}
