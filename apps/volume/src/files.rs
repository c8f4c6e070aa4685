//! A volume on a file system: `.dat` and `.idx` side by side.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::{
    Index, IndexEntry, IndexError, IndexReadError, Needle, NeedleError, NeedleId, OffsetWidth, ReadError, SuperBlock,
    SuperBlockError, Volume,
};

/// What [`VolumeFiles::open_with`] cannot find out by itself.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// How wide the offsets in the `.idx` are.
    pub offset_width: OffsetWidth,
    /// Where the `.idx` is, for servers run with `-dir.idx`; `None` = beside the `.dat`.
    pub idx_path: Option<PathBuf>,
}

/// How the files on disk stand to what was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing was written since.
    Current,
    /// The `.idx` has grown: needles were added or deleted. What was opened can still be read.
    Grown,
    /// The `.dat` was replaced or rewritten (a vacuum, a new copy): open it again.
    Replaced,
}

/// An open volume. The index is a snapshot of the moment of opening; needles are read from the `.dat` on demand.
#[derive(Debug)]
pub struct VolumeFiles {
    dat_path: PathBuf,
    idx_path: PathBuf,
    dat: File,
    idx_len_bytes: u64,
    volume: Volume,
}

impl VolumeFiles {
    /// Opens `<name>.dat` and the `<name>.idx` beside it, with 4-byte offsets.
    ///
    /// # Errors
    ///
    /// As [`Self::open_with`].
    pub fn open(dat_path: impl AsRef<Path>) -> Result<Self, FilesError> {
        Self::open_with(dat_path, &OpenOptions::default())
    }

    /// Opens a volume and holds every live index entry against the length of the `.dat`.
    ///
    /// # Errors
    ///
    /// [`FilesError`] when a file cannot be read, the copy of the volume never finished, the superblock is damaged,
    /// or an entry points outside the `.dat`.
    pub fn open_with(dat_path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, FilesError> {
        let dat_path = dat_path.as_ref().to_path_buf();
        let idx_path = options.idx_path.clone().unwrap_or_else(|| dat_path.with_extension("idx"));
        let note_path = dat_path.with_extension("note");
        if note_path.exists() {
            return Err(FilesError::UnfinishedCopy { dat_path, note_path });
        }
        let dat = open_file(&dat_path)?;
        let mut idx = CountingReader { file: open_file(&idx_path)?, len_bytes: 0 };

        let superblock = read_superblock(&dat, &dat_path)?;
        let index = Index::read(&mut idx, options.offset_width, Index::NEEDLES_MAX)
            .map_err(|fault| FilesError::Log { idx_path: idx_path.clone(), fault })?;
        // A server appends to the .dat first and to the .idx second. The length is taken after the index was read,
        // so that an append in between cannot look like an entry past the end.
        let dat_len_bytes =
            dat.metadata().map_err(|fault| FilesError::Io { path: dat_path.clone(), fault })?.len();
        let volume = Volume::assemble(superblock, index, dat_len_bytes).map_err(|fault| {
            FilesError::Index { dat_path: dat_path.clone(), idx_path: idx_path.clone(), fault }
        })?;
        Ok(Self { dat_path, idx_path, dat, idx_len_bytes: idx.len_bytes, volume })
    }

    /// Reads one needle into `buffer` (grown as needed, reused between calls) and checks it.
    ///
    /// # Errors
    ///
    /// [`FilesError::Read`] when it is missing, deleted or damaged, [`FilesError::Io`] when the file system fails.
    pub fn read<'b>(&self, id: NeedleId, buffer: &'b mut Vec<u8>) -> Result<Needle<'b>, FilesError> {
        let refused = |fault| FilesError::Read { dat_path: self.dat_path.clone(), fault };
        let entry = self.volume.entry(id).map_err(refused)?;
        self.read_record(&entry, buffer)?;
        Needle::parse(buffer, self.volume.superblock().version, &entry).map_err(|fault| refused(fault.into()))
    }

    /// Reads the whole record of an entry into `buffer`, unchecked. The buffer then has exactly the record's length.
    ///
    /// # Errors
    ///
    /// [`FilesError::Read`] for an entry (of another volume, say) outside the `.dat`; [`FilesError::Io`] when the
    /// file system fails, the file became shorter, or there is no memory for the record.
    pub fn read_record(&self, entry: &IndexEntry, buffer: &mut Vec<u8>) -> Result<(), FilesError> {
        let failed = |fault| FilesError::Io { path: self.dat_path.clone(), fault };
        let need_bytes = entry.record_len_bytes(self.volume.superblock().version);
        let left_bytes = self.volume.dat_len_bytes().saturating_sub(entry.offset_bytes);
        if need_bytes > left_bytes {
            let have_bytes = usize::try_from(left_bytes).unwrap_or(usize::MAX);
            let (id, offset_bytes) = (entry.id, entry.offset_bytes);
            let fault = NeedleError::CutOff { id, offset_bytes, need_bytes, have_bytes }.into();
            return Err(FilesError::Read { dat_path: self.dat_path.clone(), fault });
        }
        let len = usize::try_from(need_bytes).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
        let missing_len = len.saturating_sub(buffer.len());
        buffer.try_reserve(missing_len).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
        buffer.resize(len, 0);
        self.dat.read_exact_at(buffer, entry.offset_bytes).map_err(failed)
    }

    /// Compares the files on disk with what was opened. Ask after a [`NeedleError::IdMismatch`] or
    /// [`NeedleError::SizeMismatch`], or now and then.
    ///
    /// # Errors
    ///
    /// [`FilesError::Io`] when the files cannot be looked at; one that is gone is [`Freshness::Replaced`].
    ///
    /// Source of the rule: `weed/storage/volume_vacuum.go` (renames new files into place, revision plus one).
    pub fn freshness(&self) -> Result<Freshness, FilesError> {
        let failed = |path: &Path, fault| FilesError::Io { path: path.to_path_buf(), fault };
        let stat = |path: &Path| match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path, error)),
        };
        let (Some(dat_now), Some(idx_now)) = (stat(&self.dat_path)?, stat(&self.idx_path)?) else {
            return Ok(Freshness::Replaced);
        };
        let dat_then = self.dat.metadata().map_err(|fault| failed(&self.dat_path, fault))?;
        let same_file = (dat_then.dev(), dat_then.ino()) == (dat_now.dev(), dat_now.ino());
        let shrunk = dat_now.len() < self.volume.dat_len_bytes() || idx_now.len() < self.idx_len_bytes;
        if !same_file || shrunk {
            return Ok(Freshness::Replaced);
        }
        match read_superblock(&self.dat, &self.dat_path) {
            Ok(superblock) if superblock == *self.volume.superblock() => {}
            Err(error @ FilesError::Io { .. }) => return Err(error),
            _ => return Ok(Freshness::Replaced),
        }
        if idx_now.len() > self.idx_len_bytes { Ok(Freshness::Grown) } else { Ok(Freshness::Current) }
    }

    /// Superblock and index.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Where the `.dat` is.
    #[must_use]
    pub fn dat_path(&self) -> &Path {
        &self.dat_path
    }

    /// Where the `.idx` is.
    #[must_use]
    pub fn idx_path(&self) -> &Path {
        &self.idx_path
    }
}

