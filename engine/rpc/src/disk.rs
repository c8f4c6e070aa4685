//! What a [`FileStore`](crate::FileStore) stands on: folders of files, and the moments at which they are durable.
//!
//! Everything but waiting for the disk happens at once, on the caller's thread. What blocks for long is a future.

mod folder;

use std::fmt;
use std::io;
use std::rc::Rc;

use async_trait::async_trait;
use wavetank_contract::Lease;

pub use folder::{FolderDisk, Waits};

use crate::crc::BLOCK_BYTES;

/// A file of a disk: a shard, which is a folder of its own, and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Which folder.
    pub shard: u8,
    /// Its name there.
    pub file: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}/{}", self.shard, self.file)
    }
}

/// Folders of files.
#[async_trait(?Send)]
pub trait Disk {
    /// Whether it can be written at all.
    fn is_writable(&self) -> bool;

    /// Every file with its length, in the order of their names.
    fn list(&self) -> io::Result<Vec<(Name, u64)>>;

    /// Opens a file; `None` when there is none.
    fn open(&self, name: &Name) -> io::Result<Option<Rc<dyn DiskFile>>>;

    /// Makes an empty file; an error when there is one.
    fn create(&self, name: &Name) -> io::Result<Rc<dyn DiskFile>>;

    /// Puts a file in the place of another of its shard, at once: there is never neither.
    fn rename(&self, from: &Name, to: &Name) -> io::Result<()>;

    /// Removes a file. Whoever has it open can go on using it.
    fn remove(&self, name: &Name) -> io::Result<()>;

    /// Waits until what was created, renamed and removed in the shard before this call outlives a loss of power.
    async fn sync_shard(&self, shard: u8) -> io::Result<()>;
}

/// An open file.
#[async_trait(?Send)]
pub trait DiskFile {
    /// Its length.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Reads all of `to`; an error where the file ends before.
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()>;

    /// Writes all of `from`, or an error: then part of it may be there.
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()>;

    /// Cuts or lengthens it.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;

    /// Waits until what was written before this call, and the length, outlive a loss of power.
    async fn sync(&self) -> io::Result<()>;

    /// Reads into a lease, which has been checked to be long enough.
    fn read_into(&self, offset: u64, lease: &Lease, at: u64, len: usize) -> io::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        for done in (0..len).step_by(BLOCK_BYTES) {
            let part = &mut block[..(len - done).min(BLOCK_BYTES)];
            self.read_at(offset + done as u64, part)?;
            lease.write(at + done as u64, part);
        }
        Ok(())
    }

    /// Writes from a lease, which has been checked to be long enough.
    fn write_from(&self, offset: u64, lease: &Lease, at: u64, len: usize) -> io::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        for done in (0..len).step_by(BLOCK_BYTES) {
            let part = &mut block[..(len - done).min(BLOCK_BYTES)];
            lease.read(at + done as u64, part);
            self.write_at(offset + done as u64, part)?;
        }
        Ok(())
    }
}
