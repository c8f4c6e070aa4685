//! Where a needle's data stands and what its record says about it: all that is needed to read it into other memory.

use std::io;
use std::ops::Range;

use crate::body::{Body, BodyFault};
use crate::bytes::{u32_at, u64_at};
use crate::needle::expires_at_ns;
use crate::source::{Extent, Source, SourceFault};
use crate::verify::{Verified, Verifier};
use crate::{BodyPart, Cookie, Flags, IndexEntry, NeedleError, OffsetWidth, RecordHeader, Ttl, Version};

/// A needle whose record was found where the index says, and whose data has not been read yet.
///
/// The data may be read through [`Self::extents`] into any memory. None of it may be served before it was verified:
/// either the whole data is given to [`Self::verifier`], or [`Self::is_verified`] says that this was done before.
#[derive(Debug, Clone)]
pub struct Located {
    /// The needle, and where its record was found.
    pub entry: IndexEntry,
    /// Its cookie.
    pub cookie: Cookie,
    /// Where its data begins in the `.dat`.
    pub data_offset_bytes: u64,
    /// Length of its data as stored, so of the gzip where it is compressed.
    pub data_len_bytes: u64,
    /// The flag byte.
    pub flags: Flags,
    /// File name.
    pub name: Option<Vec<u8>>,
    /// MIME type.
    pub mime: Option<Vec<u8>>,
    /// Modification time in Unix seconds.
    pub last_modified_s: Option<u64>,
    /// Time to live.
    pub ttl: Option<Ttl>,
    /// JSON of further header pairs.
    pub pairs: Option<Vec<u8>>,
    /// The checksum in the record, raw or masked.
    pub stored_checksum: u32,
    /// When the record was appended, in Unix nanoseconds.
    pub append_at_ns: Option<u64>,
    pub(crate) source: Source,
    /// CRC32-C of the data, where it was verified before.
    pub(crate) verified: Option<u32>,
}

/// Why no needle was located.
#[derive(Debug)]
pub(crate) enum LocateFault {
    Needle(NeedleError),
    Source(SourceFault),
}

impl From<SourceFault> for LocateFault {
    fn from(fault: SourceFault) -> Self {
        Self::Source(fault)
    }
}

impl From<NeedleError> for LocateFault {
    fn from(fault: NeedleError) -> Self {
        Self::Needle(fault)
    }
}

/// Read at once when a needle is looked for: the whole record of a small one.
const HEAD_BYTES: usize = 4096;
/// The longest metadata that is read: the longest there can be (name, MIME type, times, 65,535 bytes of pairs), and as
/// much again for flags of the future.
const REST_BYTES_MAX: u64 = 128 << 10;

impl Located {
    /// Where the bytes of this range of the stored data are, in order; for a volume that is one file, in one piece.
    /// `None` when part of them is in a missing shard and has to be rebuilt: [`Self::read_blocks`] does that. Ends
    /// with the data.
    #[must_use]
    pub fn extents(&self, range: Range<u64>) -> Option<Vec<Extent>> {
        self.source.extents(self.in_dat(&range))
    }

    /// Gives this range of the stored data block by block, unverified. Ends with the data.
    ///
    /// # Errors
    ///
    /// [`io::Error`] when it cannot be read; `UnexpectedEof` when the file became shorter.
    pub fn read_blocks(&self, range: Range<u64>, mut block: impl FnMut(&[u8])) -> io::Result<()> {
        let read = self.source.read_blocks(self.in_dat(&range), |bytes| {
            block(bytes);
            Ok::<(), SourceFault>(())
        });
        read.map_err(|fault| match fault {
            SourceFault::Io(fault) => fault,
            SourceFault::TooFewShards(fault) => io::Error::other(fault),
        })
    }