struct CountingReader {
    file: File,
    len_bytes: u64,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.len_bytes += count as u64;
        Ok(count)
    }
}

fn open_file(path: &Path) -> Result<File, FilesError> {
    let failed = |fault| FilesError::Io { path: path.to_path_buf(), fault };
    // Asked before opening: to open a pipe would wait for its other end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FilesError::NotAFile { path: path.to_path_buf() });
    }
    File::open(path).map_err(failed)
}

fn read_superblock(dat: &File, dat_path: &Path) -> Result<SuperBlock, FilesError> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    // Most superblocks have no extra bytes: the first chunk is nearly always enough.
    loop {
        match SuperBlock::parse(&head) {
            Err(SuperBlockError::TooShort { need_bytes, .. }) if need_bytes > head.len() as u64 => {}
            parsed => {
                return parsed
                    .map_err(|fault| FilesError::SuperBlock { dat_path: dat_path.to_path_buf(), fault });
            }
        }
        match dat.read_at(&mut chunk, head.len() as u64) {
            Ok(0) => {
                let fault = SuperBlock::parse(&head).err();
                let need_bytes = SuperBlock::FIXED_LEN_BYTES;
                let fault = fault.unwrap_or(SuperBlockError::TooShort { need_bytes, have_bytes: head.len() });
                return Err(FilesError::SuperBlock { dat_path: dat_path.to_path_buf(), fault });
            }
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => {
                return Err(FilesError::Io { path: dat_path.to_path_buf(), fault });
            }
        }
    }
}

/// Why a volume or a needle in it cannot be read from disk.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file system refused.
    #[error("{}: {fault}; check that it exists and may be read (a volume is <name>.dat with <name>.idx)", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        fault: io::Error,
    },
    /// A directory, pipe or device.
    #[error("{}: not a regular file; name the .dat of a volume", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The server marked the volume as half copied.
    #[error(
        "{}: its copy never finished ({} is still there); copy the volume again",
        dat_path.display(), note_path.display()
    )]
    UnfinishedCopy {
        /// The `.dat`.
        dat_path: PathBuf,
        /// The mark.
        note_path: PathBuf,
    },
    /// The `.dat` does not begin with a superblock.
    #[error("{}: {fault}", dat_path.display())]
    SuperBlock {
        /// The `.dat`.
        dat_path: PathBuf,
        /// What is wrong with it.
        fault: SuperBlockError,
    },
    /// The `.idx` points outside the `.dat`.
    #[error("{}: {fault} (.dat: {})", idx_path.display(), dat_path.display())]
    Index {
        /// The `.dat`.
        dat_path: PathBuf,
        /// The `.idx`.
        idx_path: PathBuf,
        /// Which entry, and where it points.
        fault: IndexError,
    },
    /// The `.idx` cannot be folded.
    #[error("{}: {fault}", idx_path.display())]
    Log {
        /// The `.idx`.
        idx_path: PathBuf,
        /// Why.
        fault: IndexReadError,
    },
    /// A needle is missing, deleted or damaged.
    #[error("{}: {fault}", dat_path.display())]
    Read {
        /// The `.dat`.
        dat_path: PathBuf,
        /// Which, and why.
        fault: ReadError,
    },
}
