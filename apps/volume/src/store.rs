//! The volumes of a server: all that its directories hold, opened, and kept up with.

mod name;
mod scan;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Ask, CodedPaths, Content, FilesError, Followed, Located, OpenOptions, Outcome, VolumeFiles};

pub use name::{VolumeId, VolumeName};
use scan::{Place, Scan, Traces, scan};

/// One of a server's directories: what it was given as `-dir`, and as `-dir.idx` if it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDirectory {
    /// Where `.dat` files and shards are.
    pub dir: PathBuf,
    /// Where indexes are, if elsewhere.
    pub idx_dir: Option<PathBuf>,
}

impl StoreDirectory {
    /// A directory that holds everything.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), idx_dir: None }
    }
}

/// The volumes in a set of directories. What cannot be opened is told in [`Store::refusals`] and harms nobody else.
#[derive(Debug)]
pub struct Store {
    directories: Vec<StoreDirectory>,
    options: OpenOptions,
    volumes: BTreeMap<VolumeId, OpenVolume>,
    refusals: Vec<Refusal>,
}

/// A volume of a store.
#[derive(Debug)]
struct OpenVolume {
    name: VolumeName,
    at: At,
    files: VolumeFiles,
}

/// Where a volume was opened from; another one is another volume.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Plain(Place),
    /// By the name its files begin with, in whatever directories.
    Coded(String),
}

/// Something in the directories that is not served, and why.
#[derive(Debug)]
pub struct Refusal {
    /// The volume; `None` where a whole directory cannot be read.
    pub name: Option<VolumeName>,
    /// Why.
    pub cause: RefusalCause,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "volume {name}: {}", self.cause),
            None => self.cause.fmt(f),
        }
    }
}

/// Why something is not served.
#[derive(Debug, thiserror::Error)]
pub enum RefusalCause {
    /// It cannot be opened: unfinished, in remote storage, damaged, ...
    #[error(transparent)]
    Files(FilesError),
    /// The number is there twice, so that nobody can know which is meant.
    #[error(
        "{} and {} have one number; move the one that is not meant out of the server's directories",
        first.display(), second.display()
    )]
    Twice {
        /// One of them, without its extension.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// A directory cannot be listed.
    #[error("{}: {fault}; check that the directory exists and may be read", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        fault: io::Error,
    },
}

/// What changed with [`Store::refresh`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refreshed {
    /// Volumes that are served from now on.
    pub appeared: Vec<VolumeId>,
    /// Volumes that are not served any more.
    pub vanished: Vec<VolumeId>,
    /// Volumes whose files had been replaced.
    pub reopened: Vec<VolumeId>,
}

impl Store {
    /// Opens all volumes in the directories, and reads their indexes. `options` are those of every volume; its paths
    /// are not used.
    #[must_use]
    pub fn open(directories: Vec<StoreDirectory>, options: OpenOptions) -> Self {
        let mut store = Self { directories, options, volumes: BTreeMap::new(), refusals: Vec::new() };
        store.refresh();
        store
    }

    /// Lists the directories again: opens what is new, lets go of what is gone, follows the rest, and tries again what
    /// could not be opened before.
    pub fn refresh(&mut self) -> Refreshed {
        let Scan { volumes, unreadable } = scan(&self.directories);
        self.refusals.clear();
        for (path, fault) in unreadable {
            self.refusals.push(Refusal { name: None, cause: RefusalCause::Directory { path, fault } });
        }
        let mut refreshed = Refreshed::default();
        let mut before = std::mem::take(&mut self.volumes);
        for (id, traces) in volumes {
            let was = before.remove(&id);
            let was_open = was.is_some();
            match self.settle(traces, was) {
                Ok((volume, followed)) => {
                    if !was_open {
                        refreshed.appeared.push(id);
                    } else if followed == Followed::Reopened {
                        refreshed.reopened.push(id);
                    }
                    self.volumes.insert(id, volume);
                }
                Err(refusal) => {
                    self.refusals.push(refusal);
                    if was_open {
                        refreshed.vanished.push(id);
                    }
                }
            }
        }
        refreshed.vanished.extend(before.into_keys());
        refreshed.vanished.sort_unstable();
        refreshed
    }

    /// Opens one volume, or goes on with it if it is the one that was open.
    fn settle(&self, traces: Traces, was: Option<OpenVolume>) -> Result<(OpenVolume, Followed), Refusal> {
        let (name, at) = self.choose(traces)?;
        let refused = |fault| Refusal { name: Some(name.clone()), cause: RefusalCause::Files(fault) };
        if let Some(mut was) = was.filter(|was| was.name == name && was.at == at) {
            let followed = was.files.follow_closely().map_err(refused)?;
            return Ok((was, followed));
        }
        let files = match &at {
            At::Plain(place) => self.open_plain(place),
            At::Coded(file_name) => self.open_coded(file_name),
        };
        let files = files.map_err(refused)?;
        // Another place is another volume, even under the same number.
        Ok((OpenVolume { name, at, files }, Followed::Reopened))
    }

