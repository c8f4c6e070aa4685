//! A SeaweedFS volume as a workload: the storage node's memory holds the file, the client reads each needle's record.

use std::path::{Path, PathBuf};

use thiserror::Error;
use wavetank_volume::{FilesError, Needle, NeedleError, OpenOptions, VolumeFiles};

use super::place::VolumeFile;
use crate::workload::limits::MAX_MEMORY_BYTES;
use crate::workload::recording::{File, IoKind, IoOp, Recording};

/// A volume that cannot be replayed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VolumeProblem {
    /// Its files cannot be read or contradict each other.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It has no needles.
    #[error("{}: no needle is alive in this volume, so there is nothing to read", path.display())]
    Empty {
        /// The .dat.
        path: PathBuf,
    },
    /// A record is longer than one operation may be, or the file than all memory may be.
    #[error("{}: {what} of {bytes} bytes; the limit is {limit}", path.display())]
    TooLarge {
        /// The .dat.
        path: PathBuf,
        /// The file, or a needle.
        what: String,
        /// Its bytes.
        bytes: u64,
        /// The most there may be.
        limit: u64,
    },
    /// A needle is not what the index says, or its data rotted.
    #[error("{}: {problem}", path.display())]
    Needle {
        /// The .dat.
        path: PathBuf,
        /// Which needle, and both checksums.
        problem: NeedleError,
    },
}

impl VolumeFile {
    /// Reads a volume whole and checks every live needle in it.
    pub(super) fn read(path: &Path) -> Result<VolumeFile, VolumeProblem> {
        let finished = OpenOptions { is_written: false, ..OpenOptions::default() };
        let files = VolumeFiles::open_with(path, &finished)?;
        let volume = files.volume();
        let version = volume.superblock().version;
        let bytes = volume.dat_len_bytes();
        let path = path.to_owned();
        if bytes > MAX_MEMORY_BYTES {
            return Err(VolumeProblem::TooLarge {
                path,
                what: "a file".to_owned(),
                bytes,
                limit: MAX_MEMORY_BYTES,
            });
        }
        let mut needles: Vec<_> = volume.entries().collect();
        if needles.is_empty() {
            return Err(VolumeProblem::Empty { path });
        }
        needles.sort_unstable_by_key(|needle| needle.offset_bytes);
        let mut whole = vec![0; bytes as usize];
        let mut record = Vec::new();
        for entry in &needles {
            let len = entry.record_len_bytes(version);
            if len > u64::from(u32::MAX) {
                let what = format!("the record of needle {}", entry.id);
                return Err(VolumeProblem::TooLarge { path, what, bytes: len, limit: u32::MAX.into() });
            }
            files.read_record(entry, &mut record)?;
            if let Err(problem) = Needle::parse(&record, version, entry) {
                return Err(VolumeProblem::Needle { path, problem });
            }
            // The index was held against the length of the file when it was opened.
            let start = entry.offset_bytes as usize;
            let Some(room) = whole.get_mut(start..start + record.len()) else { continue };
            room.copy_from_slice(&record);
        }
        Ok(VolumeFile { version, bytes: whole, needles })
    }

    /// The workload it is: one file, and a READ of each needle's record.
    pub(super) fn recording(&self, path: &Path) -> Recording {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let read = |entry: &wavetank_volume::IndexEntry| IoOp {
            at_ns: 0,
            offset: entry.offset_bytes,
            len: entry.record_len_bytes(self.version) as u32,
            file: 0,
            line: 0,
            kind: IoKind::Read,
        };
        Recording {
            files: vec![File { name, extent_bytes: self.bytes.len() as u64 }],
            ops: self.needles.iter().map(read).collect(),
        }
    }
}
