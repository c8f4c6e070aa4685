//! The two numbers in a SeaweedFS file id: the needle's id and its cookie.

use std::fmt;

/// A needle's key: unique within its volume. Shown in hexadecimal, as in a file id (`3,01637037d6` is needle `0x01`).
///
/// Source: `weed/storage/types/needle_id_type.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeedleId(pub u64);

impl fmt::Display for NeedleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// The number a reader must know besides the id, so that ids cannot be guessed. Shown as eight hexadecimal digits.
///
/// Source: `weed/storage/types/needle_types.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u32);

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
