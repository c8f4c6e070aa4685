//! A shelf over a [`Store`]: the directories of a volume server, erasure-coded volumes included.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use wavetank_contract::Lease;
use wavetank_volume::{
    Ask, Content, Cookie, Damage, IndexCounts, IndexEntry, Located, Lookup, Needle, NeedleId, OffsetWidth,
    OpenOptions, Outcome, Store, StoreDirectory, StoreError, VolumeFiles, VolumeId,
};

use super::{Shelf, Shelved, record_bytes};
use crate::calls::{About, Standing, Which};
use crate::outcome::Absence;

/// Limits of a [`StoreShelf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreShelfConfig {
    /// The longest content that is served, and that a compressed needle may inflate to.
    pub needle_bytes_max: u64,
}

impl Default for StoreShelfConfig {
    fn default() -> StoreShelfConfig {
        StoreShelfConfig { needle_bytes_max: 256 << 20 }
    }
}

/// What a volume looked like when it was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    generation: u64,
    dat_bytes: u64,
    counts: IndexCounts,
}

/// What is remembered of a volume beside its files.
#[derive(Clone, Copy, Debug)]
struct Note {
    looks: Looks,
    /// Never the same for two openings, of whichever volumes.
    generation: u64,
    change: u64,
    /// It changed, and nobody was told.
    untold: bool,
}

/// The needle that was found last.
#[derive(Debug)]
struct Recent {
    volume: u32,
    which: Which,
    located: Located,
    /// What a compressed one inflates to.
    content: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    notes: BTreeMap<u32, Note>,
    generations: u64,
    recent: Option<Recent>,
}

/// Volumes of a store. It is read with plain `pread`: a READ of a reader never waits for a disk, a push may, and the engine's
/// thread with it.
#[derive(Debug)]
pub struct StoreShelf {
    config: StoreShelfConfig,
    inner: RefCell<Inner>,
}

impl StoreShelf {
    /// A shelf over a store.
    pub fn new(store: Store, config: StoreShelfConfig) -> StoreShelf {
        let inner = Inner { store, notes: BTreeMap::new(), generations: 0, recent: None };
        let shelf = StoreShelf { config, inner: RefCell::new(inner) };
        shelf.inner.borrow_mut().note_all();
        shelf
    }

    /// A shelf over the volumes in these directories.
    pub fn open(directories: &[PathBuf]) -> StoreShelf {
        let directories = directories.iter().map(StoreDirectory::new).collect();
        let store = Store::open(directories, OpenOptions::default());
        for refusal in store.refusals() {
            tracing::warn!("not exported: {refusal}");
        }
        StoreShelf::new(store, StoreShelfConfig::default())
    }

    /// What is in the directories and not exported, and why.
    pub fn refusals(&self) -> Vec<String> {
        self.inner.borrow().store.refusals().iter().map(ToString::to_string).collect()
    }
}

fn looks(files: &VolumeFiles) -> Looks {
    let volume = files.volume();
    Looks {
        generation: files.generation(),
        dat_bytes: volume.dat_len_bytes(),
        counts: volume.index().counts(),
    }
}

/// With 4-byte offsets a record may stand this far behind where its entry points.
const BEYOND_BYTES: u64 = 32 << 30;

impl Inner {
    /// Compares a volume with how it looked. `anew`: another volume may have its number now.
    fn note(&mut self, volume: u32, anew: bool) {
        let Some(files) = self.store.volume(VolumeId(volume)) else {
            self.notes.remove(&volume);
            return;
        };
        let now = looks(files);
        let before = self.notes.get(&volume).copied().filter(|_| !anew);
        let note = match before {
            Some(note) if note.looks == now => return,
            Some(note) if note.looks.generation == now.generation => {
                Note { looks: now, change: note.change + 1, untold: true, ..note }
            }
            before => {
                self.generations += 1;
                let change = before.map_or(0, |note| note.change) + 1;
                Note { looks: now, generation: self.generations, change, untold: true }
            }
        };
        self.notes.insert(volume, note);
    }

    fn note_all(&mut self) {
        let there: Vec<u32> = self.store.volumes().map(|(name, _)| name.id.0).collect();
        for volume in there {
            self.note(volume, false);
        }
    }

    fn which(&self, volume: u32, entry: &IndexEntry) -> Which {
        let generation = self.notes.get(&volume).map_or(0, |note| note.generation);
        Which { generation, offset_bytes: entry.offset_bytes, size_bytes: entry.size_bytes }
    }

