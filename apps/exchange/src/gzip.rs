//! Compressed needles, inflated within limits.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

/// How gzip begins. Data under the flag that does not is served as it stands, as volume servers do
/// (`weed/util/compression.go`).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes that grow with what really comes, never by what the data says of itself.
const BLOCK_BYTES: usize = 64 << 10;

/// The content of compressed data, at most `limit_bytes` of it. `None`: it is broken, or longer.
pub(crate) fn inflate(data: &[u8], limit_bytes: u64) -> Option<Vec<u8>> {
    if !data.starts_with(&MAGIC) {
        return Some(data.to_vec());
    }
    let mut content = Vec::new();
    let mut decoder = MultiGzDecoder::new(data);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = decoder.read(&mut block).ok()?;
        if count == 0 {
            return Some(content);
        }
        if content.len() as u64 + count as u64 > limit_bytes {
            return None;
        }
        content.extend_from_slice(&block[..count]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_compressed_comes_back_and_bombs_do_not_go_off() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i / 100) as u8).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&bytes).expect("memory");
        let packed = encoder.finish().expect("memory");
        assert_eq!(inflate(&packed, 200_000).as_deref(), Some(&bytes[..]));
        assert_eq!(inflate(&packed, 199_999), None, "over the limit");
        assert_eq!(inflate(&packed[..packed.len() - 9], 1 << 20), None, "cut off");
        assert_eq!(inflate(b"plain", 10).as_deref(), Some(&b"plain"[..]));
    }
}
