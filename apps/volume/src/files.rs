//! A volume on a file system, open for reading while its server goes on writing.

mod coded;
mod error;
mod log;
mod opening;

use std::io;
use std::path::{Path, PathBuf};

use crate::shards::ShardLayout;
use crate::source::Source;
use crate::verify::VerifiedSet;
use crate::width::WidthEvidence;
use crate::{Index, IndexEntry, Needle, NeedleError, NeedleId, OffsetWidth, Volume};

use coded::CodedFiles;
pub use coded::CodedPaths;
pub use error::FilesError;
use log::LogFiles;
use opening::{Stamp, source_error};

/// What [`VolumeFiles::open_with`] does otherwise than by itself.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// How wide the offsets in the index are; `None` = as the `.vif` says, else as the records show.
    pub offset_width: Option<OffsetWidth>,
    /// Where the `.idx` is, for servers run with `-dir.idx`; `None` = beside the `.dat`.
    pub idx_path: Option<PathBuf>,
    /// Where the `.vif` is; `None` = beside the `.dat`.
    pub vif_path: Option<PathBuf>,
    /// Whether a server may be writing it: then entries at the end of the `.idx` whose records are not in the `.dat` are
    /// appends on their way, and left for later. Otherwise they are an error: something is missing.
    pub is_written: bool,
    /// The most ids an index may name: 16 to 17 bytes of memory each.
    pub needles_max: usize,
    /// How many needles are remembered as verified, as a power of 2; 16 bytes each, at most 24.
    pub verified_log2: u32,
    /// The blocks of erasure-coded volumes, and how many shards they have when no `.vif` says it.
    pub layout: ShardLayout,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            offset_width: None,
            idx_path: None,
            vif_path: None,
            is_written: true,
            needles_max: Index::NEEDLES_MAX,
            verified_log2: 16,
            layout: ShardLayout::default(),
        }
    }
}

/// How the files on disk stand to what is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing was written since.
    Current,
    /// The index has grown: needles were added or deleted. What is open can still be read.
    Grown,
    /// The files were replaced or rewritten (a vacuum, a new copy), or shards came or went.
    Replaced,
}

/// What [`VolumeFiles::follow`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Nothing had changed.
    Current,
    /// The index has grown.
    Grown {
        /// Entries taken up.
        entries: u64,
        /// Entries whose record is not in the `.dat` yet, so far as they were looked at: taken up when it is.
        held_back: u64,
    },
    /// The files had been replaced and were opened again. What was verified before is forgotten.
    Reopened,
}

/// An open volume: one file with an index beside it, or the shards of an erasure-coded one. Needles are read on demand,
/// always at an offset; nothing is ever written. Made for one thread.
#[derive(Debug)]
pub struct VolumeFiles {
    kind: Kind,
    pub(crate) source: Source,
    volume: Volume,
    options: OpenOptions,
    generation: u64,
    pub(crate) verified: VerifiedSet,
    /// What opening it again said, and of which files.
    broken: Option<(Vec<Option<Stamp>>, String)>,
}

#[derive(Debug)]
enum Kind {
    Log(LogFiles),
    Coded(CodedFiles),
}

/// What every kind of volume is, once it is open.
#[derive(Debug)]
struct Loaded {
    source: Source,
    volume: Volume,
}

impl VolumeFiles {
    /// Opens `<name>.dat` and the `<name>.idx` beside it.
    ///
    /// # Errors
    ///
    /// As [`Self::open_with`].
    pub fn open(dat_path: impl AsRef<Path>) -> Result<Self, FilesError> {
        Self::open_with(dat_path, &OpenOptions::default())
    }

