//! Poison: what stands in memory that data was asked into, until the data is verified.

use wavetank_contract::Lease;

/// What unverified memory says to whoever looks at it.
pub const POISON: [u8; 8] = *b"POISONED";

/// Memory up to so many bytes is poisoned all over. Of longer memory the first and the last 8 bytes of each page are:
/// a page that never came shows, and of the time that a megabyte takes it is a hundredth.
const WHOLE_BYTES_MAX: u64 = 4096;
const PAGE_BYTES: u64 = 4096;

/// Poisons memory that a peer is about to be told of.
pub(super) fn poison(lease: &Lease) {
    let len = lease.len();
    if len <= WHOLE_BYTES_MAX {
        return poison_all(lease);
    }
    for page in (0..len).step_by(PAGE_BYTES as usize) {
        let end = len.min(page + PAGE_BYTES);
        lease.write(page, &POISON[..(end - page).min(8) as usize]);
        lease.write(end.saturating_sub(8).max(page), &POISON[..(end - page).min(8) as usize]);
    }
}

/// Poisons every byte: of memory in which something else came than was sent.
pub(super) fn poison_all(lease: &Lease) {
    let block: Vec<u8> = POISON.iter().copied().cycle().take(4096).collect();
    let len = lease.len();
    for at in (0..len).step_by(block.len()) {
        lease.write(at, &block[..(len - at).min(block.len() as u64) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use wavetank_contract::{Region, RegionSpec};

    use super::*;

    #[test]
    fn every_page_is_poisoned_at_both_ends_and_short_memory_all_over() {
        let region = Region::allocate(&RegionSpec::new(1 << 20)).expect("memory");
        for len in [1, 7, 8, 4095, 4096, 4097, 4103, 12_000, 65_536] {
            let lease = region.lease(0, len).expect("free");
            let mut bytes = vec![0; len as usize];
            lease.write(0, &bytes);
            poison(&lease);
            lease.read(0, &mut bytes);
            for (page, bytes) in bytes.chunks(4096).enumerate() {
                let ends = bytes.len().min(8);
                assert_eq!(bytes[..ends], POISON[..ends], "page {page} of {len}");
                assert!(bytes[bytes.len() - ends..].iter().all(|byte| *byte != 0), "page {page} of {len}");
            }
            poison_all(&lease);
            lease.read(0, &mut bytes);
            assert!(bytes.iter().all(|byte| *byte != 0), "{len}");
        }
    }
}
