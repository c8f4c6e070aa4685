//! A folder of the system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;
use wavetank_contract::Lease;

use super::{Disk, DiskFile, Name};

/// Where the thread is while the disk takes its time.
#[derive(Clone, Debug, Default)]
pub enum Waits {
    /// It waits too. For tools and tests: a server's network would stand still.
    #[default]
    Here,
    /// It goes on; a thread of tokio's pool waits.
    #[cfg(feature = "tokio")]
    OnPool(tokio::runtime::Handle),
}

impl Waits {
    async fn sync(&self, file: Arc<File>, all: bool) -> io::Result<()> {
        let sync = move || if all { file.sync_all() } else { file.sync_data() };
        match self {
            Waits::Here => sync(),
            #[cfg(feature = "tokio")]
            Waits::OnPool(runtime) => runtime.spawn_blocking(sync).await.map_err(io::Error::other)?,
        }
    }
}

/// A folder with 256 folders for the shards. One process has it at a time.
#[derive(Debug)]
pub struct FolderDisk {
    root: PathBuf,
    waits: Waits,
    writable: bool,
    /// Held as long as we live: it is locked.
    _lock: Option<File>,
}

impl FolderDisk {
    /// Opens a folder for reading and writing, and makes what is missing of it.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when another process has it.
    pub fn open(root: &Path, waits: Waits) -> io::Result<FolderDisk> {
        fs::create_dir_all(root)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(root.join("lock"))?;
        lock.try_lock().map_err(|why| match why {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another process has the folder open for writing")
            }
            TryLockError::Error(error) => error,
        })?;
        let mut made = false;
        for shard in 0..=u8::MAX {
            match fs::create_dir(root.join(format!("{shard:02x}"))) {
                Ok(()) => made = true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        if made {
            File::open(root)?.sync_all()?;
        }
        Ok(FolderDisk { root: root.into(), waits, writable: true, _lock: Some(lock) })
    }

    /// Opens a folder that is not to be changed. It takes no lock: whoever else writes there makes reads fail.
    ///
    /// # Errors
    /// The system's.
    pub fn open_read_only(root: &Path) -> io::Result<FolderDisk> {
        fs::read_dir(root)?;
        Ok(FolderDisk { root: root.into(), waits: Waits::Here, writable: false, _lock: None })
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(format!("{:02x}", name.shard)).join(&name.file)
    }

    fn allow(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }

    fn file(&self, file: File) -> Rc<dyn DiskFile> {
        Rc::new(FolderFile { file: Arc::new(file), waits: self.waits.clone() })
    }
}

#[async_trait(?Send)]
impl Disk for FolderDisk {
    fn is_writable(&self) -> bool {
        self.writable
    }

    fn list(&self) -> io::Result<Vec<(Name, u64)>> {
        let mut names = Vec::new();
        for shard in 0..=u8::MAX {
            let entries = match fs::read_dir(self.root.join(format!("{shard:02x}"))) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                // A name that is no UTF-8 is none of ours, and neither is what is no file.
                if let (Ok(file), true) = (entry.file_name().into_string(), entry.file_type()?.is_file()) {
                    names.push((Name { shard, file }, entry.metadata()?.len()));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &Name) -> io::Result<Option<Rc<dyn DiskFile>>> {
        match OpenOptions::new().read(true).write(self.writable).open(self.path(name)) {
            Ok(file) => Ok(Some(self.file(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &Name) -> io::Result<Rc<dyn DiskFile>> {
        self.allow()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name))?;
        Ok(self.file(file))
    }

    fn rename(&self, from: &Name, to: &Name) -> io::Result<()> {
        self.allow()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        self.allow()?;
        fs::remove_file(self.path(name))
    }

    async fn sync_shard(&self, shard: u8) -> io::Result<()> {
        let folder = File::open(self.root.join(format!("{shard:02x}")))?;
        self.waits.sync(Arc::new(folder), true).await
    }
}

struct FolderFile {
    file: Arc<File>,
    waits: Waits,
}

#[async_trait(?Send)]
impl DiskFile for FolderFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(to, offset)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.file.write_all_at(from, offset)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)
    }

    async fn sync(&self) -> io::Result<()> {
        self.waits.sync(self.file.clone(), false).await
    }

    fn read_into(&self, offset: u64, lease: &Lease, at: u64, len: usize) -> io::Result<()> {
        lease.read_from(self.file.as_fd(), offset, at, len)
    }

    fn write_from(&self, offset: u64, lease: &Lease, at: u64, len: usize) -> io::Result<()> {
        lease.write_to(self.file.as_fd(), offset, at, len)
    }
}
