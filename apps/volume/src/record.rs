//! Records: the header, the length, and a walk from one to the next.

use crate::bytes::{i32_at, u32_at, u64_at};
use crate::{Cookie, IndexEntry, Needle, NeedleError, NeedleId, SuperBlock, Version};

/// The sixteen bytes every record begins with.
///
/// Source: `weed/storage/needle/needle_read.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordHeader {
    /// The needle's cookie.
    pub cookie: Cookie,
    /// The needle's id.
    pub id: NeedleId,
    /// Length of the body in bytes, signed as on disk; 0 for an empty needle and for a deletion record.
    pub size: i32,
}

impl RecordHeader {
    /// Length of the header.
    pub const LEN_BYTES: usize = 16;

    /// Reads the header; `None` when there are fewer than 16 bytes.
    #[must_use]
    pub fn parse(record: &[u8]) -> Option<Self> {
        Some(Self {
            cookie: Cookie(u32_at(record, 0)?),
            id: NeedleId(u64_at(record, 4)?),
            size: i32_at(record, 12)?,
        })
    }

    /// The header on disk.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.cookie.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.id.0.to_be_bytes());
        bytes[12..].copy_from_slice(&self.size.to_be_bytes());
        bytes
    }
}

/// Length of the padding after a record with a body of `size_bytes`: 1 to 8 bytes, never 0.
///
/// Source: `weed/storage/needle/needle_read_tail.go`.
#[must_use]
pub fn padding_length(size_bytes: u32, version: Version) -> u64 {
    let unpadded = RecordHeader::LEN_BYTES as u64 + u64::from(size_bytes) + version.tail_len_bytes();
    8 - unpadded % 8
}

/// Length of a whole record with a body of `size_bytes`: header, body, checksum, append time (version 3), padding.
///
/// Source: `weed/storage/needle/needle_read.go`.
#[must_use]
pub fn record_length(size_bytes: u32, version: Version) -> u64 {
    let unpadded = RecordHeader::LEN_BYTES as u64 + u64::from(size_bytes) + version.tail_len_bytes();
    unpadded + padding_length(size_bytes, version)
}

/// One record met on a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What its own header says: there is no index to hold it against.
    pub entry: IndexEntry,
    /// The whole record.
    pub bytes: &'a [u8],
    version: Version,
}

impl<'a> Record<'a> {
    /// Parses the record and checks its checksum.
    ///
    /// # Errors
    ///
    /// [`NeedleError`], of which the mismatches with an index cannot occur here.
    pub fn needle(&self) -> Result<Needle<'a>, NeedleError> {
        Needle::parse(self.bytes, self.version, &self.entry)
    }
}

/// Walks a `.dat` from record to record, in the order they were appended: live, replaced and deleted ones alike. A
/// deletion record is one without a body. Ends after the first error, since nothing marks where the next one begins.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    dat: &'a [u8],
    offset_bytes: u64,
    version: Version,
}

impl<'a> Records<'a> {
    /// Starts at the first record of `dat`, the whole file.
    #[must_use]
    pub fn new(dat: &'a [u8], superblock: &SuperBlock) -> Self {
        Self { dat, offset_bytes: superblock.first_record_offset_bytes(), version: superblock.version }
    }

    fn step(&self, rest: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let offset_bytes = self.offset_bytes;
        let have_bytes = rest.len() as u64;
        let cut_off = |need_bytes| RecordError::CutOff { offset_bytes, need_bytes, have_bytes };
        let header = RecordHeader::parse(rest).ok_or(cut_off(RecordHeader::LEN_BYTES as u64))?;
        let size_bytes = u32::try_from(header.size).map_err(|_| RecordError::NegativeSize {
            offset_bytes,
            id: header.id,
            size: header.size,
        })?;
        let need_bytes = record_length(size_bytes, self.version);
        let bytes = usize::try_from(need_bytes).ok().and_then(|len| rest.get(..len));
        let entry = IndexEntry { id: header.id, offset_bytes, size_bytes };
        Ok(Record { entry, bytes: bytes.ok_or(cut_off(need_bytes))?, version: self.version })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = usize::try_from(self.offset_bytes).ok().and_then(|at| self.dat.get(at..))?;
        if rest.is_empty() {
            return None;
        }
        let step = self.step(rest);
        self.offset_bytes = match &step {
            Ok(record) => self.offset_bytes.saturating_add(record.bytes.len() as u64),
            Err(_) => u64::MAX,
        };
        Some(step)
    }
}

/// Why a walk cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The file ends inside a record.
    #[error(
        "the record at offset {offset_bytes} of the .dat takes {need_bytes} bytes but {have_bytes} are left: \
         an append was cut off, or an earlier header is damaged; the needles before it are intact"
    )]
    CutOff {
        /// Where the record begins in the `.dat`.
        offset_bytes: u64,
        /// How long it (or its header, if even that is cut) would be.
        need_bytes: u64,
        /// How much is left.
        have_bytes: u64,
    },
    /// The header's size is negative.
    #[error(
        "the record at offset {offset_bytes} of the .dat (needle {id}) has size {size}: its header is damaged; \
         read what follows through the .idx instead"
    )]
    NegativeSize {
        /// Where the record begins in the `.dat`.
        offset_bytes: u64,
        /// The needle its header names.
        id: NeedleId,
        /// The size it claims.
        size: i32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn padding_is_eight_and_not_zero_when_a_record_already_fits() {
        assert_eq!(padding_length(4, Version::V1), 8);
        assert_eq!(record_length(4, Version::V1), 32);
        assert_eq!(padding_length(4, Version::V3), 8);
        assert_eq!(record_length(4, Version::V3), 40);
    }

    #[test]
    fn an_empty_record_of_version_three_is_thirty_two_bytes() {
        assert_eq!(record_length(0, Version::V3), 32);
    }

    proptest! {
        #[test]
        fn every_record_length_is_a_multiple_of_eight(size: u32, byte in 1_u8..4) {
            if let Some(version) = Version::from_byte(byte) {
                prop_assert_eq!(record_length(size, version) % 8, 0);
                prop_assert!((1..=8).contains(&padding_length(size, version)));
            }
        }
    }
}
