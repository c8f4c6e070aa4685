//! A needle to be written, and the body it becomes.

use super::WriteError;
use crate::{Cookie, Flags, Needle, NeedleId, Ttl, Version};

/// A needle to append. Version 1 keeps only id, cookie and data; no version keeps metadata of a needle without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewNeedle<'a> {
    /// The needle; written again, it replaces the earlier one.
    pub id: NeedleId,
    /// Its cookie. Upstream wants an overwrite to bring the same one; this writer does not check.
    pub cookie: Cookie,
    /// The content, already compressed if `compressed`.
    pub data: &'a [u8],
    /// Sets the flag that says `data` is gzip.
    pub compressed: bool,
    /// Sets the flag that says `data` is a list of chunks.
    pub chunk_manifest: bool,
    /// At most 255 bytes.
    pub name: Option<&'a [u8]>,
    /// At most 255 bytes.
    pub mime: Option<&'a [u8]>,
    /// Unix seconds, below 2^40.
    pub last_modified_s: Option<u64>,
    /// Time to live.
    pub ttl: Option<Ttl>,
    /// JSON, at most 65,535 bytes.
    pub pairs: Option<&'a [u8]>,
    /// Unix nanoseconds; kept in version 3 only.
    pub append_at_ns: u64,
}

impl<'a> NewNeedle<'a> {
    /// A needle with data and nothing else.
    #[must_use]
    pub fn new(id: NeedleId, cookie: Cookie, data: &'a [u8]) -> Self {
        Self {
            id,
            cookie,
            data,
            compressed: false,
            chunk_manifest: false,
            name: None,
            mime: None,
            last_modified_s: None,
            ttl: None,
            pairs: None,
            append_at_ns: 0,
        }
    }

    fn flags(&self) -> u8 {
        let mark = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        mark(self.compressed, Flags::COMPRESSED)
            | mark(self.chunk_manifest, Flags::CHUNK_MANIFEST)
            | mark(self.name.is_some(), Flags::NAME)
            | mark(self.mime.is_some(), Flags::MIME)
            | mark(self.last_modified_s.is_some(), Flags::LAST_MODIFIED)
            | mark(self.ttl.is_some(), Flags::TTL)
            | mark(self.pairs.is_some(), Flags::PAIRS)
    }

    pub(super) fn body(&self, version: Version) -> Result<Vec<u8>, WriteError> {
        let id = self.id;
        let fits = |part, length: usize, limit_bytes: u64| {
            if length as u64 <= limit_bytes {
                Ok(length)
            } else {
                Err(WriteError::TooLong { id, part, limit_bytes })
            }
        };
        // The signed 32-bit size counts the whole body; a mebibyte is more than any metadata takes.
        fits("data", self.data.len(), (1 << 31) - (1 << 20))?;
        if version == Version::V1 || self.data.is_empty() {
            return Ok(self.data.to_vec());
        }
        let mut body = Vec::new();
        body.extend((self.data.len() as u32).to_be_bytes());
        body.extend(self.data);
        body.push(self.flags());
        if let Some(name) = self.name {
            body.push(fits("name", name.len(), 255)? as u8);
            body.extend(name);
        }
        if let Some(mime) = self.mime {
            body.push(fits("mime type", mime.len(), 255)? as u8);
            body.extend(mime);
        }
        if let Some(seconds) = self.last_modified_s {
            let [0, 0, 0, kept @ ..] = seconds.to_be_bytes() else {
                return Err(WriteError::TooLong { id, part: "modification time", limit_bytes: 5 });
            };
            body.extend(kept);
        }
        if let Some(ttl) = self.ttl {
            body.extend(ttl.bytes());
        }
        if let Some(pairs) = self.pairs {
            body.extend((fits("pairs", pairs.len(), 65_535)? as u16).to_be_bytes());
            body.extend(pairs);
        }
        Ok(body)
    }
}

impl<'a> From<&Needle<'a>> for NewNeedle<'a> {
    fn from(needle: &Needle<'a>) -> Self {
        Self {
            id: needle.id,
            cookie: needle.cookie,
            data: needle.data,
            compressed: needle.flags.is_compressed(),
            chunk_manifest: needle.flags.is_chunk_manifest(),
            name: needle.name,
            mime: needle.mime,
            last_modified_s: needle.last_modified_s,
            ttl: needle.ttl,
            pairs: needle.pairs,
            append_at_ns: needle.append_at_ns.unwrap_or(0),
        }
    }
}
