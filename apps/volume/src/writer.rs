//! Writes volumes in memory, for tests: the same calls give the same bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checksum::{crc32c_masked, crc32c_raw};
use crate::entry::LogEntry;
use crate::{
    ChecksumForm, Cookie, Flags, IndexEntry, Needle, NeedleId, OffsetWidth, RecordHeader, ReplicaPlacement,
    SuperBlock, Ttl, Version, padding_length,
};

/// What to leave in a record's padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Padding {
    /// Zeroes.
    #[default]
    Zero,
    /// What upstream's scratch buffer happens to hold: pieces of the header just written, seldom all zero.
    ///
    /// Source: `weed/storage/needle/needle_write_v2.go`, `needle_write_v3.go`.
    Scratch,
}

/// How a [`VolumeWriter`] writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterOptions {
    /// Record layout.
    pub version: Version,
    /// Spelling of the checksums.
    pub checksum_form: ChecksumForm,
    /// Width of the offsets in the `.idx`.
    pub offset_width: OffsetWidth,
    /// Content of the padding.
    pub padding: Padding,
    /// Copies elsewhere, in the superblock.
    pub replica_placement: ReplicaPlacement,
    /// Default TTL, in the superblock.
    pub ttl: Ttl,
    /// Vacuums so far, in the superblock.
    pub compaction_revision: u16,
    /// Extra bytes after the superblock; ignored in version 1, cut at 65,535.
    pub extra: Vec<u8>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            version: Version::V3,
            checksum_form: ChecksumForm::Raw,
            offset_width: OffsetWidth::Four,
            padding: Padding::Zero,
            replica_placement: ReplicaPlacement(0),
            ttl: Ttl::default(),
            compaction_revision: 0,
            extra: Vec::new(),
        }
    }
}

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

    fn body(&self, version: Version) -> Result<Vec<u8>, WriteError> {
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

/// A volume being written, held in memory.
///
/// Source of the order of writes: `weed/storage/volume_write.go`.
#[derive(Debug, Clone)]
pub struct VolumeWriter {
    options: WriterOptions,
    dat: Vec<u8>,
    idx: Vec<u8>,
}

impl VolumeWriter {
    /// Writes the superblock.
    #[must_use]
    pub fn new(mut options: WriterOptions) -> Self {
        if options.version == Version::V1 {
            options.extra.clear();
        }
        options.extra.truncate(usize::from(u16::MAX));
        let superblock = SuperBlock {
            version: options.version,
            replica_placement: options.replica_placement,
            ttl: options.ttl,
            compaction_revision: options.compaction_revision,
            extra_len_bytes: options.extra.len() as u16,
        };
        let mut dat = superblock.fixed_bytes().to_vec();
        dat.extend(&options.extra);
        dat.resize(dat.len().next_multiple_of(8), 0);
        Self { options, dat, idx: Vec::new() }
    }

    /// Appends a needle to both files.
    ///
    /// # Errors
    ///
    /// [`WriteError`] when a part is too long for its length field, or the volume for its offsets.
    pub fn put(&mut self, needle: &NewNeedle<'_>) -> Result<IndexEntry, WriteError> {
        let body = needle.body(self.options.version)?;
        let raw = crc32c_raw(needle.data);
        let checksum = match self.options.checksum_form {
            ChecksumForm::Raw => raw,
            ChecksumForm::Masked => crc32c_masked(raw),
        };
        let offset_bytes = self.append_record(needle, &body, checksum)?;
        let size = body.len() as i32;
        LogEntry { id: needle.id, offset_bytes, size }.append_to(&mut self.idx, self.options.offset_width);
        Ok(IndexEntry { id: needle.id, offset_bytes, size_bytes: body.len() as u32 })
    }

    /// Appends a deletion record to the `.dat` and a tombstone to the `.idx`.
    ///
    /// # Errors
    ///
    /// [`WriteError::VolumeFull`].
    pub fn delete(&mut self, id: NeedleId, cookie: Cookie, append_at_ns: u64) -> Result<(), WriteError> {
        let record = NewNeedle { append_at_ns, ..NewNeedle::new(id, cookie, &[]) };
        let offset_bytes = self.append_record(&record, &[], 0)?;
        LogEntry { id, offset_bytes, size: -1 }.append_to(&mut self.idx, self.options.offset_width);
        Ok(())
    }

    fn append_record(
        &mut self,
        needle: &NewNeedle<'_>,
        body: &[u8],
        checksum: u32,
    ) -> Result<u64, WriteError> {
        let offset_bytes = self.dat.len() as u64;
        let limit_bytes = self.options.offset_width.limit_bytes();
        if offset_bytes >= limit_bytes {
            return Err(WriteError::VolumeFull { id: needle.id, limit_bytes });
        }
        let header = RecordHeader { cookie: needle.cookie, id: needle.id, size: body.len() as i32 }.bytes();
        self.dat.extend(header);
        self.dat.extend(body);
        self.dat.extend(checksum.to_be_bytes());
        if self.options.version == Version::V3 {
            self.dat.extend(needle.append_at_ns.to_be_bytes());
        }
        let padding = match self.options.padding {
            Padding::Zero => [0; 8],
            Padding::Scratch => scratch(self.options.version, &header, needle, body),
        };
        self.dat.extend(&padding[..padding_length(body.len() as u32, self.options.version) as usize]);
        Ok(offset_bytes)
    }

    /// The `.dat` so far.
    #[must_use]
    pub fn dat(&self) -> &[u8] {
        &self.dat
    }

    /// The `.idx` so far.
    #[must_use]
    pub fn idx(&self) -> &[u8] {
        &self.idx
    }

    /// The `.dat` and the `.idx`.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<u8>) {
        (self.dat, self.idx)
    }

    /// Writes `<dir>/<name>.dat` and `<dir>/<name>.idx`, in upstream's order, and gives the path of the `.dat`.
    ///
    /// # Errors
    ///
    /// What the file system reports.
    pub fn write_to(&self, dir: impl AsRef<Path>, name: &str) -> io::Result<PathBuf> {
        let dat_path = dir.as_ref().join(format!("{name}.dat"));
        fs::write(&dat_path, &self.dat)?;
        fs::write(dir.as_ref().join(format!("{name}.idx")), &self.idx)?;
        Ok(dat_path)
    }
}

