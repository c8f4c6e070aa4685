//! The first bytes of a `.dat`: version, placement, TTL, compaction revision.

use crate::bytes::{u8_at, u16_at};
use crate::{Ttl, Version};

/// How many copies a volume has elsewhere: a decimal number xyz = other data centers, racks, nodes.
///
/// Source: `weed/storage/super_block/replica_placement.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ReplicaPlacement(pub u8);

impl ReplicaPlacement {
    /// Copies in other data centers (the hundreds).
    #[must_use]
    pub fn other_data_centers(self) -> u8 {
        self.0 / 100
    }

    /// Copies in other racks of the same data center (the tens).
    #[must_use]
    pub fn other_racks(self) -> u8 {
        self.0 / 10 % 10
    }

    /// Copies on other nodes of the same rack (the units).
    #[must_use]
    pub fn other_nodes(self) -> u8 {
        self.0 % 10
    }
}

/// What stands before the first record.
///
/// Source: `weed/storage/super_block/super_block.go`, `super_block_read.go.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SuperBlock {
    /// Layout of every record in the volume.
    pub version: Version,
    /// Copies elsewhere.
    pub replica_placement: ReplicaPlacement,
    /// Default TTL of the volume.
    pub ttl: Ttl,
    /// Goes up by one with each vacuum, wrapping.
    pub compaction_revision: u16,
    /// Length of the protobuf that follows the fixed part. Always 0 in version 1, which has none.
    pub extra_len_bytes: u16,
}

impl SuperBlock {
    /// Length of the fixed part.
    pub const FIXED_LEN_BYTES: u64 = 8;
    /// The longest superblock there can be: what to fetch when the real length is not known yet.
    pub const MAX_LEN_BYTES: u64 = Self::FIXED_LEN_BYTES + u16::MAX as u64;

    /// Reads the superblock from the first bytes of a `.dat`. Longer slices are fine; the whole superblock, extra
    /// bytes included, must be there ([`Self::MAX_LEN_BYTES`] or the whole file always suffices).
    ///
    /// # Errors
    ///
    /// [`SuperBlockError`] when the slice is too short or the version is unknown.
    pub fn parse(dat_head: &[u8]) -> Result<Self, SuperBlockError> {
        let have_bytes = dat_head.len();
        let short = SuperBlockError::TooShort { need_bytes: Self::FIXED_LEN_BYTES, have_bytes };
        let Some([version, placement, ttl @ ..]) = dat_head.first_chunk::<4>() else {
            return Err(short);
        };
        let (Some(compaction_revision), Some(extra)) = (u16_at(dat_head, 4), u16_at(dat_head, 6)) else {
            return Err(short);
        };
        let version = Version::from_byte(*version).ok_or(SuperBlockError::Version { found: *version })?;
        let superblock = Self {
            version,
            replica_placement: ReplicaPlacement(*placement),
            ttl: Ttl::from_bytes(*ttl),
            compaction_revision,
            extra_len_bytes: if version == Version::V1 { 0 } else { extra },
        };
        let need_bytes = superblock.len_bytes();
        // The last byte, not a length comparison, because a slice's length and a file's are different types.
        let last = usize::try_from(need_bytes - 1).ok().and_then(|at| u8_at(dat_head, at));
        last.map(|_| superblock).ok_or(SuperBlockError::TooShort { need_bytes, have_bytes })
    }

    /// Length of the superblock with its extra bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        Self::FIXED_LEN_BYTES + u64::from(self.extra_len_bytes)
    }

    /// Offset in the `.dat` of the first record: the superblock's length rounded up to 8, since offsets in the index
    /// count units of 8 bytes.
    #[must_use]
    pub fn first_record_offset_bytes(&self) -> u64 {
        self.len_bytes().next_multiple_of(8)
    }

    /// The fixed part on disk; [`Self::extra_len_bytes`] more bytes belong after it.
    #[must_use]
    pub fn fixed_bytes(&self) -> [u8; 8] {
        let [t0, t1] = self.ttl.bytes();
        let [c0, c1] = self.compaction_revision.to_be_bytes();
        let [e0, e1] = self.extra_len_bytes.to_be_bytes();
        [self.version.byte(), self.replica_placement.0, t0, t1, c0, c1, e0, e1]
    }
}

/// Why the first bytes are not a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SuperBlockError {
    /// The file ends inside the superblock.
    #[error(
        "the superblock at offset 0 takes {need_bytes} bytes but only {have_bytes} are there: \
         the file was cut off or is no volume; copy it again"
    )]
    TooShort {
        /// Length the superblock claims.
        need_bytes: u64,
        /// Length of what was given.
        have_bytes: usize,
    },
    /// The first byte names no known version.
    #[error(
        "the superblock at offset 0 names version {found}; versions 1 to 3 can be read: \
         check that this is a .dat file of SeaweedFS"
    )]
    Version {
        /// The first byte.
        found: u8,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PLAIN: [u8; 8] = [3, 112, 5, 3, 0, 7, 0, 0];

    #[test]
    fn every_field_of_the_superblock_is_read() {
        let superblock = SuperBlock::parse(&PLAIN).unwrap();
        assert_eq!(superblock.version, Version::V3);
        let copies = superblock.replica_placement;
        assert_eq!((copies.other_data_centers(), copies.other_racks(), copies.other_nodes()), (1, 1, 2));
        assert_eq!(superblock.ttl.minutes(), 5 * 24 * 60);
        assert_eq!(superblock.compaction_revision, 7);
        assert_eq!(superblock.first_record_offset_bytes(), 8);
        assert_eq!(superblock.fixed_bytes(), PLAIN);
    }

    #[test]
    fn extra_bytes_move_the_first_record_to_the_next_multiple_of_eight() {
        let mut bytes = PLAIN.to_vec();
        bytes[7] = 5;
        bytes.extend([9; 5]);
        let superblock = SuperBlock::parse(&bytes).unwrap();
        assert_eq!((superblock.len_bytes(), superblock.first_record_offset_bytes()), (13, 16));
        bytes.pop();
        assert_eq!(
            SuperBlock::parse(&bytes),
            Err(SuperBlockError::TooShort { need_bytes: 13, have_bytes: 12 })
        );
    }

    #[test]
    fn version_one_has_no_extra_bytes_whatever_its_length_field_says() {
        let superblock = SuperBlock::parse(&[1, 0, 0, 0, 0, 0, 255, 255]).unwrap();
        assert_eq!(superblock.first_record_offset_bytes(), 8);
    }

    #[test]
    fn a_short_or_foreign_superblock_is_refused() {
        for length in 0..8 {
            assert_eq!(
                SuperBlock::parse(&PLAIN[..length]),
                Err(SuperBlockError::TooShort { need_bytes: 8, have_bytes: length })
            );
        }
        for version in [0, 4, 255] {
            let found = SuperBlock::parse(&[version, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(found, Err(SuperBlockError::Version { found: version }));
        }
    }
}
