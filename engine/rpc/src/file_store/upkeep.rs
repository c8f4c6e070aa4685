//! Gives back what is of the past: copies logs, and removes files of removed chunks.

use std::rc::Rc;

use super::{FileStore, Inside, Shared, copy_name_of, name_of};
use crate::error::ChunkError;

impl FileStore {
    /// Puts a new file with what counts in the place of the old one, unless more is written meanwhile.
    pub(super) async fn compact(&self, log: &Shared) -> Result<(), ChunkError> {
        let _compacting = Compacting::start(log);
        let key = log.borrow().key;
        let copy = copy_name_of(key);
        // One that was given up before may be in the way.
        let _ = self.disk.remove(&copy);
        let file = self.disk.create(&copy)?;
        let (end, old) = (log.borrow().end, log.borrow().file.clone());
        let copied = {
            let log = log.borrow();
            let open = |inside: &Inside| {
                let deeds = log.deeds.iter().filter(|deed| inside.applied.is_open(deed.once.id));
                deeds.copied().collect()
            };
            let deeds = open(&self.inside.borrow());
            log.copy_to(file.clone(), deeds)
        };
        let synced = match copied {
            Ok(new) => file.sync().await.map(|()| new).map_err(ChunkError::from),
            Err(error) => Err(error),
        };
        let still = {
            let log = log.borrow();
            let same = matches!((&old, &log.file), (Some(a), Some(b)) if Rc::ptr_eq(a, b));
            same && log.end == end && log.failed.is_none()
        };
        let new = match synced {
            Ok(new) if still => new,
            other => {
                let _ = self.disk.remove(&copy);
                return other.map(|_| ());
            }
        };
        self.disk.rename(&copy, &name_of(key))?;
        {
            let mut inside = self.inside.borrow_mut();
            inside.used_bytes = (inside.used_bytes + new.end).saturating_sub(end);
            log.borrow_mut().become_copy(new);
        }
        self.disk.sync_shard(name_of(key).shard).await?;
        let mut log = log.borrow_mut();
        if log.file.as_ref().is_some_and(|now| Rc::ptr_eq(now, &file)) {
            log.named = true;
        }
        Ok(())
    }

    /// Removes files of removed chunks of which no deed may be repeated any more.
    pub(super) fn sweep(&self, count: usize) {
        let after = self.inside.borrow_mut().next_remnants(count);
        for key in after {
            let Ok(log) = self.log(key) else {
                continue;
            };
            let (exists, has_file) = (log.borrow().exists, log.borrow().file.is_some());
            if exists || !has_file {
                self.inside.borrow_mut().remnants.remove(&key);
                continue;
            }
            let open = {
                let inside = self.inside.borrow();
                log.borrow().deeds.iter().any(|deed| inside.applied.is_open(deed.once.id))
            };
            // Two: the table's and ours. Whoever else has it is about to write or to sync.
            if !open && Rc::strong_count(&log) <= 2 && self.disk.is_writable() {
                // What cannot be removed now is looked at again.
                let _ = self.unlink(key, &log);
            }
        }
    }
}

/// Says that a log is being copied, until it is dropped.
struct Compacting<'a>(&'a Shared);

impl Compacting<'_> {
    fn start(log: &Shared) -> Compacting<'_> {
        log.borrow_mut().compacting = true;
        Compacting(log)
    }
}

impl Drop for Compacting<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().compacting = false;
    }
}
