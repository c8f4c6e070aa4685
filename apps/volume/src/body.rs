//! The body of a record: data, flags, and the metadata the flags announce.

use std::fmt;

use crate::bytes::{u16_at, u32_at};
use crate::{Ttl, Version};

/// The flag byte of a needle. Source: `weed/storage/needle/needle_read_write.go`, `needle_write_v2.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    pub(crate) const COMPRESSED: u8 = 0x01;
    pub(crate) const NAME: u8 = 0x02;
    pub(crate) const MIME: u8 = 0x04;
    pub(crate) const LAST_MODIFIED: u8 = 0x08;
    pub(crate) const TTL: u8 = 0x10;
    pub(crate) const PAIRS: u8 = 0x20;
    const UNKNOWN: u8 = 0x40;
    pub(crate) const CHUNK_MANIFEST: u8 = 0x80;

    /// The data is gzip; offsets within the file apply to the inflated bytes.
    #[must_use]
    pub fn is_compressed(self) -> bool {
        self.has(Self::COMPRESSED)
    }

    /// The data is a JSON list of the needles that hold the file, not the file.
    #[must_use]
    pub fn is_chunk_manifest(self) -> bool {
        self.has(Self::CHUNK_MANIFEST)
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// Which part of a body did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the part of that name")]
pub enum BodyPart {
    DataSize,
    Data,
    Flags,
    Name,
    Mime,
    LastModified,
    Ttl,
    Pairs,
    /// Nothing should stand here: the known parts end before the body does.
    End,
}

impl fmt::Display for BodyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataSize => "data size",
            Self::Data => "data",
            Self::Flags => "flags",
            Self::Name => "name",
            Self::Mime => "mime type",
            Self::LastModified => "modification time",
            Self::Ttl => "TTL",
            Self::Pairs => "pairs",
            Self::End => "end of the body",
        })
    }
}

/// What stands in a body. Borrowed from the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Body<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) flags: Flags,
    pub(crate) name: Option<&'a [u8]>,
    pub(crate) mime: Option<&'a [u8]>,
    pub(crate) last_modified_s: Option<u64>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) pairs: Option<&'a [u8]>,
}

/// A part claims more bytes than the body has left (or, for [`BodyPart::End`], fewer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyFault {
    pub(crate) part: BodyPart,
    pub(crate) need_bytes: usize,
    pub(crate) have_bytes: usize,
}

struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, part: BodyPart, need_bytes: usize) -> Result<&'a [u8], BodyFault> {
        let fault = BodyFault { part, need_bytes, have_bytes: self.0.len() };
        let (taken, rest) = self.0.split_at_checked(need_bytes).ok_or(fault)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self, part: BodyPart) -> Result<[u8; N], BodyFault> {
        let fault = BodyFault { part, need_bytes: N, have_bytes: self.0.len() };
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(fault)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn take_short(&mut self, part: BodyPart) -> Result<&'a [u8], BodyFault> {
        let [length] = self.take_array(part)?;
        self.take(part, usize::from(length))
    }
}

impl<'a> Body<'a> {
    pub(crate) fn parse(body: &'a [u8], version: Version) -> Result<Self, BodyFault> {
        match version {
            Version::V1 => Ok(Self { data: body, ..Self::default() }),
            // No body, no flags: an empty needle or a deletion record.
            Version::V2 | Version::V3 if body.is_empty() => Ok(Self::default()),
            Version::V2 | Version::V3 => Self::parse_parts(body),
        }
    }

    fn parse_parts(body: &'a [u8]) -> Result<Self, BodyFault> {
        let mut parts = Parts(body);
        let data_size = parts.take(BodyPart::DataSize, 4)?;
        let need_bytes =
            u32_at(data_size, 0).and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        let data = parts.take(BodyPart::Data, need_bytes)?;
        Self::parse_rest(data, parts.0)
    }

    /// Parses what stands behind the data, to which the data itself is nothing.
    pub(crate) fn parse_rest(data: &'a [u8], rest: &'a [u8]) -> Result<Self, BodyFault> {
        let mut parts = Parts(rest);
        let [flags] = parts.take_array(BodyPart::Flags)?;
        let flags = Flags(flags);
        let mut found = Self { data, flags, ..Self::default() };
        if flags.has(Flags::NAME) {
            found.name = Some(parts.take_short(BodyPart::Name)?);
        }
        if flags.has(Flags::MIME) {
            found.mime = Some(parts.take_short(BodyPart::Mime)?);
        }
        if flags.has(Flags::LAST_MODIFIED) {
            let [a, b, c, d, e] = parts.take_array(BodyPart::LastModified)?;
            found.last_modified_s = Some(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]));
        }
        if flags.has(Flags::TTL) {
            found.ttl = Some(Ttl::from_bytes(parts.take_array(BodyPart::Ttl)?));
        }
        if flags.has(Flags::PAIRS) {
            let length = parts.take(BodyPart::Pairs, 2)?;
            let need_bytes = u16_at(length, 0).map_or(usize::MAX, usize::from);
            found.pairs = Some(parts.take(BodyPart::Pairs, need_bytes)?);
        }
        // Metadata has no checksum: that it fills the body exactly is the only sign that its lengths are intact.
        if !parts.0.is_empty() && !flags.has(Flags::UNKNOWN) {
            return Err(BodyFault { part: BodyPart::End, need_bytes: 0, have_bytes: parts.0.len() });
        }
        Ok(found)
    }
}
