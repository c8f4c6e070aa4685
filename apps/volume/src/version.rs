//! Which of the three record layouts a volume uses.

use std::fmt;

/// Record layout, from the first byte of the superblock.
///
/// Source: `weed/storage/needle/volume_version.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The body is the data and nothing else.
    V1,
    /// The body carries data, flags and metadata.
    V2,
    /// As version 2, and the time of the append after the checksum. What servers write today.
    V3,
}

impl Version {
    /// The version named by a superblock's first byte; `None` for a byte that names none.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }

    /// The byte that names this version on disk.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// Bytes from the start of a record to the first byte of its data: a range of an uncompressed needle is one
    /// read at the record's offset plus this plus the range's start (and then no checksum covers it).
    ///
    /// Source: `weed/storage/needle/needle_read_page.go`.
    #[must_use]
    pub fn data_offset_bytes(self) -> u64 {
        match self {
            Self::V1 => 16,
            Self::V2 | Self::V3 => 20,
        }
    }

    /// Bytes between body and padding: the checksum, and in version 3 the append time.
    #[must_use]
    pub fn tail_len_bytes(self) -> u64 {
        match self {
            Self::V1 | Self::V2 => 4,
            Self::V3 => 12,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.byte())
    }
}
