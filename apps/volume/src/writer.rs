//! Writes volumes in memory, for tests: the same calls give the same bytes.

mod coding;
mod disk;
mod error;
mod generator;
mod needle;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checksum::{crc32c_masked, crc32c_raw};
use crate::entry::LogEntry;
use crate::{
    ChecksumForm, Cookie, Index, IndexEntry, NeedleId, OffsetWidth, RecordHeader, ReplicaPlacement,
    SuperBlock, Ttl, Version, padding_length,
};

pub use coding::{EncodeError, encode_shards, sorted_index};
pub use disk::{Vacuum, VolumeOnDisk};
pub use error::WriteError;
pub use generator::{Fate, Generator};
pub use needle::NewNeedle;

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

    /// What a vacuum makes of it: the live records as they stand, in their order, and a revision that is one higher.
    ///
    /// Source: `weed/storage/volume_vacuum.go`.
    #[must_use]
    pub fn vacuumed(&self) -> Self {
        let mut options = self.options.clone();
        options.compaction_revision = options.compaction_revision.wrapping_add(1);
        let mut compact = Self::new(options);
        let index = Index::parse(&self.idx, self.options.offset_width);
        let mut live: Vec<IndexEntry> = index.live().collect();
        live.sort_by_key(|entry| entry.offset_bytes);
        for entry in live {
            let start = entry.offset_bytes as usize;
            let len = entry.record_len_bytes(self.options.version) as usize;
            let (id, offset_bytes) = (entry.id, compact.dat.len() as u64);
            compact.dat.extend(self.dat.get(start..start + len).unwrap_or_default());
            let size = entry.size_bytes as i32;
            LogEntry { id, offset_bytes, size }.append_to(&mut compact.idx, self.options.offset_width);
        }
        compact
    }

    /// How it writes.
    #[must_use]
    pub fn options(&self) -> &WriterOptions {
        &self.options
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
