//! Fronts of the exchange's calls: written field by field, and read so that every length is checked before it is used.
//!
//! Numbers are little-endian. A front begins with the version it is written in and ends with the CRC32-C of all before it.

use wavetank_rpc::Malformed;

/// The version of the fronts written here. Which version of the protocol two engines speak is agreed upon by
/// [`Challenge`](crate::calls::Challenge), whose front is the same in all of them.
pub(crate) const FRONT_VERSION: u8 = 1;

/// Longest front, as the messenger has it.
pub(crate) const FRONT_BYTES_MAX: usize = wavetank_messenger::frame::FRONT_BYTES_MAX;

const SUM_BYTES: usize = 4;

/// A front being written.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(call: u8) -> Writer {
        Writer(vec![FRONT_VERSION, call])
    }

    pub(crate) fn u8(mut self, value: u8) -> Writer {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Writer {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Writer {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Writer {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Writer {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes behind their length. What is longer than a length can say is cut; names and types are not.
    pub(crate) fn short(self, bytes: &[u8]) -> Writer {
        let bytes = &bytes[..bytes.len().min(usize::from(u8::MAX))];
        self.u8(bytes.len() as u8).raw(bytes)
    }

    /// Bytes so far, the sum included.
    pub(crate) fn len(&self) -> usize {
        self.0.len() + SUM_BYTES
    }

    pub(crate) fn sealed(mut self) -> Vec<u8> {
        let sum = crc32c::crc32c(&self.0);
        self.0.extend_from_slice(&sum.to_le_bytes());
        self.0
    }
}

/// What of a front is still to be read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

const CUT: Malformed = Malformed::Inside("something is cut off");

impl<'a> Reader<'a> {
    /// Behind version and call, before the sum: all three were good.
    pub(crate) fn open(front: &'a [u8], call: u8) -> Result<Reader<'a>, Malformed> {
        if front.len() > FRONT_BYTES_MAX {
            return Err(Malformed::Inside("there are more bytes than may be"));
        }
        match front.first() {
            Some(&FRONT_VERSION) => {}
            Some(&other) => return Err(Malformed::Version(other)),
            None => return Err(Malformed::Inside("there is nothing")),
        }
        let (said, sum) = front.split_last_chunk::<SUM_BYTES>().ok_or(CUT)?;
        if crc32c::crc32c(said) != u32::from_le_bytes(*sum) {
            return Err(Malformed::Damaged);
        }
        match said.get(1) {
            Some(&found) if found == call => Ok(Reader { rest: &said[2..] }),
            Some(&other) => Err(Malformed::Call(other)),
            None => Err(CUT),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::from(self.u8()?);
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// All was read.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Inside("something is left over")) }
    }
}
