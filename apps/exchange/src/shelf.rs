//! Where an exporter's volumes stand: what it needs of whoever reads the files.

mod stored;

use wavetank_contract::Lease;
use wavetank_volume::{Cookie, Needle, NeedleId, Version};

use crate::calls::{About, Standing, Which};
use crate::outcome::Absence;

pub use stored::{StoreShelf, StoreShelfConfig};

/// A needle that was found: its record in one opening of a volume's files, and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// The volume.
    pub volume: u32,
    /// The needle.
    pub id: NeedleId,
    /// Which writing of it. Two that are equal have the same bytes.
    pub which: Which,
    /// Layout of the record.
    pub version: Version,
    /// What is known of it.
    pub about: About,
}

impl Shelved {
    /// Bytes of the record without its padding, which nobody reads.
    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.which.size_bytes, self.version)
    }
}

/// Bytes of a record without its padding.
pub(crate) fn record_bytes(size_bytes: u32, version: Version) -> u64 {
    wavetank_volume::RecordHeader::LEN_BYTES as u64 + u64::from(size_bytes) + version.tail_len_bytes()
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

/// Volumes and their files. It is called on the engine's thread: what it does is short, or waits for a disk.
pub trait Shelf: 'static {
    /// Looks for volumes that have come and gone, and for what changed in all of them. Answers those that changed.
    fn refresh(&self) -> Vec<u32>;

    /// The volumes, in order of their numbers.
    fn volumes(&self) -> Vec<Standing>;

    /// Finds a needle, as it is in the files now. Takes up first what was written since; what changed that way is told by the
    /// next [`refresh`](Self::refresh) all the same.
    ///
    /// # Errors
    /// Why it is not there to be read. A cookie that is not its own is one reason.
    fn find(&self, volume: u32, id: NeedleId, cookie: Cookie, now_unix_ns: u64) -> Result<Shelved, Absence>;

    /// Reads `len` bytes at `offset` of a needle's content, inflated if it is compressed, to `at` of a lease. They were verified
    /// with all of the needle, now or before, in the same file. Answers the CRC32-C that they had then, where it is known: of the
    /// whole content of a needle that is not compressed. If they have another now, the file rotted since: [`doubt`](Self::doubt).
    ///
    /// # Errors
    /// Damaged, unreadable, or stale: the files are others than they were when it was found.
    fn read(
        &self,
        needle: &Shelved,
        offset: u64,
        len: u64,
        into: &Lease,
        at: u64,
    ) -> Result<Option<u32>, Absence>;

    /// Forgets that a needle was verified: before anything of it is read again, all of it is.
    fn doubt(&self, needle: &Shelved);

    /// Reads a needle's record as it stands in the file, without its padding, verified.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn record(&self, needle: &Shelved, into: &mut Vec<u8>) -> Result<(), Absence>;

    /// Whether this writing of a needle is still the one that would be found. Looks at no file.
    fn is_current(&self, volume: u32, id: NeedleId, which: &Which) -> bool;
}
