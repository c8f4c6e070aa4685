//! Why there is no memory.

use thiserror::Error;
use wavetank_contract::error::{AllocError, KeyError, RegisterError};

/// Why there is no lease, or no arena. Nothing has changed when one of these is returned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// A lease has at least one byte.
    #[error("a lease of 0 bytes was asked for; the smallest is 1 byte")]
    Empty,
    /// Longer than the longest slot: this will never succeed.
    #[error(
        "a lease of {asked_bytes} bytes was asked for, the longest of this memory is {limit_bytes}; \
         cut the transfer into chunks or make the arena, or bytes_max of the pool of extents, larger"
    )]
    TooLong {
        /// Bytes asked for.
        asked_bytes: u64,
        /// The longest slot.
        limit_bytes: u64,
    },
    /// No slot now: this succeeds when enough leases have come back.
    #[error(
        "no slot for {asked_bytes} bytes: {leases} leases are out, {free_bytes} bytes are free, {largest_free_bytes} of \
         them in one slot; drop leases, wait for works to complete, or make the arena larger"
    )]
    Exhausted {
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes in free slots of any size.
        free_bytes: u64,
        /// The longest lease that would succeed now; 0 when nothing is free.
        largest_free_bytes: u64,
        /// Leases whose memory is not back yet.
        leases: u32,
    },
    /// Somebody leased from the region past its arena.
    #[error(
        "byte {offset} of the arena's region was leased past the arena; only the arena may lease from its region"
    )]
    LeasedElsewhere {
        /// Where, in bytes from the start of the region.
        offset: u64,
    },
    /// An arena starts with a region of which nothing is leased.
    #[error("the region has {leases} live leases; an arena needs one that nobody else leases from")]
    RegionInUse {
        /// How many.
        leases: u32,
    },
    /// The extents of all sessions have as many bytes as they may.
    #[error(
        "an extent of {asked_bytes} bytes for a session is past the {limit_bytes} bytes of its pool: {in_use_bytes} are in \
         use, {retiring_bytes} wait for works; close sessions, wait for works to complete, or raise bytes_max"
    )]
    PoolFull {
        /// Bytes of the extent.
        asked_bytes: u64,
        /// Bytes of all extents at most.
        limit_bytes: u64,
        /// Bytes that open sessions have.
        in_use_bytes: u64,
        /// Bytes of closed sessions that are still used.
        retiring_bytes: u64,
    },
    /// A session's memory comes from one pool.
    #[error("this session's memory comes from another pool; lease all of it from the one it began with")]
    OtherPool,
    /// A session has had as many extents as can be told apart.
    #[error("this session has had {0} extents, as many as can be told apart; close it and open another")]
    ExtentsUsedUp(u32),
    /// No memory for an extent.
    #[error("no extent for a session: {0}")]
    Allocate(#[from] AllocError),
    /// An extent could not be registered.
    #[error("an extent could not be registered for its session: {0}")]
    Register(#[from] RegisterError),
    /// An extent's key could not be exported.
    #[error("the key of an extent could not be exported for its session: {0}")]
    Export(#[from] KeyError),
}
