//! A volume as `.dat` and `.idx`: opening both of one moment, and following what a server appends.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::opening::{Stamp, io_error, look, open_file, read_superblock, read_vif, source_error};
use super::{FilesError, Followed, Freshness, Loaded, OpenOptions};
use crate::entry::LogEntry;
use crate::index::check_entry;
use crate::source::Source;
use crate::width::{WidthEvidence, detect};
use crate::{Index, IndexEntry, OffsetWidth, SuperBlock, Volume};

/// The files of a volume that a server appends to.
#[derive(Debug)]
pub(super) struct LogFiles {
    pub(super) dat_path: PathBuf,
    pub(super) idx_path: PathBuf,
    dat: Arc<File>,
    idx: File,
    idx_stamp: Stamp,
    /// How much of the `.idx` is in the index.
    taken_bytes: u64,
    /// The last entry of that part.
    last_entry: Vec<u8>,
    /// Entries behind that, whose records are not there yet.
    pub(super) held_back: u64,
    pub(super) evidence: WidthEvidence,
}

/// How often files that do not fit each other are opened again: a vacuum may be replacing them.
const TRIES: u32 = 3;
/// How much of the `.idx` is taken up at a time.
const GROWTH_BYTES: usize = 1 << 20;

pub(super) fn load(dat_path: &Path, options: &OpenOptions) -> Result<(LogFiles, Loaded), FilesError> {
    let mut tries = 1;
    loop {
        match load_once(dat_path, options) {
            Ok(Some(loaded)) => return Ok(loaded),
            // Replaced while they were opened.
            Ok(None) if tries < TRIES => {}
            Ok(None) => {
                let busy = io::Error::new(io::ErrorKind::ResourceBusy, "replaced each time it was opened");
                return Err(io_error(dat_path, busy));
            }
            Err(FilesError::Index { .. } | FilesError::Width { .. }) if tries < TRIES => {}
            Err(error) => return Err(error),
        }
        tries += 1;
    }
}

fn load_once(dat_path: &Path, options: &OpenOptions) -> Result<Option<(LogFiles, Loaded)>, FilesError> {
    let dat_path = dat_path.to_path_buf();
    let note_path = dat_path.with_extension("note");
    if note_path.exists() {
        return Err(FilesError::UnfinishedCopy { dat_path, note_path });
    }
    let vif_path = options.vif_path.clone().unwrap_or_else(|| dat_path.with_extension("vif"));
    let vif = read_vif(&vif_path)?;
    if let Some(remote) = vif.remote {
        return Err(FilesError::Remote { vif_path, remote });
    }
    let dat = Arc::new(open_file(&dat_path)?);
    let (idx_path, idx) = open_index(&dat_path, options)?;
    let idx_stamp = Stamp::of_file(&idx, &idx_path)?;
    let source = Source::File(Arc::clone(&dat));
    let dat_len = || Ok::<_, FilesError>(Stamp::of_file(&dat, &dat_path)?.len_bytes);
    let superblock = read_superblock(&source, &dat_path, dat_len()?)?;

    let told = options.offset_width.or(vif.offset_width).map(|width| (width, WidthEvidence::Told));
    let (width, evidence) = match told {
        Some(told) => told,
        None => detect(&idx, &source, &superblock, dat_len()?)
            .map_err(|fault| source_error(&dat_path, fault))?
            .map_err(|fault| FilesError::Width { idx_path: idx_path.clone(), fault })?,
    };
    let read = |len_bytes| read_index(&idx, &idx_path, len_bytes, width, options.needles_max);
    let mut index = read(idx_stamp.len_bytes)?;
    // A server appends to the .dat first and to the .idx second. The length is taken after the index was read, so that
    // an append in between cannot look like an entry past the end.
    let dat_len_bytes = dat_len()?;
    if let Err(fault) = index.check_against(&superblock, dat_len_bytes) {
        let not_there = if options.is_written {
            appends_not_there(&idx, &idx_path, idx_stamp.len_bytes, width, &superblock, dat_len_bytes)?
        } else {
            None
        };
        let Some(good_bytes) = not_there else {
            return Err(FilesError::Index { dat_path, idx_path, fault });
        };
        index = read(good_bytes)?;
    }
    let taken_bytes = index.counts().entries * width.entry_len_bytes() as u64;
    let volume = Volume::assemble(superblock, index, dat_len_bytes).map_err(|fault| FilesError::Index {
        dat_path: dat_path.clone(),
        idx_path: idx_path.clone(),
        fault,
    })?;
    let dat_stamp = Stamp::of_file(&dat, &dat_path)?;
    let still_these =
        |path: &Path, stamp: &Stamp| look(path).map(|now| now.is_some_and(|now| now.is_same_file(stamp)));
    if !still_these(&dat_path, &dat_stamp)? || !still_these(&idx_path, &idx_stamp)? {
        return Ok(None);
    }
    let held_back = (idx_stamp.len_bytes - taken_bytes) / width.entry_len_bytes() as u64;
    let last_entry = read_last(&idx, &idx_path, taken_bytes, width)?;
    let files =
        LogFiles { dat_path, idx_path, dat, idx, idx_stamp, taken_bytes, last_entry, held_back, evidence };
    Ok(Some((files, Loaded { source, volume })))
}

