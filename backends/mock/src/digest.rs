//! A digest of payload bytes: position-dependent, identical on every machine, fast enough to run on every packet.

use std::cell::Cell;

use pulp::{Arch, NullaryFnOnce};
use wavetank_contract::Region;
use wavetank_contract::chance::mix64;

/// Independent sums, so that the compiler can keep them in vector registers.
const LANES: usize = 8;

/// Digests `bytes`. Two running sums per lane as in Fletcher's checksum, over 64-bit words: the first sees every
/// changed word, the second every changed place; a final mix spreads both over the result. Not cryptographic: it
/// tells accidents apart, not forgeries.
#[inline]
pub fn digest(bytes: &[u8]) -> u64 {
    // The widest vectors this machine has; the sums are the same with any.
    Arch::new().dispatch(Digest(bytes))
}

/// Copies `out.len()` bytes at `offset` of a region and digests them on the way.
#[inline]
pub(crate) fn copy(region: &Region, offset: u64, out: &mut [u8]) -> u64 {
    let (head, words, tail) = region.words(offset, out.len());
    if head.is_empty() && tail.is_empty() {
        return Arch::new().dispatch(Copy { words, out });
    }
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
            sums.add(|lane| u64::from_le_bytes(words[lane]));
        }
        sums.finish(self.0.len(), rest)
    }
}

struct Copy<'a> {
    words: &'a [Cell<u64>],
    /// As long as the words.
    out: &'a mut [u8],
}

impl NullaryFnOnce for Copy<'_> {
    type Output = u64;

    #[inline(always)]
    fn call(self) -> u64 {
        let Copy { words, out } = self;
        let len = out.len();
        let (from, rest_from) = words.as_chunks::<LANES>();
        let (to, rest_to) = out.as_chunks_mut::<{ LANES * 8 }>();
        let mut sums = Sums::default();
        for (from, to) in from.iter().zip(to) {
            let (to, _) = to.as_chunks_mut::<8>();
            sums.add(|lane| {
                let word = from[lane].get();
                to[lane] = word.to_ne_bytes();
                u64::from_le(word)
            });
        }
        let (to, _) = rest_to.as_chunks_mut::<8>();
        for (from, to) in rest_from.iter().zip(to) {
            *to = from.get().to_ne_bytes();
        }
        sums.finish(len, rest_to)
    }
}

#[derive(Default)]
struct Sums {
    sums: [u64; LANES],
    places: [u64; LANES],
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, mut word: impl FnMut(usize) -> u64) {
        for lane in 0..LANES {
            self.sums[lane] = self.sums[lane].wrapping_add(word(lane));
            self.places[lane] = self.places[lane].wrapping_add(self.sums[lane]);
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
        assert_eq!((digest(b""), digest(&bytes)), (0, 3_975_290_071_419_762_810), "pinned");
    }

    #[test]
    fn copying_digests_what_it_copies_at_every_alignment() {
        let region = Region::allocate(&wavetank_contract::RegionSpec::new(4096)).expect("small");
        let bytes: Vec<u8> = (0..4096u32).map(|i| (i * 31 + (i >> 8)) as u8).collect();
        region.write(0, &bytes);
        for offset in [0, 1, 8, 100] {
            for len in [0, 1, 8, 9, 64, 72, 1000, 1024] {
                let mut out = vec![0xff; len];
                let copied = copy(&region, offset as u64, &mut out);
                assert_eq!(out, bytes[offset..offset + len], "offset {offset} len {len}");
                assert_eq!(copied, digest(&out), "offset {offset} len {len}");
            }
        }
    }
}