    /// Finds a needle's record, and inflates what is compressed.
    fn locate(&mut self, volume: u32, ask: &Ask) -> Result<Shelved, Absence> {
        let outcome = self.store.locate(VolumeId(volume), ask);
        self.note(volume, false);
        let located = match outcome.map_err(|error| unreadable(&error))? {
            Outcome::Found(located) | Outcome::Empty(located) => located,
            other => return Err(absence(&other)),
        };
        let which = self.which(volume, &located.entry);
        let version = self.store.volume(VolumeId(volume)).ok_or(Absence::NotExported)?.volume();
        let version = version.superblock().version;
        let is_it = |recent: &Recent| (recent.volume, recent.which) == (volume, which);
        let content = match self.recent.take().filter(is_it) {
            Some(Recent { content: Some(content), .. }) => Some(content),
            _ if located.flags.is_compressed() && located.data_len_bytes > 0 => {
                Some(self.inflate(volume, ask, which)?)
            }
            _ => None,
        };
        let whole_bytes = content.as_ref().map_or(located.data_len_bytes, |content| content.len() as u64);
        let about = about(&located, whole_bytes);
        self.recent = Some(Recent { volume, which, located, content });
        Ok(Shelved { volume, id: ask.id, which, version, about })
    }

    fn inflate(&mut self, volume: u32, ask: &Ask, which: Which) -> Result<Vec<u8>, Absence> {
        let mut content = Vec::new();
        let outcome = self.store.read_into(VolumeId(volume), ask, &mut content);
        self.note(volume, false);
        match outcome.map_err(|error| unreadable(&error))? {
            Outcome::Found(Content { located, .. }) if self.which(volume, &located.entry) == which => {
                Ok(content)
            }
            Outcome::Found(_) | Outcome::Empty(_) => Err(Absence::Stale),
            other => Err(absence(&other)),
        }
    }

    /// Makes the needle the one that was found last. Its cookie was looked at when it was found.
    fn recall(&mut self, needle: &Shelved, inflated_len_max: u64) -> Result<(), Absence> {
        let is_it = |recent: &Recent| (recent.volume, recent.which) == (needle.volume, needle.which);
        if self.recent.as_ref().is_some_and(is_it) {
            return Ok(());
        }
        let ask = Ask { id: needle.id, cookie: None, range: None, now_unix_ns: 0, inflated_len_max };
        let again = self.locate(needle.volume, &ask)?;
        if again.which == needle.which { Ok(()) } else { Err(Absence::Stale) }
    }
}

fn about(located: &Located, whole_bytes: u64) -> About {
    About {
        whole_bytes,
        flags: located.flags,
        checksum: located.stored_checksum,
        last_modified_s: located.last_modified_s,
        append_at_ns: located.append_at_ns,
        ttl: located.ttl,
        name: located.name.as_deref().map(Box::from),
        mime: located.mime.as_deref().map(Box::from),
    }
}

fn unreadable(error: &StoreError) -> Absence {
    match error {
        StoreError::NotServed { .. } => Absence::NotExported,
        StoreError::Files(error) => {
            tracing::warn!("{error}");
            Absence::Unreadable
        }
    }
}

fn absence<T>(outcome: &Outcome<T>) -> Absence {
    match outcome {
        // What was found is no absence; whoever comes here with it has another needle than was asked for.
        Outcome::Found(_) | Outcome::Empty(_) | Outcome::Stale(_) => Absence::Stale,
        Outcome::Missing => Absence::Missing,
        Outcome::Deleted => Absence::Deleted,
        Outcome::Expired { .. } => Absence::Expired,
        Outcome::WrongCookie => Absence::WrongCookie,
        Outcome::NotInRange { .. } => Absence::OutOfRange,
        Outcome::TooLong { .. } => Absence::TooLong,
        Outcome::Damaged(Damage::Gzip { .. }) => Absence::Compression,
        Outcome::Damaged(_) => Absence::Damaged,
    }
}

impl Shelf for StoreShelf {
    fn refresh(&self) -> Vec<u32> {
        let mut inner = self.inner.borrow_mut();
        let refreshed = inner.store.refresh();
        for volume in refreshed.vanished.iter().chain(&refreshed.appeared) {
            inner.note(volume.0, true);
        }
        inner.note_all();
        let told = |(volume, note): (&u32, &mut Note)| std::mem::take(&mut note.untold).then_some(*volume);
        let mut changed: Vec<u32> = inner.notes.iter_mut().filter_map(told).collect();
        changed.extend(refreshed.vanished.iter().map(|volume| volume.0));
        changed
    }

    fn volumes(&self) -> Vec<Standing> {
        let inner = self.inner.borrow();
        let standing = |volume: u32, files: &VolumeFiles| {
            let superblock = files.volume().superblock();
            let (version, revision) = (superblock.version.byte(), superblock.compaction_revision);
            let change = inner.notes.get(&volume).map_or(0, |note| note.change);
            Standing { volume, version, revision, change }
        };
        inner.store.volumes().map(|(name, files)| standing(name.id.0, files)).collect()
    }