    /// Takes the stored data, all of it, in order, and says whether it is what was written.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier::new(self)
    }

    /// Whether the whole data was verified before, in the file that is still open, so that a part of it may be served.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified.is_some()
    }

    /// CRC32-C of the whole data as it was when it was verified, so as it was written; `None` where that was not done before.
    /// Whoever reads all of it finds out with this whether it is the same still.
    #[must_use]
    pub fn verified_crc32c(&self) -> Option<u32> {
        self.verified
    }

    /// When it expires, in Unix nanoseconds; see [`crate::Needle::is_expired_at`].
    #[must_use]
    pub fn expires_at_ns(&self) -> Option<u64> {
        expires_at_ns(self.ttl, self.last_modified_s, self.append_at_ns)
    }

    pub(crate) fn token(&self) -> Verified {
        Verified {
            source: self.source.clone(),
            offset_bytes: self.entry.offset_bytes,
            stored_checksum: self.stored_checksum,
            crc32c: 0,
        }
    }

    fn in_dat(&self, range: &Range<u64>) -> Range<u64> {
        let at = |offset: u64| self.data_offset_bytes + offset.min(self.data_len_bytes);
        at(range.start)..at(range.end)
    }

    /// Reads the record's header and what stands behind its data.
    ///
    /// With 4-byte offsets a record may stand 32 GiB behind where its entry points, in volumes that grew past that; id
    /// and size tell. Source: `weed/storage/needle/needle_read.go`.
    pub(crate) fn find(
        source: &Source,
        version: Version,
        width: OffsetWidth,
        entry: IndexEntry,
        dat_len_bytes: u64,
    ) -> Result<Self, LocateFault> {
        let first = Self::find_at(source, version, entry);
        let beyond_bytes = entry.offset_bytes.saturating_add(OffsetWidth::Four.limit_bytes());
        let beyond = IndexEntry { offset_bytes: beyond_bytes, ..entry };
        let moved = matches!(
            first,
            Err(LocateFault::Needle(NeedleError::IdMismatch { .. } | NeedleError::SizeMismatch { .. }))
        );
        let is_inside = beyond.record_range(version).is_some_and(|range| range.end <= dat_len_bytes);
        if width == OffsetWidth::Four && moved && is_inside {
            return Self::find_at(source, version, beyond).or(first);
        }
        first
    }

    fn find_at(source: &Source, version: Version, entry: IndexEntry) -> Result<Self, LocateFault> {
        let IndexEntry { id, offset_bytes, size_bytes } = entry;
        let header_len = RecordHeader::LEN_BYTES as u64;
        let need_bytes = header_len + u64::from(size_bytes) + version.tail_len_bytes();
        let read = |buffer: &mut [u8], at: u64| match source.read_exact_at(buffer, at) {
            Err(SourceFault::Io(fault)) if fault.kind() == io::ErrorKind::UnexpectedEof => {
                let have_bytes = (at - offset_bytes) as usize;
                Err(NeedleError::CutOff { id, offset_bytes, need_bytes, have_bytes }.into())
            }
            other => other.map_err(LocateFault::from),
        };
        let mut head = [0; HEAD_BYTES];
        let head = &mut head[..need_bytes.min(HEAD_BYTES as u64) as usize];
        read(head, offset_bytes)?;
        let cut_off = NeedleError::CutOff { id, offset_bytes, need_bytes, have_bytes: head.len() };
        let header = RecordHeader::parse(head).ok_or(cut_off)?;
        if header.id != id {
            return Err(NeedleError::IdMismatch { expected: id, found: header.id, offset_bytes }.into());
        }
        if u32::try_from(header.size) != Ok(size_bytes) {
            let (expected, found) = (size_bytes, header.size);
            return Err(NeedleError::SizeMismatch { id, offset_bytes, expected, found }.into());
        }

        let fault = |BodyFault { part, need_bytes, have_bytes }| {
            LocateFault::Needle(NeedleError::Body { id, offset_bytes, part, need_bytes, have_bytes })
        };
        let (data_offset, data_len_bytes) = match version {
            _ if size_bytes == 0 => (header_len, 0),
            Version::V1 => (header_len, u64::from(size_bytes)),
            Version::V2 | Version::V3 => {
                let have_bytes = size_bytes as usize;
                let short = BodyFault { part: BodyPart::DataSize, need_bytes: 4, have_bytes };
                let left = size_bytes.checked_sub(4).ok_or(short).map_err(fault)?;
                let len = u32_at(head, RecordHeader::LEN_BYTES).ok_or(cut_off)?;
                if len > left {
                    let (need_bytes, have_bytes) = (len as usize, left as usize);
                    return Err(fault(BodyFault { part: BodyPart::Data, need_bytes, have_bytes }));
                }
                (version.data_offset_bytes(), u64::from(len))
            }
        };

        let rest_offset = data_offset + data_len_bytes;
        let rest_len = header_len + u64::from(size_bytes) - rest_offset;
        if rest_len > REST_BYTES_MAX {
            let (need_bytes, have_bytes) = (REST_BYTES_MAX as usize, rest_len as usize);
            return Err(fault(BodyFault { part: BodyPart::End, need_bytes, have_bytes }));
        }
        let mut later = Vec::new();
        let rest = match head.get(rest_offset as usize..).filter(|_| need_bytes <= HEAD_BYTES as u64) {
            Some(rest) => rest,
            None => {
                later.resize((need_bytes - rest_offset) as usize, 0);
                read(&mut later, offset_bytes + rest_offset)?;
                &later
            }
        };
        let (meta, tail) = rest.split_at_checked(rest_len as usize).ok_or(cut_off)?;
        let body = match version {
            Version::V2 | Version::V3 if size_bytes > 0 => Body::parse_rest(&[], meta).map_err(fault)?,
            _ => Body::default(),
        };
        let append_at_ns = match version {
            Version::V1 | Version::V2 => None,
            Version::V3 => Some(u64_at(tail, 4).ok_or(cut_off)?),
        };
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Ok(Self {
            entry,
            cookie: header.cookie,
            data_offset_bytes: offset_bytes + data_offset,
            data_len_bytes,
            flags: body.flags,
            name: own(body.name),
            mime: own(body.mime),
            last_modified_s: body.last_modified_s,
            ttl: body.ttl,
            pairs: own(body.pairs),
            stored_checksum: u32_at(tail, 0).ok_or(cut_off)?,
            append_at_ns,
            source: source.clone(),
            verified: None,
        })
    }
}
