//! Decompressing a needle as it is read, up to a limit.

use std::io::{self, BufRead, Read, Write};

use flate2::bufread::MultiGzDecoder;

/// Whether data under the compressed flag is what the flag says. What is not gzip is served as it stands.
///
/// Source: `weed/util/compression.go`.
pub(crate) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inflated {
    /// All of it came out, so many bytes.
    Whole(u64),
    /// More would have come out than was allowed.
    OverLimit,
    /// It is no gzip that could be decompressed.
    Broken,
}

/// Decompresses `gzip` into `out`, at most `len_max` bytes.
///
/// # Errors
///
/// What the reader or the writer reports of itself.
pub(crate) fn inflate(gzip: impl BufRead, len_max: u64, out: &mut impl Write) -> io::Result<Inflated> {
    let mut decoder = MultiGzDecoder::new(gzip);
    let mut block = vec![0; 64 << 10];
    let mut whole_bytes = 0;
    loop {
        let count = match decoder.read(&mut block) {
            Ok(0) => return Ok(Inflated::Whole(whole_bytes)),
            Ok(count) => count,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            Err(fault)
                if matches!(
                    fault.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                return Ok(Inflated::Broken);
            }
            Err(fault) => return Err(fault),
        };
        whole_bytes += count as u64;
        if whole_bytes > len_max {
            return Ok(Inflated::OverLimit);
        }
        out.write_all(&block[..count])?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_comes_out_is_bounded_whatever_goes_in() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 100 << 10);
        let mut out = Vec::new();
        assert_eq!(inflate(&bomb[..], 1000, &mut out).unwrap(), Inflated::OverLimit);
        assert!(out.capacity() <= 1000);
        assert_eq!(inflate(&bomb[..], 10 << 20, &mut out).unwrap(), Inflated::Whole(10 << 20));
    }

    #[test]
    fn members_follow_each_other_and_a_cut_or_changed_one_is_broken() {
        let twice = [gzip(b"one "), gzip(b"two")].concat();
        let mut out = Vec::new();
        assert_eq!(inflate(&twice[..], 100, &mut out).unwrap(), Inflated::Whole(7));
        assert_eq!(out, b"one two");
        for cut in 2..gzip(b"one ").len() {
            assert_eq!(inflate(&twice[..cut], 100, &mut Vec::new()).unwrap(), Inflated::Broken, "{cut}");
        }
        let mut changed = gzip(b"one ");
        let middle = changed.len() - 6;
        changed[middle] ^= 1;
        assert_eq!(inflate(&changed[..], 100, &mut Vec::new()).unwrap(), Inflated::Broken);
    }
}