    /// Opens a volume and holds every live index entry against the length of the `.dat`. Entries at the end of the
    /// `.idx` whose records are not there yet are left for later.
    ///
    /// # Errors
    ///
    /// [`FilesError`] when a file cannot be read, the copy of the volume never finished, its data is elsewhere, the
    /// superblock is damaged, or an entry points outside the `.dat`.
    pub fn open_with(dat_path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, FilesError> {
        let (files, loaded) = log::load(dat_path.as_ref(), options)?;
        Ok(Self::of(Kind::Log(files), loaded, options))
    }

    /// Opens an erasure-coded volume from the shards that are here.
    ///
    /// # Errors
    ///
    /// [`FilesError`] when the index or every shard is missing, or an entry points outside the volume. Too few shards
    /// are an error of the needles that are in the missing ones.
    pub fn open_coded(paths: &CodedPaths, options: &OpenOptions) -> Result<Self, FilesError> {
        let (files, loaded) = coded::load(paths, options)?;
        Ok(Self::of(Kind::Coded(files), loaded, options))
    }

    fn of(kind: Kind, Loaded { source, volume }: Loaded, options: &OpenOptions) -> Self {
        let verified = VerifiedSet::new(options.verified_log2);
        let options = options.clone();
        Self { kind, source, volume, options, generation: 0, verified, broken: None }
    }

    /// Takes up what the server has written since: one look at the index's name when that is nothing. Opens the files
    /// again when they were replaced. Every read begins with this.
    ///
    /// # Errors
    ///
    /// [`FilesError`] when the files are gone ([`FilesError::is_gone`]), or cannot be used as they are now.
    pub fn follow(&mut self) -> Result<Followed, FilesError> {
        let freshness = match &self.kind {
            Kind::Log(files) => files.glance()?,
            Kind::Coded(files) => files.glance()?,
        };
        self.bring_up(freshness)
    }

    /// As [`Self::follow`], and looks at everything that may have been replaced: both names, the superblock, and
    /// which shards are here. Reads do this when a record is not what the index says.
    ///
    /// # Errors
    ///
    /// As [`Self::follow`].
    pub fn follow_closely(&mut self) -> Result<Followed, FilesError> {
        self.bring_up(self.freshness()?)
    }

    fn bring_up(&mut self, freshness: Freshness) -> Result<Followed, FilesError> {
        match (freshness, &mut self.kind) {
            (Freshness::Current, _) => Ok(Followed::Current),
            // What was assumed of an empty volume can be found out now.
            (Freshness::Grown, Kind::Log(files)) if files.evidence != WidthEvidence::Assumed => {
                if !files.is_continued(&self.volume)? {
                    return self.reopen();
                }
                files.take_up(&mut self.volume, self.options.needles_max)
            }
            (Freshness::Grown, Kind::Coded(files)) => files.take_up(&mut self.volume),
            _ => self.reopen(),
        }
    }

    fn reopen(&mut self) -> Result<Followed, FilesError> {
        let stamps = match &self.kind {
            Kind::Log(files) => files.stamps(),
            Kind::Coded(files) => files.stamps(),
        };
        if let Some((_, what)) = self.broken.as_ref().filter(|(then, _)| *then == stamps) {
            return Err(FilesError::NotReopened { path: self.dat_path().to_path_buf(), what: what.clone() });
        }
        let opened =
            match &self.kind {
                Kind::Log(files) => log::load(&files.dat_path, &self.options)
                    .map(|(files, loaded)| (Kind::Log(files), loaded)),
                Kind::Coded(files) => coded::load(&files.paths, &self.options)
                    .map(|(files, loaded)| (Kind::Coded(files), loaded)),
            };
        match opened {
            Ok((kind, Loaded { source, volume })) => {
                (self.kind, self.source, self.volume) = (kind, source, volume);
                self.generation += 1;
                self.verified.clear();
                self.broken = None;
                Ok(Followed::Reopened)
            }
            Err(error) => {
                self.broken = Some((stamps, error.to_string()));
                Err(error)
            }
        }
    }

    /// Compares the files on disk with what is open.
    ///
    /// # Errors
    ///
    /// [`FilesError::Io`] when the files cannot be looked at; one that is gone is [`Freshness::Replaced`].
    ///
    /// Source of the rule: `weed/storage/volume_vacuum.go` (renames new files into place, revision plus one).
    pub fn freshness(&self) -> Result<Freshness, FilesError> {
        match &self.kind {
            Kind::Log(files) => files.freshness(&self.source, &self.volume),
            Kind::Coded(files) => files.freshness(),
        }
    }

    /// Reads one needle into `buffer` (grown as needed, reused between calls) and checks it, by the index as it is:
    /// for a volume that nobody writes. [`Self::read_into`] is for one that is in use.
    ///
    /// # Errors
    ///
    /// [`FilesError::Read`] when it is missing, deleted or damaged, [`FilesError::Io`] when the file system fails.
    pub fn read<'b>(&self, id: NeedleId, buffer: &'b mut Vec<u8>) -> Result<Needle<'b>, FilesError> {
        let refused = |fault| FilesError::Read { dat_path: self.dat_path().to_path_buf(), fault };
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
        let failed = |fault| opening::io_error(self.dat_path(), fault);
        let need_bytes = entry.record_len_bytes(self.volume.superblock().version);
        let left_bytes = self.volume.dat_len_bytes().saturating_sub(entry.offset_bytes);
        if need_bytes > left_bytes {
            let have_bytes = usize::try_from(left_bytes).unwrap_or(usize::MAX);
            let (id, offset_bytes) = (entry.id, entry.offset_bytes);
            let fault = NeedleError::CutOff { id, offset_bytes, need_bytes, have_bytes }.into();
            return Err(FilesError::Read { dat_path: self.dat_path().to_path_buf(), fault });
        }
        let len = usize::try_from(need_bytes).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
        let missing_len = len.saturating_sub(buffer.len());
        buffer.try_reserve(missing_len).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
        buffer.resize(len, 0);
        self.source.read_exact_at(buffer, entry.offset_bytes).map_err(|fault| self.source_error(fault))
    }

    pub(crate) fn source_error(&self, fault: crate::source::SourceFault) -> FilesError {
        source_error(self.dat_path(), fault)
    }

    /// Superblock and index, as far as they have been followed.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Entries of the `.idx` whose records were not in the `.dat` when last looked for. That some stay means that the
    /// `.dat` lost its end.
    #[must_use]
    pub fn held_back(&self) -> u64 {
        match &self.kind {
            Kind::Log(files) => files.held_back,
            Kind::Coded(_) => 0,
        }
    }

    /// How often it was opened again: what is known of offsets and verified needles holds within one generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How the width of the offsets is known.
    #[must_use]
    pub fn width_evidence(&self) -> WidthEvidence {
        match &self.kind {
            Kind::Log(files) => files.evidence,
            Kind::Coded(files) => files.evidence,
        }
    }

    /// Where the `.dat` is; for an erasure-coded volume, what its files' names begin with.
    #[must_use]
    pub fn dat_path(&self) -> &Path {
        match &self.kind {
            Kind::Log(files) => &files.dat_path,
            Kind::Coded(files) => files.name_path(),
        }
    }

    /// Where the index is: `.idx`, `.sdx` or `.ecx`.
    #[must_use]
    pub fn idx_path(&self) -> &Path {
        match &self.kind {
            Kind::Log(files) => &files.idx_path,
            Kind::Coded(files) => &files.ecx_path,
        }
    }

    /// Numbers of the shards that are here; `None` for a volume that is not erasure-coded.
    #[must_use]
    pub fn shards(&self) -> Option<Vec<u32>> {
        match &self.kind {
            Kind::Log(_) => None,
            Kind::Coded(files) => Some(files.shards.here()),
        }
    }
}