    fn find(&self, volume: u32, id: NeedleId, cookie: Cookie, now_unix_ns: u64) -> Result<Shelved, Absence> {
        let inflated_len_max = self.config.needle_bytes_max;
        let ask = Ask { id, cookie: Some(cookie), range: None, now_unix_ns, inflated_len_max };
        let needle = self.inner.borrow_mut().locate(volume, &ask)?;
        if needle.about.whole_bytes > self.config.needle_bytes_max {
            return Err(Absence::TooLong);
        }
        Ok(needle)
    }

    fn read(
        &self,
        needle: &Shelved,
        offset: u64,
        len: u64,
        into: &Lease,
        at: u64,
    ) -> Result<Option<u32>, Absence> {
        let mut inner = self.inner.borrow_mut();
        inner.recall(needle, self.config.needle_bytes_max)?;
        let Inner { store, recent, .. } = &mut *inner;
        let recent = recent.as_mut().ok_or(Absence::Stale)?;
        let end = offset.checked_add(len).filter(|end| *end <= needle.about.whole_bytes);
        let end = end.ok_or(Absence::OutOfRange)?;
        let failed = |error: std::io::Error| {
            tracing::warn!("volume {}, needle {}: {error}", needle.volume, needle.id);
            Absence::Unreadable
        };
        if let Some(content) = &recent.content {
            into.write(at, &content[offset as usize..end as usize]);
            return Ok(None);
        }
        let is_whole = len == needle.about.whole_bytes;
        let located = &mut recent.located;
        if let Some(sum) = located.verified_crc32c()
            && let Some(extents) = located.extents(offset..end)
        {
            let mut to = at;
            for extent in extents {
                let (file, len) = (extent.file.as_fd(), extent.len_bytes as usize);
                into.read_from(file, extent.file_offset_bytes, to, len).map_err(failed)?;
                to += extent.len_bytes;
            }
            return Ok(is_whole.then_some(sum));
        }
        // All of it passes once, and what is wanted stays.
        let mut verifier = located.verifier();
        let mut passed = 0;
        let read = located.read_blocks(0..located.data_len_bytes, |block| {
            verifier.update(block);
            let within = |of: u64| of.saturating_sub(passed).min(block.len() as u64);
            let (from, to) = (within(offset), within(end));
            if from < to {
                into.write(at + (passed + from - offset), &block[from as usize..to as usize]);
            }
            passed += block.len() as u64;
        });
        read.map_err(failed)?;
        let verified = verifier.finish().map_err(|error| {
            tracing::warn!("volume {}: {error}", needle.volume);
            Absence::Damaged
        })?;
        if let Some(files) = store.volume(VolumeId(needle.volume)) {
            files.remember(verified);
        }
        // All of it was summed as it passed.
        Ok(None)
    }

    fn doubt(&self, needle: &Shelved) {
        let mut inner = self.inner.borrow_mut();
        inner.recent = None;
        let Which { offset_bytes, size_bytes, .. } = needle.which;
        if let Some(files) = inner.store.volume(VolumeId(needle.volume)) {
            files.doubt(&IndexEntry { id: needle.id, offset_bytes, size_bytes });
        }
    }

    fn record(&self, needle: &Shelved, into: &mut Vec<u8>) -> Result<(), Absence> {
        let mut inner = self.inner.borrow_mut();
        inner.recall(needle, self.config.needle_bytes_max)?;
        let Which { offset_bytes, size_bytes, .. } = needle.which;
        let entry = IndexEntry { id: needle.id, offset_bytes, size_bytes };
        let Some(files) = inner.store.volume(VolumeId(needle.volume)) else {
            return Err(Absence::NotExported);
        };
        files.read_record(&entry, into).map_err(|error| unreadable(&error.into()))?;
        into.truncate(record_bytes(size_bytes, needle.version) as usize);
        Needle::parse(into, needle.version, &entry).map_err(|_| Absence::Damaged)?;
        Ok(())
    }

    fn is_current(&self, volume: u32, id: NeedleId, which: &Which) -> bool {
        let mut inner = self.inner.borrow_mut();
        let generation = inner.notes.get(&volume).map(|note| note.generation);
        let Some(files) = inner.store.volume(VolumeId(volume)) else { return false };
        let narrow = files.volume().index().offset_width() == OffsetWidth::Four;
        let same = |entry: IndexEntry| {
            let beyond = narrow && entry.offset_bytes.saturating_add(BEYOND_BYTES) == which.offset_bytes;
            (entry.offset_bytes == which.offset_bytes || beyond) && entry.size_bytes == which.size_bytes
        };
        match files.volume().lookup(id) {
            Lookup::Live(entry) | Lookup::Empty(entry) => generation == Some(which.generation) && same(entry),
            Lookup::Deleted | Lookup::Missing => false,
        }
    }
}