/// Opens the `.idx`, else the `.sdx`, which servers keep for volumes that nobody writes.
fn open_index(dat_path: &Path, options: &OpenOptions) -> Result<(PathBuf, File), FilesError> {
    let idx_path = options.idx_path.clone().unwrap_or_else(|| dat_path.with_extension("idx"));
    match open_file(&idx_path) {
        Err(error) if error.is_gone() => {
            let sdx_path = idx_path.with_extension("sdx");
            match open_file(&sdx_path) {
                Ok(sdx) => Ok((sdx_path, sdx)),
                Err(other) if other.is_gone() => Err(error),
                Err(other) => Err(other),
            }
        }
        opened => opened.map(|idx| (idx_path, idx)),
    }
}

/// The entry before `end_bytes` of the `.idx`; nothing when there is none.
fn read_last(idx: &File, idx_path: &Path, end_bytes: u64, width: OffsetWidth) -> Result<Vec<u8>, FilesError> {
    let mut last = vec![0; width.entry_len_bytes()];
    let Some(start_bytes) = end_bytes.checked_sub(last.len() as u64) else { return Ok(Vec::new()) };
    match idx.read_exact_at(&mut last, start_bytes) {
        Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
        read => read.map(|()| last).map_err(|fault| io_error(idx_path, fault)),
    }
}

fn read_index(
    idx: &File,
    idx_path: &Path,
    len_bytes: u64,
    width: OffsetWidth,
    needles_max: usize,
) -> Result<Index, FilesError> {
    let failed = |fault| FilesError::Log { idx_path: idx_path.to_path_buf(), fault };
    Index::read(At { file: idx, offset_bytes: 0 }.take(len_bytes), width, needles_max).map_err(failed)
}

/// A file read from an offset on, without the position that its handle has.
struct At<'a> {
    file: &'a File,
    offset_bytes: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset_bytes)?;
        self.offset_bytes += count as u64;
        Ok(count)
    }
}

/// Where in the `.idx` the appends begin that have not reached the `.dat`, if that is what is wrong with it: from there
/// on, no entry's record is inside. One that is makes this a damaged index, or one of another volume.
fn appends_not_there(
    idx: &File,
    idx_path: &Path,
    len_bytes: u64,
    width: OffsetWidth,
    superblock: &SuperBlock,
    dat_len_bytes: u64,
) -> Result<Option<u64>, FilesError> {
    let mut chunk = vec![0; width.entry_len_bytes() * 4096];
    let (mut at_bytes, mut first_bytes) = (0, None);
    while at_bytes < len_bytes {
        let left = usize::try_from(len_bytes - at_bytes).unwrap_or(usize::MAX).min(chunk.len());
        let part = &mut chunk[..left];
        idx.read_exact_at(part, at_bytes).map_err(|fault| io_error(idx_path, fault))?;
        for (number, bytes) in (0_u64..).zip(part.chunks_exact(width.entry_len_bytes())) {
            let Some(entry) = LogEntry::parse(bytes, width).and_then(|log| log.entry()) else { continue };
            match (is_there(&entry, superblock, dat_len_bytes), first_bytes) {
                (true, Some(_)) => return Ok(None),
                (true, None) | (false, Some(_)) => {}
                (false, None) => first_bytes = Some(at_bytes + number * width.entry_len_bytes() as u64),
            }
        }
        at_bytes += part.len() as u64;
    }
    Ok(first_bytes)
}

fn is_there(entry: &IndexEntry, superblock: &SuperBlock, dat_len_bytes: u64) -> bool {
    !matches!(check_entry(entry, superblock, dat_len_bytes), Err(crate::IndexError::PastEnd { .. }))
}

impl LogFiles {
    /// What a server changed, as far as one look at the index's name tells. A vacuum renames the `.idx` last.
    pub(super) fn glance(&self) -> Result<Freshness, FilesError> {
        let now =
            look(&self.idx_path)?.ok_or_else(|| io_error(&self.idx_path, io::ErrorKind::NotFound.into()))?;
        Ok(if !now.is_same_file(&self.idx_stamp) || now.len_bytes < self.taken_bytes {
            Freshness::Replaced
        } else if now.len_bytes >= self.taken_bytes + self.entry_len_bytes() {
            Freshness::Grown
        } else {
            Freshness::Current
        })
    }

