//! One place in the `.dat`, as the index gives it, and how wide its offset is on disk.

use std::ops::Range;

use crate::bytes::{i32_at, u8_at, u32_at, u64_at};
use crate::{NeedleId, Version, record_length};

/// How many bytes of an index entry hold the offset. A build of the volume server knows only one of the two, and the
/// entry itself does not say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OffsetWidth {
    /// Four bytes, big-endian: volumes up to 32 GiB. What servers are built with unless asked otherwise.
    ///
    /// Source: `weed/storage/types/offset_4bytes.go`.
    #[default]
    Four,
    /// Five bytes: bits 0 to 31 big-endian, then one byte with bits 32 to 39. Builds with the tag `5BytesOffset`.
    ///
    /// Source: `weed/storage/types/offset_5bytes.go`.
    Five,
}

impl OffsetWidth {
    /// The width a `.vif` file names in `bytesOffset`; 0 stands in files older than the field.
    ///
    /// # Errors
    ///
    /// [`UnknownOffsetWidth`] for anything but 0, 4 and 5.
    pub fn from_vif(bytes_offset: u32) -> Result<Self, UnknownOffsetWidth> {
        match bytes_offset {
            0 | 4 => Ok(Self::Four),
            5 => Ok(Self::Five),
            found => Err(UnknownOffsetWidth { found }),
        }
    }

    /// Length of one entry: 16 or 17 bytes.
    #[must_use]
    pub fn entry_len_bytes(self) -> usize {
        match self {
            Self::Four => 16,
            Self::Five => 17,
        }
    }

    /// The first offset that does not fit.
    pub(crate) const fn limit_bytes(self) -> u64 {
        match self {
            Self::Four => 8 << 32,
            Self::Five => 8 << 40,
        }
    }
}

/// A `.vif` names an offset width that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytesOffset is {found}; offsets have 4 or 5 bytes (0 in old files means 4): check the .vif file")]
pub struct UnknownOffsetWidth {
    /// The value found.
    pub found: u32,
}

/// Where a needle's record stands and how long its body is: what the index promises about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IndexEntry {
    /// The needle.
    pub id: NeedleId,
    /// Where its record begins in the `.dat`; a multiple of 8 when it comes from an index.
    pub offset_bytes: u64,
    /// Length of the record's body, as in its header; at most 2^31 - 1 when it comes from an index.
    pub size_bytes: u32,
}

impl IndexEntry {
    /// Length of the whole record, padding included.
    #[must_use]
    pub fn record_len_bytes(&self, version: Version) -> u64 {
        record_length(self.size_bytes, version)
    }

    /// The bytes of the `.dat` to fetch; `None` when no file can be that long.
    #[must_use]
    pub fn record_range(&self, version: Version) -> Option<Range<u64>> {
        let end = self.offset_bytes.checked_add(self.record_len_bytes(version))?;
        Some(self.offset_bytes..end)
    }
}

/// One entry of the log as it stands on disk. Source: `weed/storage/idx/walk.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) id: NeedleId,
    pub(crate) offset_bytes: u64,
    /// Negative for a tombstone.
    pub(crate) size: i32,
}

impl LogEntry {
    /// Whether it deletes. Source: `weed/storage/needle_map_memory.go`.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.size < 0 || self.offset_bytes == 0
    }

    /// What it promises; `None` for a tombstone.
    pub(crate) fn entry(&self) -> Option<IndexEntry> {
        let size_bytes = u32::try_from(self.size).ok().filter(|_| !self.is_tombstone())?;
        Some(IndexEntry { id: self.id, offset_bytes: self.offset_bytes, size_bytes })
    }

    /// Reads one entry; `None` when `bytes` is shorter than one.
    pub(crate) fn parse(bytes: &[u8], width: OffsetWidth) -> Option<Self> {
        let id = NeedleId(u64_at(bytes, 0)?);
        let low = u64::from(u32_at(bytes, 8)?);
        let (high, size_at) = match width {
            OffsetWidth::Four => (0, 12),
            OffsetWidth::Five => (u64::from(u8_at(bytes, 12)?), 13),
        };
        let offset_bytes = ((high << 32) | low) * 8;
        Some(Self { id, offset_bytes, size: i32_at(bytes, size_at)? })
    }

    /// Appends the entry; the offset must be a multiple of 8 below the width's limit.
    pub(crate) fn append_to(&self, idx: &mut Vec<u8>, width: OffsetWidth) {
        debug_assert!(self.offset_bytes.is_multiple_of(8) && self.offset_bytes < width.limit_bytes());
        let [_, _, _, high, low @ ..] = (self.offset_bytes / 8).to_be_bytes();
        idx.extend(self.id.0.to_be_bytes());
        idx.extend(low);
        if width == OffsetWidth::Five {
            idx.push(high);
        }
        idx.extend(self.size.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_five_byte_offset_has_its_high_bits_last() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 2, 0, 0, 0, 3];
        let entry = LogEntry::parse(&bytes, OffsetWidth::Five).unwrap();
        assert_eq!(entry, LogEntry { id: NeedleId(9), offset_bytes: ((2 << 32) | 1) * 8, size: 3 });
    }

    #[test]
    fn a_vif_names_the_width_or_is_refused() {
        assert_eq!(OffsetWidth::from_vif(0), Ok(OffsetWidth::Four));
        assert_eq!(OffsetWidth::from_vif(4), Ok(OffsetWidth::Four));
        assert_eq!(OffsetWidth::from_vif(5), Ok(OffsetWidth::Five));
        assert_eq!(OffsetWidth::from_vif(6), Err(UnknownOffsetWidth { found: 6 }));
    }

    #[test]
    fn a_record_that_no_file_could_hold_has_no_range() {
        let entry = IndexEntry { id: NeedleId(1), offset_bytes: u64::MAX - 8, size_bytes: 0 };
        assert_eq!(entry.record_range(Version::V3), None);
    }

    proptest! {
        #[test]
        fn an_entry_reads_back_as_written(id: u64, units in 0_u64..1 << 40, size: i32, five: bool) {
            let width = if five { OffsetWidth::Five } else { OffsetWidth::Four };
            let units = if five { units } else { units & 0xffff_ffff };
            let entry = LogEntry { id: NeedleId(id), offset_bytes: units * 8, size };
            let mut bytes = Vec::new();
            entry.append_to(&mut bytes, width);
            prop_assert_eq!(bytes.len(), width.entry_len_bytes());
            prop_assert_eq!(LogEntry::parse(&bytes, width), Some(entry));
        }
    }
}
