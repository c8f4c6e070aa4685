//! Numbers and texts in little-endian order, written and read with every length checked.

/// Reads from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
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

    /// A text after its length.
    pub(crate) fn text(&mut self, len_max: usize) -> Option<&'a str> {
        let len = usize::from(self.u16()?);
        if len > len_max {
            return None;
        }
        str::from_utf8(self.take(len)?).ok()
    }

    /// That there is nothing more.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A text after its length, cut at a character where it is too long.
pub(crate) fn put_text(to: &mut Vec<u8>, text: &str, len_max: usize) {
    let text = &text[..text.floor_char_boundary(len_max)];
    to.extend((text.len() as u16).to_le_bytes());
    to.extend(text.as_bytes());
}
