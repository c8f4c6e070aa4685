//! Where a server of the examples keeps its chunks, by flags.

use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use wavetank_rpc::{AppliedLimits, FileStore, FolderDisk, MemoryStore, StoreLimits, Waits};

use crate::station::Outcome;

/// The store.
#[derive(Clone, Debug, Args)]
pub(crate) struct Keeping {
    /// memory, or a folder.
    #[arg(long, default_value = "memory", value_name = "memory|DIR")]
    store: PathBuf,
    /// All that is kept, in MiB.
    #[arg(long, default_value_t = 1024)]
    capacity_mib: u64,
}

/// What was opened.
pub(crate) enum Store {
    Memory(MemoryStore),
    Files(FileStore),
}

impl Keeping {
    /// Opens it. A folder's disk is waited for on the runtime's pool of threads; without one, where time is virtual, right here.
    pub(crate) fn open(&self, runtime: Option<tokio::runtime::Handle>) -> Outcome<Store> {
        let limits = StoreLimits {
            call_bytes_max: 64 << 20,
            capacity_bytes: self.capacity_mib << 20,
            ..StoreLimits::default()
        };
        let applied = AppliedLimits::default();
        if self.store.as_os_str() == "memory" {
            return Ok(Store::Memory(MemoryStore::new(limits, applied)));
        }
        let disk = FolderDisk::open(&self.store, runtime.map_or(Waits::Here, Waits::OnPool))?;
        Ok(Store::Files(FileStore::open(Rc::new(disk), limits, applied)?))
    }
}
