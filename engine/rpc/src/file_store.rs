//! Chunks in files: checked in blocks, whole after a crash, durable when asked.
//!
//! A chunk is a file, and the file a log (`file_store/layout.rs`): a write appends a record and never overwrites what is
//! there. After a crash the records are taken in order up to the first that is not whole, so a torn write is *invisible*,
//! the chunk is as it was after some earlier write, and everything that was answered as durable is there. What is damaged
//! later is *detected*: each block has a sum, each head too, and a mark says how far the file is known to be on disk, so
//! that damage is not taken for a torn end. Writes that were never synced have no mark; damage to the newest of those
//! looks like a crash. A block that is damaged is mended by a write over all of it.
//!
//! A log that is mostly of the past is copied to a new file, which takes its place at once.
//!
//! **Once, also across a restart.** Every record names its write, so a repeat of a write that is on disk is recognised. Of
//! failures nothing is kept: after a restart the repeat of a write that failed is tried again. One limit: on a disk so full that a
//! removal cannot be recorded, the file is removed with its names, and a restart forgets them.

mod layout;
mod log;
mod upkeep;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::rc::Rc;

use async_trait::async_trait;
use thiserror::Error;
use wavetank_contract::Lease;

use crate::applied::{Act, Applied, AppliedLimits, Fate};
use crate::disk::{Disk, Name};
use crate::error::ChunkError;
use crate::key::{ChunkKey, Once, WriteId};
use crate::store::{ChunkStat, ChunkStore, RemoveOrder, StoreLimits, WriteOrder};
use layout::BLOCK;
use log::Log;

/// Longest chunk that any limits allow: what is known of a chunk's blocks is in memory, and a peer says the offset.
const CHUNK_BYTES_MAX: u64 = 1 << 30;

/// Chunks whose files are kept open.
const OPEN_MAX: usize = 512;

/// Files of removed chunks that are looked at with each removal.
const SWEPT_AT_A_TIME: usize = 4;

/// A file no longer than this may be what is left of a removed chunk.
const REMNANT_BYTES_MAX: u64 = 8 * BLOCK;