    /// Which of its traces a volume is. A `.dat` stands before the shards made of it, which are not complete as long as
    /// it is there. Shards and their indexes may be in several directories.
    fn choose(&self, traces: Traces) -> Result<(VolumeName, At), Refusal> {
        let mut all = traces.plain.iter().chain(&traces.coded);
        let Some((first_place, first)) = all.next() else {
            // The scan makes no entry without a trace.
            let fault = FilesError::Io { path: PathBuf::new(), fault: io::ErrorKind::NotFound.into() };
            return Err(Refusal { name: None, cause: RefusalCause::Files(fault) });
        };
        let is_other = |(place, name): &(&Place, &VolumeName)| {
            *name != first || (traces.plain.contains_key(*place) && place.directory != first_place.directory)
        };
        let odd_spelling = |(place, _): &(&Place, &VolumeName)| place.file_name != first_place.file_name;
        if let Some((second_place, _)) = all.find(|trace| is_other(trace) || odd_spelling(trace)) {
            let (first_path, second) = (self.path(first_place), self.path(second_place));
            let cause = RefusalCause::Twice { first: first_path, second };
            return Err(Refusal { name: Some(first.clone()), cause });
        }
        let at = match traces.plain.keys().next() {
            Some(place) => At::Plain(place.clone()),
            None => At::Coded(first_place.file_name.clone()),
        };
        Ok((first.clone(), at))
    }

    fn path(&self, place: &Place) -> PathBuf {
        let dir = self.directories.get(place.directory).map_or(Path::new(""), |directory| &directory.dir);
        dir.join(&place.file_name)
    }

    fn open_plain(&self, place: &Place) -> Result<VolumeFiles, FilesError> {
        let path = self.path(place);
        let idx_dir = self.directories.get(place.directory).and_then(|directory| directory.idx_dir.as_ref());
        let beside = |extension: &str| path.with_added_extension(extension);
        let in_idx_dir =
            |extension: &str| idx_dir.map(|dir| dir.join(&place.file_name).with_added_extension(extension));
        // Servers find an index that is still beside the .dat, too.
        let idx_path = in_idx_dir("idx").filter(|path| path.exists() || !beside("idx").exists());
        let vif_path = in_idx_dir("vif").filter(|path| path.exists() && !beside("vif").exists());
        let options = OpenOptions { idx_path, vif_path, ..self.options.clone() };
        VolumeFiles::open_with(beside("dat"), &options)
    }

    fn open_coded(&self, file_name: &str) -> Result<VolumeFiles, FilesError> {
        let data = self.directories.iter().map(|directory| directory.dir.clone());
        let indexes = self.directories.iter().filter_map(|directory| directory.idx_dir.clone());
        let paths = CodedPaths { name: file_name.to_owned(), dirs: data.chain(indexes).collect() };
        let options = OpenOptions { idx_path: None, vif_path: None, ..self.options.clone() };
        VolumeFiles::open_coded(&paths, &options)
    }

    /// The volumes that are served, in order of their numbers.
    pub fn volumes(&self) -> impl ExactSizeIterator<Item = (&VolumeName, &VolumeFiles)> {
        self.volumes.values().map(|volume| (&volume.name, &volume.files))
    }

    /// What is in the directories and not served, since the last [`Self::refresh`].
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// A volume's name; `None` when it is not served.
    #[must_use]
    pub fn name(&self, id: VolumeId) -> Option<&VolumeName> {
        self.volumes.get(&id).map(|volume| &volume.name)
    }

    /// A volume to read from; `None` when it is not served.
    pub fn volume(&mut self, id: VolumeId) -> Option<&mut VolumeFiles> {
        self.volumes.get_mut(&id).map(|volume| &mut volume.files)
    }

    /// As [`VolumeFiles::locate`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn locate(&mut self, id: VolumeId, ask: &Ask) -> Result<Outcome<Located>, StoreError> {
        Ok(self.volume(id).ok_or(StoreError::NotServed { id })?.locate(ask)?)
    }

    /// As [`VolumeFiles::read_into`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn read_into(
        &mut self,
        id: VolumeId,
        ask: &Ask,
        out: &mut Vec<u8>,
    ) -> Result<Outcome<Content>, StoreError> {
        out.clear();
        Ok(self.volume(id).ok_or(StoreError::NotServed { id })?.read_into(ask, out)?)
    }
}

/// Why a store could not look for a needle.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not have the volume, or refuses it.
    #[error("volume {id} is not served here: look at the refusals, or ask another server")]
    NotServed {
        /// The volume.
        id: VolumeId,
    },
    /// Its files failed.
    #[error(transparent)]
    Files(#[from] FilesError),
}
