//! A shelf over volume files of folders.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use wavetank_contract::Lease;
use wavetank_volume::{
    Cookie, FilesError, Freshness, Lookup, Needle, NeedleError, NeedleId, OpenOptions, ReadError, VolumeFiles,
};

use super::{Shelf, Shelved};
use crate::calls::{About, Standing, Which};
use crate::gzip::inflate;
use crate::outcome::Absence;

/// Volumes of one shelf, at most.
const VOLUMES_MAX: usize = 1 << 16;

/// Longest needle that is read, compressed or not.
const NEEDLE_BYTES_MAX: u64 = 256 << 20;

/// A folder that cannot be read.
#[derive(Debug, Error)]
#[error("{}: {fault}; it has to be a folder with volumes that this user may read", path.display())]
pub struct ShelfError {
    /// The folder.
    pub path: PathBuf,
    /// What the system says.
    pub fault: io::Error,
}

#[derive(Debug)]
struct Held {
    files: VolumeFiles,
    generation: u64,
    change: u64,
    /// It changed, and `refresh` has not told.
    untold: bool,
}

/// The needle that was read last, verified.
#[derive(Debug)]
struct Recent {
    volume: u32,
    which: Which,
    record: Vec<u8>,
    content: Vec<u8>,
}

/// Volumes in folders, found by their names: `<number>.dat`, or `<collection>_<number>.dat`.
#[derive(Debug)]
pub struct FolderShelf {
    folders: Vec<PathBuf>,
    options: OpenOptions,
    volumes: RefCell<BTreeMap<u32, Held>>,
    generations: Cell<u64>,
    recent: RefCell<Option<Recent>>,
}

impl FolderShelf {
    /// Opens the volumes of folders. What cannot be opened is said in the log and tried again with each
    /// [`refresh`](Shelf::refresh).
    ///
    /// # Errors
    /// The first folder that cannot be read.
    pub fn open(folders: &[PathBuf], options: &OpenOptions) -> Result<FolderShelf, ShelfError> {
        let shelf = FolderShelf {
            folders: folders.to_vec(),
            options: options.clone(),
            volumes: RefCell::default(),
            generations: Cell::new(0),
            recent: RefCell::default(),
        };
        for folder in folders {
            drop(list(folder)?);
        }
        shelf.refresh();
        Ok(shelf)
    }

    fn open_volume(&self, path: &Path, change: u64) -> Option<Held> {
        match VolumeFiles::open_with(path, &self.options) {
            Ok(files) => {
                let generation = self.generations.get() + 1;
                self.generations.set(generation);
                Some(Held { files, generation, change, untold: true })
            }
            Err(error) => {
                tracing::warn!("a volume is not exported: {error}");
                None
            }
        }
    }

    /// Takes up what was written to a volume since.
    fn follow(&self, volume: u32) {
        let mut volumes = self.volumes.borrow_mut();
        let Some(held) = volumes.get_mut(&volume) else { return };
        let (path, change, then) = (held.files.dat_path().to_path_buf(), held.change + 1, held.generation);
        let opened = match held.files.freshness() {
            Ok(Freshness::Current) => return,
            // Records that are there stay where they are.
            Ok(Freshness::Grown) => {
                self.open_volume(&path, change).map(|opened| Held { generation: then, ..opened })
            }
            Ok(Freshness::Replaced) | Err(_) => self.open_volume(&path, change),
        };
        match opened {
            Some(opened) => *held = opened,
            // In the middle of a vacuum, or gone: what was read before may not be so any more.
            None => drop(volumes.remove(&volume)),
        }
    }

    /// Reads a needle and keeps it, verified.
    fn take(&self, volume: u32, held: &Held, id: NeedleId, which: Which) -> Result<Shelved, Absence> {
        let version = held.files.volume().superblock().version;
        if super::record_bytes(which.size_bytes, version) > NEEDLE_BYTES_MAX {
            return Err(Absence::TooLong);
        }
        let mut record = Vec::new();
        let needle = held.files.read(id, &mut record).map_err(|error| absence(&error))?;
        let content = match needle.flags.is_compressed() {
            false => needle.data.to_vec(),
            true => inflate(needle.data, NEEDLE_BYTES_MAX).ok_or(Absence::Compression)?,
        };
        let about = about(&needle, content.len() as u64);
        let needle = Shelved { volume, id, which, version, about };
        record.truncate(needle.record_bytes() as usize);
        *self.recent.borrow_mut() = Some(Recent { volume, which, record, content });
        Ok(needle)
    }

    /// A needle as it was read last, read again if that was another.
    fn with<R>(&self, needle: &Shelved, then: impl FnOnce(&Recent) -> R) -> Result<R, Absence> {
        let is_it = |recent: &&Recent| (recent.volume, recent.which) == (needle.volume, needle.which);
        if self.recent.borrow().as_ref().filter(is_it).is_none() {
            let volumes = self.volumes.borrow();
            let held = volumes.get(&needle.volume).ok_or(Absence::Stale)?;
            if held.which(needle.id) != Ok(needle.which) {
                return Err(Absence::Stale);
            }
            self.take(needle.volume, held, needle.id, needle.which)?;
        }
        let recent = self.recent.borrow();
        recent.as_ref().filter(is_it).map(then).ok_or(Absence::Stale)
    }
}

