//! Reads the volumes of a SeaweedFS server from its directories, while it runs, and writes small ones for tests. Knows no
//! RDMA and no HTTP, and never writes to what it reads.
//!
//! * [`Store`] is a set of directories: it finds volumes, says what it refuses, and picks up what comes and goes.
//! * [`VolumeFiles`] is one volume, a `.dat` with its index or shards with theirs. [`VolumeFiles::locate`] finds a needle
//!   and says where its data is, for whoever reads it into memory of his own ([`Located::extents`],
//!   [`Located::verifier`]); [`VolumeFiles::read_into`] reads, verifies and decompresses into a `Vec`. Both follow first
//!   what the server has written, and answer with an [`Outcome`].
//! * Everything that decides what a byte means is a pure function over slices: [`SuperBlock::parse`], [`Index::parse`],
//!   [`Volume::assemble`], [`Needle::parse`]. Who holds a `.dat` in other memory uses these alone.
//! * [`VolumeWriter`], [`VolumeOnDisk`], [`Generator`] and [`encode_shards`] make volumes for tests.
//!
//! Nothing here depends on time, chance or hash order: now is an argument ([`Ask::now_unix_ns`]). No file content can make
//! this crate panic, overflow, or allocate more than the files are long or the caller allowed. Files are read at an offset
//! and never mapped: one that its server cuts short would end the process.
//!
//! # What is served
//!
//! Only bytes that the needle's checksum covers. A read of a part verifies the whole first, once: it is remembered for as
//! long as the same file is open ([`Located::is_verified`]). A record that is not the one the index promised is never
//! data: the files are looked at again, opened again if they were replaced, and after three tries the answer is
//! [`Outcome::Stale`].
//!
//! # Supported
//!
//! * Superblock and needle records of versions 1, 2 and 3, with all their fields; superblock extra bytes are skipped.
//! * CRC32-C of the data, raw and in the masked form of servers before 3.09.
//! * `.idx`, `.sdx` and `.ecx` with offsets of 4 or 5 bytes, as the `.vif` says or else as the records show
//!   ([`WidthEvidence`]); records past 32 GiB with 4-byte offsets.
//! * Appends, overwrites and deletions, seen by the next read; an entry counts once its record is in the `.dat`.
//! * Vacuums and new copies: another file under the name, another superblock, a shorter file, or a record that does not
//!   match.
//! * Gzip, up to a limit; ranges are of the decompressed bytes. Data under the flag that is no gzip is served as it is.
//! * Chunk manifests, parsed ([`ChunkManifest`]); their chunks may be anywhere, and fetching them is the caller's.
//! * Erasure-coded volumes from the shards that are here: 10 and 4 of them or as the `.vif` says, 32 at most; `.ecj`. If
//!   one shard has rotted and the others are enough, [`VolumeFiles::read_into`] reads from those and names it.
//! * Expiry of needles with a TTL and a modification time, as upstream; the TTL in the superblock is only told.
//!
//! # Rejected
//!
//! * Versions other than 1 to 3, volumes whose copy never finished (`.note`), volumes whose `.dat` is in remote storage.
//! * An index that points before the first record, or past the end of the `.dat` with more behind it that does not.
//! * One number in two collections or directories.
//! * The superblock's extra bytes are not decoded; an unknown flag bit is kept in [`Flags`] and what it may have put
//!   behind the known fields is skipped.
//! * Systems other than Unix: files are read at an offset and told apart by their inode.
//! * Not read at all: `.ldb`, `.rdb`, `.ecsum`.

mod body;
mod bytes;
mod checksum;
mod entry;
mod files;
mod ids;
mod index;
mod inflate;
mod located;
mod manifest;
mod needle;
mod outcome;
mod reading;
mod record;
mod shards;
mod source;
mod store;
mod superblock;
mod ttl;
mod verify;
mod version;
mod vif;
mod volume;
mod width;
mod writer;

pub use body::{BodyPart, Flags};
pub use checksum::{Checksum, ChecksumForm, crc32c_masked, crc32c_raw};
pub use entry::{IndexEntry, OffsetWidth, UnknownOffsetWidth};
pub use files::{CodedPaths, FilesError, Followed, Freshness, OpenOptions, VolumeFiles};
pub use ids::{Cookie, NeedleId};
pub use index::{Index, IndexCounts, IndexError, IndexReadError};
pub use located::Located;
pub use manifest::{Chunk, ChunkManifest, ManifestError};
pub use needle::{CookieMismatch, Needle, NeedleError};
pub use outcome::{Ask, Content, Damage, Outcome};
pub use record::{Record, RecordError, RecordHeader, Records, padding_length, record_length};
pub use shards::{ShardLayout, TooFewShards};
pub use source::Extent;
pub use store::{Refreshed, Refusal, RefusalCause, Store, StoreDirectory, StoreError, VolumeId, VolumeName};
pub use superblock::{ReplicaPlacement, SuperBlock, SuperBlockError};
pub use ttl::Ttl;
pub use verify::{Verified, Verifier};
pub use version::Version;
pub use vif::{Vif, VifError};
pub use volume::{Lookup, ReadError, Volume, VolumeError};
pub use width::{WidthEvidence, WidthTally, WidthUndecided};
pub use writer::{
    EncodeError, Fate, Generator, NewNeedle, Padding, Vacuum, VolumeOnDisk, VolumeWriter, WriteError,
    WriterOptions, encode_shards, sorted_index,
};
