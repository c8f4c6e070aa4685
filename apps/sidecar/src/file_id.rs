//! File ids: volume, needle and cookie, as SeaweedFS writes them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// Digits of a needle's number and of its cookie, in hexadecimal.
const KEY_DIGITS_MAX: usize = 16;
const COOKIE_DIGITS: usize = 8;

/// Which needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FileId {
    /// Number of the volume.
    pub volume: u32,
    /// Number of the needle in it.
    pub needle: u64,
    /// What a reader has to know beside the numbers.
    pub cookie: u32,
}

/// A text that is no file id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "no file id: {0}; one is VOLUME,KEYCOOKIE with a decimal volume and hexadecimal digits, the last eight of them the cookie, as in 3,01637037d6"
)]
pub struct NoFileId(&'static str);

impl FromStr for FileId {
    type Err = NoFileId;

    /// `3,01637037d6`, `3/01637037d6`, with `_2` behind it for the second needle after it, and with an extension, which says nothing.
    ///
    /// Source: `weed/storage/needle/file_id.go`, `needle.go` of SeaweedFS.
    fn from_str(text: &str) -> Result<FileId, NoFileId> {
        let (volume, rest) = text.split_once([',', '/']).ok_or(NoFileId("there is no comma"))?;
        let rest = rest.split_once('.').map_or(rest, |(before, _)| before);
        let (hex, delta) = match rest.split_once('_') {
            Some((hex, delta)) => (hex, decimal::<u64>(delta, NoFileId("what follows the _ is no number"))?),
            None => (rest, 0),
        };
        if hex.len() <= COOKIE_DIGITS {
            return Err(NoFileId("it has too few hexadecimal digits"));
        }
        if hex.len() > KEY_DIGITS_MAX + COOKIE_DIGITS {
            return Err(NoFileId("it has too many hexadecimal digits"));
        }
        if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoFileId("what follows the comma is not hexadecimal"));
        }
        let (key, cookie) = hex.split_at(hex.len() - COOKIE_DIGITS);
        let bad = |_| NoFileId("what follows the comma is not hexadecimal");
        let needle = u64::from_str_radix(key, 16).map_err(bad)?;
        Ok(FileId {
            volume: decimal(volume, NoFileId("the volume is no number of 32 bits"))?,
            needle: needle.checked_add(delta).ok_or(NoFileId("there is no needle after so many"))?,
            cookie: u32::from_str_radix(cookie, 16).map_err(bad)?,
        })
    }
}

/// Digits alone: no sign, which Rust would take.
fn decimal<T: FromStr>(text: &str, otherwise: NoFileId) -> Result<T, NoFileId> {
    match text.bytes().all(|digit| digit.is_ascii_digit()) {
        true => text.parse().map_err(|_| otherwise),
        false => Err(otherwise),
    }
}

impl fmt::Display for FileId {
    /// With the needle's leading zero bytes left out, as SeaweedFS does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = (64 - self.needle.leading_zeros()).div_ceil(8).max(1) as usize;
        write!(f, "{},{:0width$x}{:08x}", self.volume, self.needle, self.cookie, width = bytes * 2)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn upstream_s_example_is_read_and_written() {
        let file: FileId = "3,01637037d6".parse().unwrap();
        assert_eq!(file, FileId { volume: 3, needle: 1, cookie: 0x6370_37d6 });
        assert_eq!(file.to_string(), "3,01637037d6");
        assert_eq!("3/01637037d6.jpg".parse(), Ok(file));
        assert_eq!("3,01637037d6_2".parse(), Ok(FileId { needle: 3, ..file }));
        assert_eq!("3,1637037d6".parse(), Ok(file), "an odd number of digits");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for needle in [0, 1, 0xff, 0x100, 0x1637_037d, u64::MAX] {
            let file = FileId { volume: u32::MAX, needle, cookie: 0x6dea_dbee };
            assert_eq!(file.to_string().parse(), Ok(file));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            ",",
            "3",
            "3,",
            "3,01637037",
            "3,g1637037d6",
            "+3,01637037d6",
            "4294967296,01637037d6",
            "3,+1637037d6",
            "3,01637037d6_",
            "3,01637037d6_-1",
            "3,ffffffffffffffff01637037_1",
            "3,\u{e9}1637037d6",
            "3,000000000000000001637037d6",
            "-1,01637037d6",
            "3,01637037d6_18446744073709551616",
        ] {
            assert!(text.parse::<FileId>().is_err(), "{text}");
        }
    }
}
