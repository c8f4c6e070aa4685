//! Opening files: only regular ones, only for reading.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::source::{Source, SourceFault};
use crate::{FilesError, SuperBlock, SuperBlockError, Vif, VifError};

pub(super) fn io_error(path: &Path, fault: io::Error) -> FilesError {
    FilesError::Io { path: path.to_path_buf(), fault }
}

pub(super) fn source_error(path: &Path, fault: SourceFault) -> FilesError {
    let path = path.to_path_buf();
    match fault {
        SourceFault::TooFewShards(fault) => FilesError::Shards { path, fault },
        // What reads through a reader has it wrapped.
        SourceFault::Io(fault) => match fault.downcast() {
            Ok(fault) => FilesError::Shards { path, fault },
            Err(fault) => FilesError::Io { path, fault },
        },
    }
}

pub(super) fn open_file(path: &Path) -> Result<File, FilesError> {
    // Asked before opening: to open a pipe would wait for its other end.
    if !fs::metadata(path).map_err(|fault| io_error(path, fault))?.is_file() {
        return Err(FilesError::NotAFile { path: path.to_path_buf() });
    }
    File::open(path).map_err(|fault| io_error(path, fault))
}

/// `None` when nothing has that name.
pub(super) fn look(path: &Path) -> Result<Option<Stamp>, FilesError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(io_error(path, fault)),
    }
}

/// What tells a file from its replacement, and from what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) len_bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    pub(super) fn of_file(file: &File, path: &Path) -> Result<Self, FilesError> {
        Ok(Self::of(&file.metadata().map_err(|fault| io_error(path, fault))?))
    }

    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Reads the superblock at the beginning of a `.dat` of `len_bytes`.
pub(super) fn read_superblock(
    source: &Source,
    dat_path: &Path,
    len_bytes: u64,
) -> Result<SuperBlock, FilesError> {
    let mut head = Vec::new();
    let mut need_bytes = SuperBlock::FIXED_LEN_BYTES;
    // Twice at most: its fixed part says how long it is.
    loop {
        head.resize(need_bytes.min(len_bytes) as usize, 0);
        source.read_exact_at(&mut head, 0).map_err(|fault| source_error(dat_path, fault))?;
        match SuperBlock::parse(&head) {
            Err(SuperBlockError::TooShort { need_bytes: more, .. })
                if more > need_bytes && need_bytes <= len_bytes =>
            {
                need_bytes = more;
            }
            parsed => {
                return parsed
                    .map_err(|fault| FilesError::SuperBlock { dat_path: dat_path.to_path_buf(), fault });
            }
        }
    }
}

/// Reads the `.vif`; nothing when there is none, or an empty one.
pub(super) fn read_vif(vif_path: &Path) -> Result<Vif, FilesError> {
    let failed = |fault| FilesError::Vif { vif_path: vif_path.to_path_buf(), fault };
    let Some(stamp) = look(vif_path)?.filter(|stamp| stamp.len_bytes > 0) else {
        return Ok(Vif::default());
    };
    if stamp.len_bytes > Vif::LEN_BYTES_MAX {
        return Err(failed(VifError::TooLong { len_bytes: stamp.len_bytes }));
    }
    let mut json = Vec::new();
    let file = open_file(vif_path)?;
    io::Read::read_to_end(&mut io::Read::take(file, Vif::LEN_BYTES_MAX), &mut json)
        .map_err(|fault| io_error(vif_path, fault))?;
    Vif::parse(&json).map_err(failed)
}
