//! Reads the inside of a message: every length is checked before it is used.

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Bytes that are still to be read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("something is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("something is cut off"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things, at most `max`.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, Malformed> {
        let count = usize::from(self.u16()?);
        if count <= max { Ok(count) } else { Err(Malformed("there is more of something than may be")) }
    }

    /// Bytes behind their length in one byte.
    pub(super) fn short(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = usize::from(self.u8()?);
        if len <= max { self.take(len) } else { Err(Malformed("something is longer than may be")) }
    }

    /// Bytes behind their length in two bytes.
    pub(super) fn long(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = self.count(max).map_err(|_| Malformed("something is cut off or longer than may be"))?;
        self.take(len)
    }

    /// All was read.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("something is left over")) }
    }
}
