//! One needle: a record that has been held against the index entry and its checksum.

use crate::body::{Body, BodyFault};
use crate::bytes::{u32_at, u64_at};
use crate::checksum::{crc32c_masked, crc32c_raw, form_of};
use crate::{BodyPart, Checksum, Cookie, Flags, IndexEntry, NeedleId, RecordHeader, Ttl, Version};

/// A needle's content, borrowed from its record. To hold one is to know that id, size and checksum were right.
///
/// Source: `weed/storage/needle/needle.go`, `needle_read.go`, `needle_read_tail.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needle<'a> {
    /// The needle.
    pub id: NeedleId,
    /// What a reader must know to be given it; see [`Needle::check_cookie`].
    pub cookie: Cookie,
    /// The content, still compressed if [`Flags::is_compressed`]. Empty for an empty needle and a deletion record.
    pub data: &'a [u8],
    /// The flag byte; 0 in version 1 and in records without a body.
    pub flags: Flags,
    /// File name, in whatever encoding the client sent; at most 255 bytes.
    pub name: Option<&'a [u8]>,
    /// MIME type; at most 255 bytes.
    pub mime: Option<&'a [u8]>,
    /// Modification time in Unix seconds (40 bits).
    pub last_modified_s: Option<u64>,
    /// Time to live; see [`Needle::is_expired_at`].
    pub ttl: Option<Ttl>,
    /// JSON of further header pairs; at most 65,535 bytes.
    pub pairs: Option<&'a [u8]>,
    /// The stored checksum and the form in which it matched.
    pub checksum: Checksum,
    /// When the record was appended, in Unix nanoseconds; `None` before version 3.
    pub append_at_ns: Option<u64>,
}

impl<'a> Needle<'a> {
    /// Parses one record and holds it against what the index promised. `record` begins at `expected.offset_bytes` of
    /// the `.dat`; padding and anything after it is not looked at and may be missing.
    ///
    /// # Errors
    ///
    /// [`NeedleError`], naming needle and offset. Id and size are looked at before anything else, so that a record
    /// moved by a vacuum is told apart from a damaged one.
    pub fn parse(record: &'a [u8], version: Version, expected: &IndexEntry) -> Result<Self, NeedleError> {
        let IndexEntry { id, offset_bytes, size_bytes } = *expected;
        let have_bytes = record.len();
        let cut_off = |need_bytes| NeedleError::CutOff { id, offset_bytes, need_bytes, have_bytes };
        let header = RecordHeader::parse(record).ok_or(cut_off(RecordHeader::LEN_BYTES as u64))?;
        if header.id != id {
            return Err(NeedleError::IdMismatch { expected: id, found: header.id, offset_bytes });
        }
        if u32::try_from(header.size) != Ok(size_bytes) {
            let found = header.size;
            return Err(NeedleError::SizeMismatch { id, offset_bytes, expected: size_bytes, found });
        }

        let tail_at_bytes = RecordHeader::LEN_BYTES as u64 + u64::from(size_bytes);
        let short = cut_off(tail_at_bytes + version.tail_len_bytes());
        let tail_at = usize::try_from(tail_at_bytes).map_err(|_| short)?;
        let body = record.get(RecordHeader::LEN_BYTES..tail_at).ok_or(short)?;
        let stored = u32_at(record, tail_at).ok_or(short)?;
        let append_at_ns = match version {
            Version::V1 | Version::V2 => None,
            Version::V3 => Some(u64_at(record, tail_at + 4).ok_or(short)?),
        };

        let Body { data, flags, name, mime, last_modified_s, ttl, pairs } =
            Body::parse(body, version).map_err(|BodyFault { part, need_bytes, have_bytes }| {
                NeedleError::Body { id, offset_bytes, part, need_bytes, have_bytes }
            })?;
        let checksum = check_data(expected, data, stored)?;
        let cookie = header.cookie;
        Ok(Self { id, cookie, data, flags, name, mime, last_modified_s, ttl, pairs, checksum, append_at_ns })
    }

    /// Whether `cookie` is this needle's. SeaweedFS answers a wrong one as if the needle did not exist.
    ///
    /// # Errors
    ///
    /// [`CookieMismatch`], which names the cookie that was given and keeps the needle's own to itself.
    pub fn check_cookie(&self, cookie: Cookie) -> Result<(), CookieMismatch> {
        if self.cookie == cookie { Ok(()) } else { Err(CookieMismatch { id: self.id, given: cookie }) }
    }

    /// Whether its TTL has run out at `now_unix_ns`. Upstream answers an expired needle as if it did not exist.
    ///
    /// As upstream, only a needle with both a TTL and a modification time expires, and the time counts from the
    /// append. Version 2 does not store that, and the modification time stands in for it (upstream takes 0, so that
    /// there every such needle is expired).
    ///
    /// Source: `weed/storage/volume_read.go`.
    #[must_use]
    pub fn is_expired_at(&self, now_unix_ns: u64) -> bool {
        expires_at_ns(self.ttl, self.last_modified_s, self.append_at_ns).is_some_and(|end| now_unix_ns >= end)
    }
}

