//! The memory of one side: where its operations come from, and where they end.

use wavetank_contract::Region;
use wavetank_contract::region::PAGE_BYTES;

/// Bytes from the start of one operation's memory to the next one's: a line of any cache.
pub const STRIDE_BYTES: u64 = 64;

/// Nothing that the source holds.
const POISON: u8 = 0;

/// Two regions with places for every slot, which overlap.
#[derive(Debug)]
pub struct Buffers {
    /// What is sent, written to the peer and read by it.
    pub(super) source: Region,
    /// What is received, written by the peer and read from it.
    pub(super) sink: Region,
    pub(super) bytes: u32,
}

/// Where a slot starts.
pub(super) const fn offset(slot: u16) -> u64 {
    slot as u64 * STRIDE_BYTES
}

/// Bytes of a region for so many slots: whole pages, as regions of users are.
pub(super) const fn region_bytes(bytes: u32, slots: u16) -> u64 {
    (bytes as u64 + offset(slots)).next_multiple_of(PAGE_BYTES)
}

/// What the source holds: the same in every slot, and never the poison.
const fn byte(at: u64) -> u8 {
    1 + (at % STRIDE_BYTES) as u8
}

impl Buffers {
    pub(super) fn new(source: Region, sink: Region, bytes: u32) -> Buffers {
        let block: Vec<u8> = (0..STRIDE_BYTES).map(byte).collect();
        (0..source.len()).step_by(block.len()).for_each(|at| {
            let len = block.len().min((source.len() - at) as usize);
            source.write(at, &block[..len]);
        });
        let poison = vec![POISON; block.len()];
        (0..sink.len()).step_by(poison.len()).for_each(|at| {
            let len = poison.len().min((sink.len() - at) as usize);
            sink.write(at, &poison[..len]);
        });
        Buffers { source, sink, bytes }
    }

    /// Numbers the operation of a slot, in its last byte.
    #[inline]
    pub(super) fn number(&self, slot: u16, number: u8) {
        self.source.write(offset(slot) + u64::from(self.bytes) - 1, &[number]);
    }

    /// The number of the operation that came last.
    #[inline]
    pub(super) fn arrived(&self) -> u8 {
        // A device writes there: look again each time.
        std::hint::black_box(&self.sink).cells(u64::from(self.bytes) - 1, 1)[0].get()
    }

    /// Whether the first slot of the sink holds what the peer's source does. Where numbers may be is left out.
    pub(super) fn holds(&self) -> bool {
        let last = u64::from(self.bytes - 1) % STRIDE_BYTES;
        let mut bytes = vec![0; self.bytes as usize];
        self.sink.read(0, &mut bytes);
        (0..).zip(bytes).all(|(at, found): (u64, u8)| at % STRIDE_BYTES == last || found == byte(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavetank_contract::RegionSpec;

    fn buffers(bytes: u32) -> Buffers {
        let region = || Region::allocate(&RegionSpec::new(region_bytes(bytes, 3))).expect("memory");
        Buffers::new(region(), region(), bytes)
    }

    #[test]
    fn every_slot_holds_the_same_whatever_the_numbers() {
        for bytes in [1, 8, 63, 64, 65, 4096] {
            let ours = buffers(bytes);
            assert!(bytes == 1 || !ours.holds(), "nothing has come yet");
            for slot in 0..3 {
                ours.number(slot, 200 + slot as u8);
            }
            for slot in 0..3 {
                let mut moved = vec![0; bytes as usize];
                ours.source.read(offset(slot), &mut moved);
                ours.sink.write(0, &moved);
                assert_eq!(ours.arrived(), 200 + slot as u8);
                assert!(ours.holds(), "{bytes} bytes of slot {slot}");
            }
        }
    }

    #[test]
    fn a_foreign_byte_is_noticed() {
        let ours = buffers(100);
        let mut moved = vec![0; 100];
        ours.source.read(0, &mut moved);
        moved[98] ^= 1;
        ours.sink.write(0, &moved);
        assert!(!ours.holds());
    }
}