/// What upstream's scratch buffer holds behind the checksum (and append time). It starts as the header with 8 zero
/// bytes behind it; before version 3, what stood there last at bytes 4 to 8 is the low half of the modification time.
fn scratch(version: Version, header: &[u8; 16], needle: &NewNeedle<'_>, body: &[u8]) -> [u8; 8] {
    let mut left = [0; 8];
    match version {
        Version::V1 => left.copy_from_slice(&header[4..12]),
        Version::V2 => {
            left.copy_from_slice(&header[4..12]);
            if let (Some(seconds), false) = (needle.last_modified_s, body.is_empty()) {
                left[..4].copy_from_slice(&seconds.to_be_bytes()[4..]);
            }
        }
        Version::V3 => left[..4].copy_from_slice(&header[12..]),
    }
    left
}

/// Why a needle cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A part is longer than its length field can say.
    #[error("needle {id}: its {part} is over {limit_bytes} bytes; shorten it")]
    TooLong {
        /// The needle.
        id: NeedleId,
        /// Which part.
        part: &'static str,
        /// The most that fits.
        limit_bytes: u64,
    },
    /// The next record would begin where the index cannot point.
    #[error("needle {id}: offsets of this volume end at {limit_bytes} bytes; begin another volume")]
    VolumeFull {
        /// The needle.
        id: NeedleId,
        /// The first offset that does not fit.
        limit_bytes: u64,
    },
}
