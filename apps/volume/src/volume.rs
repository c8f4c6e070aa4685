//! A volume as its superblock and index describe it, without the bytes of its `.dat`.

use crate::{
    Index, IndexEntry, IndexError, IndexReadError, Needle, NeedleError, NeedleId, OffsetWidth, SuperBlock,
    SuperBlockError,
};

/// What an index says about a needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It exists; here is its record.
    Live(IndexEntry),
    /// It exists and has no bytes; its record is only a header and a tail, of use for the cookie.
    Empty(IndexEntry),
    /// It was there and was deleted.
    Deleted,
    /// The index never heard of it.
    Missing,
}

/// Superblock, index and the length of the `.dat`, held against each other: every live entry lies inside the file.
///
/// Source of the read rules: `weed/storage/volume_read.go`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    superblock: SuperBlock,
    index: Index,
    dat_len_bytes: u64,
}

impl Volume {
    /// Reads the beginning of a `.dat` (all of it, or as much as [`SuperBlock::parse`] needs) that is
    /// `dat_len_bytes` long in all, and its whole `.idx`.
    ///
    /// # Errors
    ///
    /// [`VolumeError`] when the superblock cannot be read or a live entry points outside the `.dat`.
    pub fn parse(
        dat_head: &[u8],
        dat_len_bytes: u64,
        idx: &[u8],
        width: OffsetWidth,
    ) -> Result<Self, VolumeError> {
        let superblock = SuperBlock::parse(dat_head)?;
        Ok(Self::assemble(superblock, Index::parse(idx, width), dat_len_bytes)?)
    }

    /// Puts together parts that were read one by one.
    ///
    /// # Errors
    ///
    /// [`IndexError`] when a live entry points outside the `.dat`.
    pub fn assemble(superblock: SuperBlock, index: Index, dat_len_bytes: u64) -> Result<Self, IndexError> {
        index.check_against(&superblock, dat_len_bytes)?;
        Ok(Self { superblock, index, dat_len_bytes })
    }

    /// Takes up entries that were appended, and held against a `.dat` that is `dat_len_bytes` long now.
    pub(crate) fn grow(
        &mut self,
        idx: &[u8],
        dat_len_bytes: u64,
        needles_max: usize,
    ) -> Result<(), IndexReadError> {
        self.dat_len_bytes = dat_len_bytes;
        self.index.append(idx, needles_max)
    }

    pub(crate) fn delete(&mut self, id: NeedleId) -> Result<(), IndexReadError> {
        self.index.delete(id)
    }

    /// What the index says about `id`.
    #[must_use]
    pub fn lookup(&self, id: NeedleId) -> Lookup {
        match self.index.get(id) {
            Some(entry) if entry.size_bytes == 0 => Lookup::Empty(entry),
            Some(entry) => Lookup::Live(entry),
            None if self.index.is_deleted(id) => Lookup::Deleted,
            None => Lookup::Missing,
        }
    }

    /// The place of a needle that can be read, empty ones included.
    ///
    /// # Errors
    ///
    /// [`ReadError::Deleted`] and [`ReadError::Missing`].
    pub fn entry(&self, id: NeedleId) -> Result<IndexEntry, ReadError> {
        match self.lookup(id) {
            Lookup::Live(entry) | Lookup::Empty(entry) => Ok(entry),
            Lookup::Deleted => Err(ReadError::Deleted { id }),
            Lookup::Missing => Err(ReadError::Missing { id }),
        }
    }

    /// Reads a needle from `dat`, the whole file in memory.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; also when `dat` is shorter than the length this volume was parsed with.
    pub fn needle<'d>(&self, dat: &'d [u8], id: NeedleId) -> Result<Needle<'d>, ReadError> {
        let entry = self.entry(id)?;
        let record =
            usize::try_from(entry.offset_bytes).ok().and_then(|at| dat.get(at..)).unwrap_or_default();
        Ok(Needle::parse(record, self.superblock.version, &entry)?)
    }

    /// Every needle that can be read, in order of id.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = IndexEntry> {
        self.index.live()
    }

    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &SuperBlock {
        &self.superblock
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The length of the `.dat` against which the index was held.
    #[must_use]
    pub fn dat_len_bytes(&self) -> u64 {
        self.dat_len_bytes
    }
}

/// Why a volume cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// The beginning of the `.dat` is no superblock.
    #[error(transparent)]
    SuperBlock(#[from] SuperBlockError),
    /// The index points outside the `.dat`.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Why a needle cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The index never heard of it.
    #[error("needle {id} is not in the index: check the file id, or open the volume again if it may be new")]
    Missing {
        /// The needle asked for.
        id: NeedleId,
    },
    /// It was deleted.
    #[error(
        "needle {id} was deleted: nothing to do, unless its bytes are wanted back before the next vacuum"
    )]
    Deleted {
        /// The needle asked for.
        id: NeedleId,
    },
    /// Its record is not what the index promised.
    #[error(transparent)]
    Needle(#[from] NeedleError),
}