    /// Whether the log still holds, where the part that was taken up ends, the entry it held there. A server that lost
    /// power cuts both files to what fits together and appends to the same files.
    ///
    /// Source: `weed/storage/volume_checking.go`.
    pub(super) fn is_continued(&self, volume: &Volume) -> Result<bool, FilesError> {
        let width = volume.index().offset_width();
        Ok(read_last(&self.idx, &self.idx_path, self.taken_bytes, width)? == self.last_entry)
    }

    fn entry_len_bytes(&self) -> u64 {
        // Anything less is no entry of either width.
        OffsetWidth::Four.entry_len_bytes() as u64
    }

    /// Compares all there is: both names, the lengths, and the superblock.
    pub(super) fn freshness(&self, source: &Source, volume: &Volume) -> Result<Freshness, FilesError> {
        let (Some(dat_now), Some(idx_now)) = (look(&self.dat_path)?, look(&self.idx_path)?) else {
            return Ok(Freshness::Replaced);
        };
        let dat_then = Stamp::of_file(&self.dat, &self.dat_path)?;
        let same = dat_then.is_same_file(&dat_now) && self.idx_stamp.is_same_file(&idx_now);
        if !same || dat_now.len_bytes < volume.dat_len_bytes() || idx_now.len_bytes < self.taken_bytes {
            return Ok(Freshness::Replaced);
        }
        match read_superblock(source, &self.dat_path, dat_now.len_bytes) {
            Ok(superblock) if superblock == *volume.superblock() => {}
            Err(error @ FilesError::Io { .. }) => return Err(error),
            _ => return Ok(Freshness::Replaced),
        }
        if self.is_continued(volume)? { self.glance() } else { Ok(Freshness::Replaced) }
    }

    /// Takes up what the `.idx` has grown by, as far as its records are in the `.dat`; the rest is left for later.
    pub(super) fn take_up(
        &mut self,
        volume: &mut Volume,
        needles_max: usize,
    ) -> Result<Followed, FilesError> {
        let width = volume.index().offset_width();
        let entry_len = width.entry_len_bytes();
        let idx_len_bytes = Stamp::of_file(&self.idx, &self.idx_path)?.len_bytes;
        let left = usize::try_from(idx_len_bytes.saturating_sub(self.taken_bytes)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.clamp(entry_len, GROWTH_BYTES) / entry_len * entry_len];
        let mut entries = 0;
        loop {
            let mut filled = 0;
            while filled < chunk.len() {
                match self.idx.read_at(&mut chunk[filled..], self.taken_bytes + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                    Err(fault) => return Err(io_error(&self.idx_path, fault)),
                }
            }
            let whole = &chunk[..filled / entry_len * entry_len];
            // After the index was read: an append is in the .dat first.
            let dat_len_bytes = Stamp::of_file(&self.dat, &self.dat_path)?.len_bytes;
            let superblock = *volume.superblock();
            let mut good = 0;
            for bytes in whole.chunks_exact(entry_len) {
                let entry = LogEntry::parse(bytes, width).and_then(|log| log.entry());
                match entry.map(|entry| check_entry(&entry, &superblock, dat_len_bytes)) {
                    None | Some(Ok(())) => good += entry_len,
                    Some(Err(crate::IndexError::PastEnd { .. })) => break,
                    Some(Err(fault)) => {
                        let (dat_path, idx_path) = (self.dat_path.clone(), self.idx_path.clone());
                        return Err(FilesError::Index { dat_path, idx_path, fault });
                    }
                }
            }
            volume
                .grow(&whole[..good], dat_len_bytes, needles_max)
                .map_err(|fault| FilesError::Log { idx_path: self.idx_path.clone(), fault })?;
            self.taken_bytes += good as u64;
            if let Some(last) = whole[..good].chunks_exact(entry_len).next_back() {
                self.last_entry = last.to_vec();
            }
            entries += (good / entry_len) as u64;
            let held_back = ((whole.len() - good) / entry_len) as u64;
            self.held_back = held_back;
            if held_back > 0 || filled < chunk.len() {
                let is_current = entries == 0 && held_back == 0;
                return Ok(if is_current {
                    Followed::Current
                } else {
                    Followed::Grown { entries, held_back }
                });
            }
        }
    }

    /// What tells whether trying to open it again may give another answer.
    pub(super) fn stamps(&self) -> Vec<Option<Stamp>> {
        let paths = [self.dat_path.clone(), self.idx_path.clone(), self.dat_path.with_extension("vif")];
        paths.iter().map(|path| look(path).ok().flatten()).collect()
    }
}