/// Why a store could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk could not be listed.
    #[error("the store's files cannot be listed: {0}; check the folder and its rights")]
    List(#[source] io::Error),
    /// What a crash left of a copy could not be removed.
    #[error("{name}, left over by a crash, cannot be removed: {error}; remove it by hand")]
    Leftover {
        /// The file.
        name: Name,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
}

type Shared = Rc<RefCell<Log>>;

struct Inside {
    applied: Applied,
    used_bytes: u64,
    logs: BTreeMap<ChunkKey, (Shared, u64)>,
    /// Counts uses, so that the log that was used longest ago is known.
    tick: u64,
    /// Chunks that are no longer at hand and were not all durable.
    unsettled: BTreeSet<ChunkKey>,
    /// Files that may be all that is left of removed chunks.
    remnants: BTreeSet<ChunkKey>,
}

/// Keeps chunks in files.
pub struct FileStore {
    disk: Rc<dyn Disk>,
    limits: StoreLimits,
    inside: RefCell<Inside>,
    foreign: Vec<Name>,
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn name_of(key: ChunkKey) -> Name {
    let file = format!("{:016x}-{:08x}", key.inode, key.index);
    Name { shard: crc32c::crc32c(file.as_bytes()) as u8, file }
}

fn copy_name_of(key: ChunkKey) -> Name {
    let name = name_of(key);
    Name { file: format!("{}.new", name.file), ..name }
}

fn key_of(name: &Name) -> Option<ChunkKey> {
    let (inode, index) = name.file.split_once('-')?;
    let key =
        ChunkKey { inode: u64::from_str_radix(inode, 16).ok()?, index: u32::from_str_radix(index, 16).ok()? };
    (name_of(key) == *name).then_some(key)
}

impl FileStore {
    /// Opens a store. Chunks are looked at when they are first used. None is longer than 1 GiB, whatever the limits say.
    ///
    /// # Errors
    /// The system's.
    pub fn open(
        disk: Rc<dyn Disk>,
        limits: StoreLimits,
        applied: AppliedLimits,
    ) -> Result<FileStore, OpenError> {
        let chunk_bytes_max = limits.chunk_bytes_max.min(CHUNK_BYTES_MAX);
        let limits = StoreLimits { chunk_bytes_max, ..limits };
        let mut inside = Inside {
            applied: Applied::new(applied),
            used_bytes: 0,
            logs: BTreeMap::new(),
            tick: 0,
            unsettled: BTreeSet::new(),
            remnants: BTreeSet::new(),
        };
        let mut foreign = Vec::new();
        for (name, len_bytes) in disk.list().map_err(OpenError::List)? {
            let whole = name.file.strip_suffix(".new").map(|file| Name { file: file.into(), ..name });
            if let Some(key) = key_of(&name) {
                inside.used_bytes = inside.used_bytes.saturating_add(len_bytes);
                if len_bytes <= REMNANT_BYTES_MAX {
                    inside.remnants.insert(key);
                }
            } else if whole.is_some_and(|name| key_of(&name).is_some()) {
                if disk.is_writable() {
                    disk.remove(&name).map_err(|error| OpenError::Leftover { name, error })?;
                }
            } else {
                foreign.push(name);
            }
        }
        Ok(FileStore { disk, limits, inside: RefCell::new(inside), foreign })
    }

    /// Files that are none of the store's; it leaves them alone.
    pub fn foreign(&self) -> &[Name] {
        &self.foreign
    }

    /// Bytes of all files of chunks.
    pub fn used_bytes(&self) -> u64 {
        self.inside.borrow().used_bytes
    }

    /// Makes everything durable that was written since the store was opened: before a shutdown, and now and then.
    ///
    /// # Errors
    /// The first that occurs; the rest is tried all the same.
    pub async fn flush(&self) -> Result<(), ChunkError> {
        let logs: Vec<Shared> = self.inside.borrow().logs.values().map(|(log, _)| log.clone()).collect();
        let mut outcome = Ok(());
        for log in logs {
            let done = self.settle(&log).await;
            outcome = outcome.and(done);
        }
        let unsettled: Vec<ChunkKey> = self.inside.borrow().unsettled.iter().copied().collect();
        for key in unsettled {
            let done = match self.log(key) {
                Ok(log) => self.settle(&log).await,
                Err(error) => Err(error),
            };
            if done.is_ok() {
                self.inside.borrow_mut().unsettled.remove(&key);
            }
            outcome = outcome.and(done);
        }
        outcome
    }

    /// The log of a chunk, from its file if it is not at hand; an empty one, not kept, if there is no file.
    fn log(&self, key: ChunkKey) -> Result<Shared, ChunkError> {
        let mut inside = self.inside.borrow_mut();
        inside.tick += 1;
        let tick = inside.tick;
        if let Some((log, used)) = inside.logs.get_mut(&key) {
            *used = tick;
            return Ok(log.clone());
        }
        let Some(file) = self.disk.open(&name_of(key))? else {
            return Ok(Rc::new(RefCell::new(Log::absent(key))));
        };
        let mut log = Log::load(key, file.clone(), self.limits.chunk_bytes_max)?;
        log.inherited = inside.inherit(&log);
        let file_bytes = file.len_bytes()?;
        if file_bytes > log.end && self.disk.is_writable() {
            // What a crash left behind the last record. It does not count, cut or not.
            file.set_len(log.end)?;
            inside.used_bytes = inside.used_bytes.saturating_sub(file_bytes - log.end);
        }
        let log = Rc::new(RefCell::new(log));
        inside.keep(key, &log);
        Ok(log)
    }

    /// Applies a deed that is new, or says what became of it; true when it is durable.
    fn once(
        &self,
        log: &Shared,
        once: &Once,
        act: &Act,
        apply: impl FnOnce() -> Result<(), ChunkError>,
    ) -> Result<bool, ChunkError> {
        if !log.borrow().inherited {
            let inherited = self.inside.borrow_mut().inherit(&log.borrow());
            log.borrow_mut().inherited = inherited;
            if !inherited {
                // Without room for the names in its file, nobody knows whether this is a repeat.
                return Err(ChunkError::Busy);
            }
        }
        let fate = self.inside.borrow_mut().applied.fate(once, act)?;
        match fate {
            Fate::Repeat { outcome, durable } => outcome.map(|()| durable),
            Fate::New => {
                let failed = log.borrow().failed;
                let outcome = match failed {
                    Some(error) => Err(error),
                    None if !self.disk.is_writable() => Err(ChunkError::ReadOnly),
                    None => apply(),
                };
                self.inside.borrow_mut().applied.record(once, act, outcome);
                outcome.map(|()| false)
            }
        }
    }

    fn write_now(&self, log: &Shared, order: &WriteOrder, from: &Lease, at: u64) -> Result<(), ChunkError> {
        let key = order.key;
        let plan = log.borrow().plan(order, from, at)?;
        if log.borrow().compacting && log.borrow().is_overgrown() {
            return Err(ChunkError::Busy);
        }
        let before = log.borrow().end;
        let need_bytes = plan.record_bytes() + if before == 0 { BLOCK } else { 0 };
        let free_bytes = self.limits.capacity_bytes.saturating_sub(self.used_bytes());
        if need_bytes > free_bytes {
            return Err(ChunkError::NoSpace { need_bytes, free_bytes });
        }
        if log.borrow().file.is_none() {
            let file = self.disk.create(&name_of(key))?;
            log.borrow_mut().file = Some(file);
            self.inside.borrow_mut().keep(key, log);
        }
        let outcome = log.borrow_mut().write(order, plan, from, at);
        let grown = log.borrow().end - before;
        let mut inside = self.inside.borrow_mut();
        inside.used_bytes += grown;
        if outcome.is_ok() {
            inside.remnants.remove(&key);
        } else if !log.borrow().exists {
            inside.remnants.insert(key);
        }
        outcome
    }

    fn remove_now(&self, log: &Shared, order: &RemoveOrder) -> Result<(), ChunkError> {
        if !log.borrow().exists {
            return Err(ChunkError::NotFound);
        }
        let before = log.borrow().end;
        let outcome = log.borrow_mut().remove(order.once);
        match outcome {
            Ok(()) => {
                let mut inside = self.inside.borrow_mut();
                inside.used_bytes += log.borrow().end - before;
                inside.remnants.insert(order.key);
                Ok(())
            }
            // A full disk must not keep us from making room.
            Err(ChunkError::NoSpace { .. }) => self.unlink(order.key, log),
            Err(error) => Err(error),
        }
    }

    /// Removes a chunk's file and all that is known of it.
    fn unlink(&self, key: ChunkKey, log: &Shared) -> Result<(), ChunkError> {
        self.disk.remove(&name_of(key))?;
        let mut inside = self.inside.borrow_mut();
        inside.used_bytes = inside.used_bytes.saturating_sub(log.borrow().end);
        inside.logs.remove(&key);
        inside.remnants.remove(&key);
        *log.borrow_mut() = Log::absent(key);
        Ok(())
    }

    /// Waits until all that the log holds now outlives a loss of power.
    async fn settle(&self, log: &Shared) -> Result<(), ChunkError> {
        loop {
            let (file, end, synced, named, failed, key) = {
                let log = log.borrow();
                (log.file.clone(), log.end, log.synced_to >= log.end, log.named, log.failed, log.key)
            };
            if let Some(error) = failed {
                return Err(error);
            }
            let waited = async {
                if let (Some(file), false) = (&file, synced) {
                    file.sync().await?;
                }
                if !named {
                    self.disk.sync_shard(name_of(key).shard).await?;
                }
                io::Result::Ok(())
            };
            if let Err(error) = waited.await {
                // Linux forgets what it could not write (fsync(2)), so asking again would succeed and be untrue.
                let error = ChunkError::from(error);
                log.borrow_mut().failed = Some(error);
                return Err(error);
            }
            let mut log = log.borrow_mut();
            let same = match (&file, &log.file) {
                (Some(a), Some(b)) => Rc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            };
            // Another file in its place holds the same, but its name may not be on disk yet.
            if same {
                log.note_synced(end);
                log.named = file.is_some();
                return Ok(());
            }
        }
    }

    async fn finish(&self, log: &Shared, id: WriteId, wanted: bool, durable: bool) -> Result<(), ChunkError> {
        if wanted && !durable {
            if let Err(error) = self.settle(log).await {
                self.inside.borrow_mut().applied.fail(id, error);
                return Err(error);
            }
            self.inside.borrow_mut().applied.make_durable(id);
        }
        if log.borrow().is_due() && !log.borrow().compacting && log.borrow().failed.is_none() {
            // That it did not work out is no matter of the write's; the next one tries again.
            let _ = self.compact(log).await;
        }
        Ok(())
    }
}

impl Inside {
    /// Whether there was room for all of its deeds.
    fn inherit(&mut self, log: &Log) -> bool {
        log.deeds.iter().all(|deed| self.applied.inherit(deed).is_ok())
    }

    /// Keeps a log at hand, and lets go of the one that was used longest ago if there are too many.
    fn keep(&mut self, key: ChunkKey, log: &Shared) {
        if self.logs.len() >= OPEN_MAX {
            // One that failed is kept: its file may not hold what it seems to. One in use is in use.
            let idle = self
                .logs
                .iter()
                .filter(|(_, (log, _))| Rc::strong_count(log) == 1 && log.borrow().failed.is_none());
            if let Some(oldest) = idle.min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key) {
                let unsettled = self.logs.remove(&oldest).is_some_and(|(log, _)| !log.borrow().is_settled());
                if unsettled {
                    self.unsettled.insert(oldest);
                }
            }
        }
        self.logs.insert(key, (log.clone(), self.tick));
    }

    fn next_remnants(&self, count: usize) -> Vec<ChunkKey> {
        let turn = if self.remnants.is_empty() { 0 } else { self.tick as usize % self.remnants.len() };
        self.remnants.iter().cycle().skip(turn).take(count.min(self.remnants.len())).copied().collect()
    }
}

#[async_trait(?Send)]
impl ChunkStore for FileStore {
    async fn read(
        &self,
        key: ChunkKey,
        offset: u64,
        len_bytes: u32,
        into: &Lease,
        at: u64,
    ) -> Result<u32, ChunkError> {
        self.limits.check(offset, len_bytes, into, at)?;
        let log = self.log(key)?;
        let log = log.borrow();
        if !log.exists {
            return Err(ChunkError::NotFound);
        }
        if offset + u64::from(len_bytes) > log.len_bytes {
            return Err(ChunkError::OutOfRange { len_bytes: log.len_bytes });
        }
        log.read(offset, len_bytes, into, at)
    }

    async fn write(&self, order: &WriteOrder, from: &Lease, at: u64) -> Result<(), ChunkError> {
        self.limits.check(order.offset, order.len_bytes, from, at)?;
        let log = self.log(order.key)?;
        let durable =
            self.once(&log, &order.once, &order.into(), || self.write_now(&log, order, from, at))?;
        self.finish(&log, order.once.id, order.durable, durable).await
    }

    async fn remove(&self, order: &RemoveOrder) -> Result<(), ChunkError> {
        let log = self.log(order.key)?;
        let durable = self.once(&log, &order.once, &order.into(), || self.remove_now(&log, order))?;
        let outcome = self.finish(&log, order.once.id, order.durable, durable).await;
        drop(log);
        self.sweep(SWEPT_AT_A_TIME);
        outcome
    }

    async fn stat(&self, key: ChunkKey) -> Result<ChunkStat, ChunkError> {
        let log = self.log(key)?;
        let log = log.borrow();
        if log.exists { Ok(ChunkStat { len_bytes: log.len_bytes }) } else { Err(ChunkError::NotFound) }
    }

    async fn flush(&self) -> Result<(), ChunkError> {
        FileStore::flush(self).await
    }

    fn retire(&self, writer: u64) {
        self.inside.borrow_mut().applied.retire(writer);
    }

    fn end_grace(&self) {
        self.inside.borrow_mut().applied.end_grace();
        self.sweep(usize::MAX);
    }
}
