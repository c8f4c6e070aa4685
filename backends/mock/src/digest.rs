//! A digest of payload bytes: position-dependent, identical on every machine, fast enough to run on every packet.

use std::array;

use pulp::{Arch, NullaryFnOnce};
use wavetank_contract::Region;
use wavetank_contract::chance::mix64;

/// Independent sums, so that the compiler can keep them in vector registers.
const LANES: usize = 4;

/// Digests `bytes`. Two running sums per lane as in Fletcher's checksum, over 64-bit words: the first sees every
/// changed word, the second every changed place; a final mix spreads both over the result. Not cryptographic: it
/// tells accidents apart, not forgeries.
#[inline]
pub fn digest(bytes: &[u8]) -> u64 {
    // The widest vectors this machine has; the sums are the same with any.
    Arch::new().dispatch(Digest(bytes))
}

/// Copies `out.len()` bytes at `offset` of a region and digests them while they are in the cache.
#[inline]
pub(crate) fn copy(region: &Region, offset: u64, out: &mut [u8]) -> u64 {
    region.read(offset, out);
    digest(out)
}

struct Digest<'a>(&'a [u8]);

impl NullaryFnOnce for Digest<'_> {
    type Output = u64;

    #[inline(always)]
    fn call(self) -> u64 {
        let (blocks, rest) = self.0.as_chunks::<{ LANES * 8 }>();
        let mut sums = Sums::default();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            sums.add(array::from_fn(|lane| u64::from_le_bytes(words[lane])));
        }
        sums.finish(self.0.len(), rest)
    }
}

#[derive(Default)]
struct Sums {
    sums: [u64; LANES],
    places: [u64; LANES],
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, words: [u64; LANES]) {
        for (sum, word) in self.sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(word);
        }
        for (place, sum) in self.places.iter_mut().zip(self.sums) {
            *place = place.wrapping_add(sum);
        }
    }

    /// Mixes the sums, the `rest` that fills no block, and the length of all.
    #[inline(always)]
    fn finish(self, len: usize, rest: &[u8]) -> u64 {
        let mut out = len as u64;
        for lane in 0..LANES {
            out = (out ^ self.sums[lane]).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            out = (out ^ self.places[lane]).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31);
        }
        for chunk in rest.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            out = (out ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(27);
        }
        mix64(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_any_swap_and_any_length_changes_the_digest() {
        let base: Vec<u8> = (0..333u32).map(|i| (i * 7 + 3) as u8).collect();
        let whole = digest(&base);
        for i in 0..base.len() {
            let mut other = base.clone();
            other[i] ^= 0x80;
            assert_ne!(digest(&other), whole, "byte {i}");
            assert_ne!(digest(&base[..i]), whole, "length {i}");
        }
        for (i, j) in [(0, 8), (0, 64), (64, 128), (1, 320)] {
            let mut other = base.clone();
            other.swap(i, j);
            assert!(other == base || digest(&other) != whole, "swap {i} {j}");
        }
        assert_ne!(digest(&[0; 64]), digest(&[0; 128]));
    }

    #[test]
    fn the_digest_is_the_same_on_every_machine() {
        let bytes: Vec<u8> = (0..100).collect();
        assert_eq!((digest(b""), digest(&bytes)), (0, 14_083_337_097_843_731_438), "pinned");
    }
}
