//! Frames: bytes that cross from process to process out of band, or in a hello. UCX believes what it is given and may end the
//! process over it; so nothing is handed to it that does not carry the right checksum.

/// Puts a body behind its magic and its CRC32-C.
pub(crate) fn seal(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(12 + body.len());
    out.extend_from_slice(&magic);
    out.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(&magic), body).to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// The body of a frame, if it is one and whole.
pub(crate) fn open(magic: [u8; 8], bytes: &[u8]) -> Option<Reader<'_>> {
    let rest = bytes.strip_prefix(&magic)?;
    let (sum, body) = rest.split_first_chunk::<4>()?;
    let right = crc32c::crc32c_append(crc32c::crc32c(&magic), body).to_le_bytes() == *sum;
    right.then_some(Reader(body))
}

/// Reads a body from its front.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Bytes behind their length. They are never longer than 64 KiB: addresses and keys are checked against their limits.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&bytes[..usize::from(len)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_with_any_bit_turned_is_no_frame() {
        let magic = *b"WTUCXxx1";
        let sealed = seal(magic, b"some body");
        assert_eq!(open(magic, &sealed).map(|reader| reader.0), Some(&b"some body"[..]));
        for bit in 0..8 * sealed.len() {
            let mut wrong = sealed.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(open(magic, &wrong).is_none(), "bit {bit}");
        }
        assert!(open(magic, &sealed[..sealed.len() - 1]).is_none());
        assert!(open(magic, &[&sealed[..], &[0]].concat()).is_none());
        assert!(open(*b"WTUCXyy1", &sealed).is_none());
    }
}