impl Held {
    fn which(&self, id: NeedleId) -> Result<Which, Absence> {
        let entry = match self.files.volume().lookup(id) {
            Lookup::Live(entry) | Lookup::Empty(entry) => entry,
            Lookup::Deleted => return Err(Absence::Deleted),
            Lookup::Missing => return Err(Absence::Missing),
        };
        let (offset_bytes, size_bytes) = (entry.offset_bytes, entry.size_bytes);
        Ok(Which { generation: self.generation, offset_bytes, size_bytes })
    }
}

/// What a needle says of itself.
pub(crate) fn about(needle: &Needle<'_>, whole_bytes: u64) -> About {
    About {
        whole_bytes,
        flags: needle.flags,
        checksum: needle.checksum.stored,
        last_modified_s: needle.last_modified_s,
        append_at_ns: needle.append_at_ns,
        ttl: needle.ttl,
        name: needle.name.map(Box::from),
        mime: needle.mime.map(Box::from),
    }
}

fn absence(error: &FilesError) -> Absence {
    match error {
        FilesError::Read { fault: ReadError::Missing { .. }, .. } => Absence::Missing,
        FilesError::Read { fault: ReadError::Deleted { .. }, .. } => Absence::Deleted,
        FilesError::Read {
            fault: ReadError::Needle(NeedleError::IdMismatch { .. } | NeedleError::SizeMismatch { .. }),
            ..
        } => Absence::Stale,
        FilesError::Read { .. } => Absence::Damaged,
        _ => Absence::Unreadable,
    }
}

fn list(folder: &Path) -> Result<Vec<(u32, PathBuf)>, ShelfError> {
    let failed = |fault| ShelfError { path: folder.to_path_buf(), fault };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "dat") {
            continue;
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        // A collection's name may have an underscore itself.
        let number = stem.rsplit_once('_').map_or(stem, |(_, number)| number);
        if let (Ok(number), true) = (number.parse(), path.with_extension("idx").exists()) {
            found.push((number, path));
        }
    }
    found.sort();
    found.truncate(VOLUMES_MAX);
    Ok(found)
}

impl Shelf for FolderShelf {
    fn refresh(&self) -> Vec<u32> {
        let known: Vec<u32> = self.volumes.borrow().keys().copied().collect();
        for volume in &known {
            self.follow(*volume);
        }
        for (number, path) in self.folders.iter().filter_map(|folder| list(folder).ok()).flatten() {
            if !self.volumes.borrow().contains_key(&number)
                && let Some(held) = self.open_volume(&path, 1)
            {
                self.volumes.borrow_mut().insert(number, held);
            }
        }
        let mut volumes = self.volumes.borrow_mut();
        let gone = known.into_iter().filter(|volume| !volumes.contains_key(volume)).collect::<Vec<_>>();
        let changed = volumes
            .iter_mut()
            .filter_map(|(volume, held)| std::mem::take(&mut held.untold).then_some(*volume));
        changed.chain(gone).collect()
    }

    fn volumes(&self) -> Vec<Standing> {
        let standing = |(volume, held): (&u32, &Held)| {
            let superblock = held.files.volume().superblock();
            let (version, revision) = (superblock.version.byte(), superblock.compaction_revision);
            Standing { volume: *volume, version, revision, change: held.change }
        };
        self.volumes.borrow().iter().map(standing).collect()
    }

    fn find(&self, volume: u32, id: NeedleId, cookie: Cookie, now_unix_ns: u64) -> Result<Shelved, Absence> {
        self.follow(volume);
        let volumes = self.volumes.borrow();
        let held = volumes.get(&volume).ok_or(Absence::NotExported)?;
        let which = held.which(id)?;
        let needle = self.take(volume, held, id, which)?;
        let recent = self.recent.borrow();
        let record = recent.as_ref().map(|recent| &recent.record[..]).unwrap_or_default();
        let entry = wavetank_volume::IndexEntry {
            id,
            offset_bytes: which.offset_bytes,
            size_bytes: which.size_bytes,
        };
        let parsed = Needle::parse(record, needle.version, &entry).map_err(|_| Absence::Damaged)?;
        parsed.check_cookie(cookie).map_err(|_| Absence::WrongCookie)?;
        if parsed.is_expired_at(now_unix_ns) {
            return Err(Absence::Expired);
        }
        Ok(needle)
    }

    fn read(&self, needle: &Shelved, offset: u64, len: u64, into: &Lease, at: u64) -> Result<(), Absence> {
        self.with(needle, |recent| {
            let range = usize::try_from(offset).ok().zip(usize::try_from(len).ok());
            let bytes = range.and_then(|(offset, len)| recent.content.get(offset..)?.get(..len));
            let bytes = bytes.ok_or(Absence::OutOfRange)?;
            into.write(at, bytes);
            Ok(())
        })?
    }

    fn record(&self, needle: &Shelved, into: &mut Vec<u8>) -> Result<(), Absence> {
        self.with(needle, |recent| into.clone_from(&recent.record))
    }

    fn is_current(&self, volume: u32, id: NeedleId, which: &Which) -> bool {
        self.volumes.borrow().get(&volume).is_some_and(|held| held.which(id) == Ok(*which))
    }
}
