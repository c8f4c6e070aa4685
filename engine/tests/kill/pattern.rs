//! What memory is filled with, so that a byte which changes is seen: every page has a word of its own, all over.

use wavetank_contract::Region;

pub(crate) const PAGE: u64 = 4096;

fn page(seed: u64, at: u64) -> Vec<u8> {
    let word = ((seed << 32) | (at / PAGE)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.to_le_bytes().repeat(PAGE as usize / 8)
}

/// Fills whole pages of a region, as pages `of` onwards of a pattern.
pub(crate) fn fill(region: &Region, from: u64, len: u64, seed: u64, of: u64) {
    for at in (0..len).step_by(PAGE as usize) {
        region.write(from + at, &page(seed, of + at));
    }
}

/// Looks for the first byte that is not of the pattern.
pub(crate) fn check(region: &Region, from: u64, len: u64, seed: u64, of: u64) -> Result<(), String> {
    let mut found = vec![0; PAGE as usize];
    for at in (0..len).step_by(PAGE as usize) {
        region.read(from + at, &mut found);
        let expected = page(seed, of + at);
        if found != expected {
            let byte = found.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(0);
            return Err(format!("byte {} is not of pattern {seed}", from + at + byte as u64));
        }
    }
    Ok(())
}
