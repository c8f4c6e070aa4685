//! The checksum after each body: CRC32-C of the data, in one of two spellings.

/// How a stored checksum spells the CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumForm {
    /// The CRC32-C as it is.
    Raw,
    /// Rotated and offset, as servers before 3.09 wrote it.
    Masked,
}

/// A needle's stored checksum and what checking it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum {
    /// The four bytes after the body.
    pub stored: u32,
    /// The form in which `stored` matches the data; `None` for a record without a body, where upstream stores
    /// whatever it has at hand and there is nothing to check.
    pub form: Option<ChecksumForm>,
}

/// CRC32-C (Castagnoli) of `data`.
#[must_use]
pub fn crc32c_raw(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}

/// The masked spelling of a raw CRC.
///
/// Source: `weed/storage/needle/crc.go`.
#[must_use]
pub fn crc32c_masked(raw: u32) -> u32 {
    raw.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The form in which `stored` is the CRC `raw`, if it is.
pub(crate) fn form_of(stored: u32, raw: u32) -> Option<ChecksumForm> {
    if stored == raw {
        Some(ChecksumForm::Raw)
    } else if stored == crc32c_masked(raw) {
        Some(ChecksumForm::Masked)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_castagnoli_check_value_is_known() {
        assert_eq!(crc32c_raw(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn each_form_is_recognised_and_a_third_is_not() {
        let raw = crc32c_raw(b"123456789");
        assert_eq!(form_of(raw, raw), Some(ChecksumForm::Raw));
        assert_eq!(form_of(crc32c_masked(raw), raw), Some(ChecksumForm::Masked));
        assert_eq!(form_of(raw ^ 1, raw), None);
    }
}