/// When a needle with this metadata expires, in Unix nanoseconds: see [`Needle::is_expired_at`].
pub(crate) fn expires_at_ns(
    ttl: Option<Ttl>,
    last_modified_s: Option<u64>,
    append_at_ns: Option<u64>,
) -> Option<u64> {
    let (ttl, last_modified_s) = (ttl?, last_modified_s?);
    let born_ns = append_at_ns.unwrap_or_else(|| last_modified_s.saturating_mul(1_000_000_000));
    let span_ns = u64::from(ttl.minutes()) * 60 * 1_000_000_000;
    (span_ns != 0).then(|| born_ns.saturating_add(span_ns))
}

fn check_data(expected: &IndexEntry, data: &[u8], stored: u32) -> Result<Checksum, NeedleError> {
    // Without a body upstream stores whatever checksum it has at hand. A body whose data is empty is another matter:
    // upstream writes none, so that is a rotted data size unless the checksum agrees.
    if expected.size_bytes == 0 {
        return Ok(Checksum { stored, form: None });
    }
    let computed = crc32c_raw(data);
    let form = form_of(stored, computed).ok_or(NeedleError::Checksum {
        id: expected.id,
        offset_bytes: expected.offset_bytes,
        stored,
        computed,
        computed_masked: crc32c_masked(computed),
    })?;
    Ok(Checksum { stored, form: Some(form) })
}

/// Why a record is not the needle the index promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NeedleError {
    /// The record is shorter than its header says.
    #[error(
        "needle {id} at offset {offset_bytes} of the .dat: the record takes {need_bytes} bytes without its padding \
         but {have_bytes} are there; fetch the whole record, or copy the .dat again if it was cut off"
    )]
    CutOff {
        /// The needle asked for.
        id: NeedleId,
        /// Where its record begins in the `.dat`.
        offset_bytes: u64,
        /// Length of the record without padding (of its header, if even that is cut off).
        need_bytes: u64,
        /// Length of what was given.
        have_bytes: usize,
    },
    /// Another needle stands there.
    #[error(
        "needle {expected} at offset {offset_bytes} of the .dat: needle {found} stands there; the volume was vacuumed \
         or replaced since its index was read: open it again, and if this stays, rebuild the .idx with `weed fix`"
    )]
    IdMismatch {
        /// The needle asked for.
        expected: NeedleId,
        /// The needle whose header stands there.
        found: NeedleId,
        /// Where the record begins in the `.dat`.
        offset_bytes: u64,
    },
    /// The needle stands there with another size.
    #[error(
        "needle {id} at offset {offset_bytes} of the .dat: its size is {found} where the index has {expected}; the \
         volume was vacuumed or replaced since its index was read: open it again, and if this stays, rebuild the \
         .idx with `weed fix`"
    )]
    SizeMismatch {
        /// The needle asked for.
        id: NeedleId,
        /// Where its record begins in the `.dat`.
        offset_bytes: u64,
        /// Length of the body in the index.
        expected: u32,
        /// Length of the body in the record's header, signed as on disk.
        found: i32,
    },
    /// The lengths inside the body do not add up.
    #[error(
        "needle {id} at offset {offset_bytes} of the .dat: the {part} takes {need_bytes} bytes where the body has \
         {have_bytes}; the record is damaged: restore this needle from another replica"
    )]
    Body {
        /// The needle asked for.
        id: NeedleId,
        /// Where its record begins in the `.dat`.
        offset_bytes: u64,
        /// The part that does not fit.
        part: BodyPart,
        /// Bytes it claims.
        need_bytes: usize,
        /// Bytes the body has left for it.
        have_bytes: usize,
    },
    /// Bit rot: the data is not what was written.
    #[error(
        "needle {id} at offset {offset_bytes} of the .dat: stored checksum {stored:#010x}, computed {computed:#010x} \
         (masked {computed_masked:#010x}); the data has rotted: restore this needle from another replica"
    )]
    Checksum {
        /// The needle asked for.
        id: NeedleId,
        /// Where its record begins in the `.dat`.
        offset_bytes: u64,
        /// The checksum in the record.
        stored: u32,
        /// CRC32-C of the data that stands there.
        computed: u32,
        /// The same in its masked form.
        computed_masked: u32,
    },
}

/// A reader gave the wrong cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("needle {id}: {given} is not its cookie; check the file id")]
pub struct CookieMismatch {
    /// The needle.
    pub id: NeedleId,
    /// The cookie that was given.
    pub given: Cookie,
}
