//! Why a volume on disk cannot be used: which file, and what to do.

use std::io;
use std::path::PathBuf;

use crate::shards::TooFewShards;
use crate::width::WidthUndecided;
use crate::{IndexError, IndexReadError, ReadError, SuperBlockError, VifError};

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
    /// The `.dat` is in remote storage.
    #[error("{}: the .dat is in remote storage ({remote}); read this volume through its server", vif_path.display())]
    Remote {
        /// The `.vif` that says so.
        vif_path: PathBuf,
        /// Backend and key.
        remote: String,
    },
    /// The `.dat` does not begin with a superblock.
    #[error("{}: {fault}", dat_path.display())]
    SuperBlock {
        /// The `.dat`.
        dat_path: PathBuf,
        /// What is wrong with it.
        fault: SuperBlockError,
    },
    /// The `.vif` cannot be used.
    #[error("{}: {fault}", vif_path.display())]
    Vif {
        /// The `.vif`.
        vif_path: PathBuf,
        /// What is wrong with it.
        fault: VifError,
    },
    /// Nothing says how wide the offsets in the index are.
    #[error("{}: {fault}", idx_path.display())]
    Width {
        /// The `.idx`.
        idx_path: PathBuf,
        /// What the records say.
        fault: WidthUndecided,
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
    /// Not enough shards of an erasure-coded volume are here.
    #[error("{}: {fault}", path.display())]
    Shards {
        /// The shards' common name.
        path: PathBuf,
        /// Which are here, and how many are needed.
        fault: TooFewShards,
    },
    /// It changed and could not be opened again, and has not changed since.
    #[error("{}: changed, and as it is now it cannot be opened: {what}", path.display())]
    NotReopened {
        /// The `.dat`, or the shards' common name.
        path: PathBuf,
        /// What opening it said.
        what: String,
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

impl FilesError {
    /// Whether a file is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Io { fault, .. } if fault.kind() == io::ErrorKind::NotFound)
    }
}
