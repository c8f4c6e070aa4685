//! Reads SeaweedFS volume files (`.dat` and `.idx`), and writes small ones for tests. Knows no RDMA and no HTTP.
//!
//! Everything that decides what a byte means is a pure function over slices, so the same code serves a caller who
//! has the files ([`VolumeFiles`]) and one who holds the `.dat` in some other memory and fetches it record by record:
//!
//! 1. [`SuperBlock::parse`] on the first bytes gives the [`Version`] and where records begin;
//! 2. [`Index::parse`] folds the `.idx` log into an ordered map, and [`Volume::assemble`] holds every live entry
//!    against the length of the `.dat` before anything is allocated or fetched from those numbers;
//! 3. [`Volume::lookup`] gives an [`IndexEntry`], [`IndexEntry::record_range`] the bytes to fetch, and
//!    [`Needle::parse`] what they hold, checked against that entry and against the checksum.
//!
//! Nothing here depends on time, chance or hash order. No file content can make this crate panic, overflow, or
//! allocate more than the files themselves are long.
//!
//! # Supported
//!
//! * Superblock and needle records of versions 1, 2 and 3; superblock extra bytes are skipped.
//! * All needle fields: data, flags, name, mime, last modified, TTL, pairs, append time.
//! * CRC32-C of the data, raw and in the masked form of servers before 3.09; [`Checksum::form`] says which was found.
//! * `.idx` (and, by its equal layout, `.sdx`) with 4-byte or 5-byte offsets. The entry cannot tell the two apart:
//!   [`OffsetWidth`] is an argument, [`OffsetWidth::from_vif`] the place where a detector plugs in.
//! * A `.dat` that grows or is vacuumed while it is read: a record that is not the one the index promised is an
//!   error of its own ([`NeedleError::IdMismatch`], [`NeedleError::SizeMismatch`]) and never data.
//!
//! # Rejected
//!
//! * Versions other than 1 to 3, and a volume whose copy never finished (`.note` beside it).
//! * A live index entry that points before the first record or past the end of the `.dat`.
//! * The superblock's extra bytes are not decoded; an unknown flag bit is kept in [`Flags`] and what it may have put
//!   behind the known fields is skipped.
//! * Systems other than Unix: [`VolumeFiles`] reads at an offset and tells files apart by their inode.
//! * Left to the caller: gzip ([`Flags::is_compressed`]), chunk manifests ([`Flags::is_chunk_manifest`]), expiry
//!   ([`Needle::is_expired_at`]), cookies ([`Needle::check_cookie`]).
//! * Not read at all: `.vif`, `.ldb`, erasure-coded shards, 4-byte volumes beyond 32 GiB (upstream probes a second
//!   time 32 GiB further on; here that is a size mismatch).

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
