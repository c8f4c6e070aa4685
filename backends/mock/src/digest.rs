//! A digest of payload bytes: position-dependent, identical on every machine, fast enough to run on every packet.

use wavetank_contract::chance::mix64;

/// Independent sums, so that the compiler can keep them in vector registers.
const LANES: usize = 8;

/// Digests `bytes`. Two running sums per lane as in Fletcher's checksum, over 64-bit words: the first sees every
/// changed word, the second every changed place; a final mix spreads both over the result. Not cryptographic: it
/// tells accidents apart, not forgeries.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; LANES];
    let mut places = [0u64; LANES];
    let (blocks, rest) = bytes.as_chunks::<{ LANES * 8 }>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for lane in 0..LANES {
            sums[lane] = sums[lane].wrapping_add(u64::from_le_bytes(words[lane]));
            places[lane] = places[lane].wrapping_add(sums[lane]);
        }
    }
    let mut out = bytes.len() as u64;
    for lane in 0..LANES {
        out = (out ^ sums[lane]).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        out = (out ^ places[lane]).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31);
    }
    for chunk in rest.chunks(8) {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        out = (out ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(27);
    }
    mix64(out)
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
        assert_eq!(digest(b""), mix64(digest_of_nothing()));
        let bytes: Vec<u8> = (0..100).collect();
        assert_eq!(digest(&bytes), digest(&bytes.clone()));
    }

    fn digest_of_nothing() -> u64 {
        (0..LANES).fold(0u64, |out, _| {
            let out = out.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            out.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31)
        })
    }
}
