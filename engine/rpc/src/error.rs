//! What a call is answered with when it failed: values with stable numbers.

use std::io;

use thiserror::Error;
use wavetank_contract::Class;

/// Why a call on a chunk failed. Nothing of a failed write is visible, unless it says so.
///
/// It travels as a number and two details, so a number that this version does not know is a value too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// There is no such chunk.
    #[error("there is no such chunk")]
    NotFound,
    /// The range is not all inside the chunk.
    #[error("the range ends past the chunk's {len_bytes} bytes; stat it and read less")]
    OutOfRange {
        /// Bytes of the chunk.
        len_bytes: u64,
    },
    /// The store is full, by its own limit or the disk's.
    #[error(
        "no space: {need_bytes} more bytes are needed, {free_bytes} are known to be free; remove chunks or add disks"
    )]
    NoSpace {
        /// Bytes that this would take.
        need_bytes: u64,
        /// Bytes left of the store's limit; 0 where the disk said that it is full.
        free_bytes: u64,
    },
    /// The store may not be written.
    #[error("the store is read-only; write to another, or mount it for writing")]
    ReadOnly,
    /// What the store holds is not what was written. The data is lost here: read it from a replica.
    #[error(
        "the chunk is damaged where it is kept, at byte {offset}: read a replica and write the block again"
    )]
    CorruptAtRest {
        /// The first byte, in the chunk, of the block that is damaged; the whole chunk when it is 2^64 - 1.
        offset: u64,
    },
    /// What arrived is not what was sent. Nothing changed: send it again under a new id.
    #[error(
        "the data was damaged on the way: its CRC32-C is {found:#010x}, the sender says {expected:#010x}; send it again"
    )]
    CorruptOnTheWay {
        /// As the sender says.
        expected: u32,
        /// Of what arrived.
        found: u32,
    },
    /// The time was up. Whether a write was applied is not known: send it again, with the same id.
    #[error("the deadline passed; a write may or may not be applied: repeat it with the same id")]
    Deadline,
    /// Not now. Nothing changed and nothing was recorded: repeat it with the same id.
    #[error("the store is busy; repeat the call, with the same id, a little later")]
    Busy,
    /// More than one call, one chunk or one lease may have.
    #[error("{asked_bytes} bytes are more than the {limit_bytes} that may be")]
    TooLarge {
        /// As asked.
        asked_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Nothing was asked for.
    #[error("a read or write of 0 bytes; the least is 1 byte")]
    Empty,
    /// This id was used for another write.
    #[error(
        "the write id was used for another write before; count sequences, and never use a writer's number again"
    )]
    ConflictingId,
    /// The writer itself had said that this write is done.
    #[error(
        "the write is older than {oldest_open}, below which its writer has said all are done; it is not applied"
    )]
    Stale {
        /// The writer's oldest open sequence, as last heard.
        oldest_open: u64,
    },
    /// The system refused, in words of `errno(3)`. When it could not make a write durable, the write may be visible and the
    /// chunk takes no more until the store is opened again: what the disk kept is known only then.
    #[error("input or output failed: {}; look at the disk, and open the store again", io::Error::from_raw_os_error(*.errno))]
    Io {
        /// `errno(3)`; 0 where there is none.
        errno: i32,
    },
    /// The bytes of the call or its answer make no sense.
    #[error("the call cannot be read; the two sides may have different versions")]
    Malformed,
    /// A call or a version that the server does not know.
    #[error("the server does not know this call; use one with a version that it knows")]
    Unsupported,
    /// A number that this version does not know.
    #[error("error {0}, which this version does not know; ask the server's version")]
    Unknown(u16),
}

impl ChunkError {
    /// Byte 2^64 - 1: a chunk of which nothing can be read.
    pub const WHOLE_CHUNK: u64 = u64::MAX;

    /// Its number on the wire and its details. No error has the number 0, which is success.
    pub const fn to_wire(self) -> (u16, u64, u64) {
        match self {
            ChunkError::NotFound => (1, 0, 0),
            ChunkError::OutOfRange { len_bytes } => (2, len_bytes, 0),
            ChunkError::NoSpace { need_bytes, free_bytes } => (3, need_bytes, free_bytes),
            ChunkError::ReadOnly => (4, 0, 0),
            ChunkError::CorruptAtRest { offset } => (5, offset, 0),
            ChunkError::CorruptOnTheWay { expected, found } => (6, expected as u64, found as u64),
            ChunkError::Deadline => (7, 0, 0),
            ChunkError::Busy => (8, 0, 0),
            ChunkError::TooLarge { asked_bytes, limit_bytes } => (9, asked_bytes, limit_bytes),
            ChunkError::Empty => (10, 0, 0),
            ChunkError::ConflictingId => (11, 0, 0),
            ChunkError::Stale { oldest_open } => (12, oldest_open, 0),
            ChunkError::Io { errno } => (13, errno as u32 as u64, 0),
            ChunkError::Malformed => (14, 0, 0),
            ChunkError::Unsupported => (15, 0, 0),
            ChunkError::Unknown(0) => (u16::MAX, 0, 0),
            ChunkError::Unknown(number) => (number, 0, 0),
        }
    }

    /// From its number and details. Any will do: what does not fit is cut, what is unknown is [`ChunkError::Unknown`].
    pub const fn from_wire(number: u16, a: u64, b: u64) -> ChunkError {
        match number {
            1 => ChunkError::NotFound,
            2 => ChunkError::OutOfRange { len_bytes: a },
            3 => ChunkError::NoSpace { need_bytes: a, free_bytes: b },
            4 => ChunkError::ReadOnly,
            5 => ChunkError::CorruptAtRest { offset: a },
            6 => ChunkError::CorruptOnTheWay { expected: a as u32, found: b as u32 },
            7 => ChunkError::Deadline,
            8 => ChunkError::Busy,
            9 => ChunkError::TooLarge { asked_bytes: a, limit_bytes: b },
            10 => ChunkError::Empty,
            11 => ChunkError::ConflictingId,
            12 => ChunkError::Stale { oldest_open: a },
            13 => ChunkError::Io { errno: a as u32 as i32 },
            14 => ChunkError::Malformed,
            15 => ChunkError::Unsupported,
            number => ChunkError::Unknown(number),
        }
    }

    /// What to make of it.
    pub const fn class(self) -> Class {
        match self {
            ChunkError::Busy | ChunkError::Deadline | ChunkError::CorruptOnTheWay { .. } => Class::Retry,
            ChunkError::Empty | ChunkError::ConflictingId | ChunkError::Stale { .. } => Class::LocalBug,
            ChunkError::Io { .. } => Class::DeviceGone,
            _ => Class::PeerRefused,
        }
    }

    /// Whether the same call, with the same id, may help: nothing was recorded under it.
    pub const fn is_transient(self) -> bool {
        matches!(self, ChunkError::Busy | ChunkError::Deadline)
    }
}

impl From<io::Error> for ChunkError {
    fn from(error: io::Error) -> ChunkError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ChunkError::NoSpace { need_bytes: 0, free_bytes: 0 }
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => ChunkError::ReadOnly,
            _ => ChunkError::Io { errno: error.raw_os_error().unwrap_or(0) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_value_and_gives_the_same_number_back() {
        for number in 1..=u16::MAX {
            assert_eq!(ChunkError::from_wire(number, 1, 2).to_wire().0, number);
        }
        assert_eq!(ChunkError::from_wire(16, 1, 2), ChunkError::Unknown(16));
        assert_ne!(ChunkError::Unknown(0).to_wire().0, 0, "an error never looks like success");
    }

    #[test]
    fn numbers_and_details_are_the_published_ones() {
        let no_space = ChunkError::NoSpace { need_bytes: 7, free_bytes: 8 };
        let way = ChunkError::CorruptOnTheWay { expected: 7, found: 8 };
        for (error, wire) in [
            (ChunkError::NotFound, (1, 0, 0)),
            (ChunkError::OutOfRange { len_bytes: 7 }, (2, 7, 0)),
            (no_space, (3, 7, 8)),
            (ChunkError::ReadOnly, (4, 0, 0)),
            (ChunkError::CorruptAtRest { offset: 7 }, (5, 7, 0)),
            (way, (6, 7, 8)),
            (ChunkError::Deadline, (7, 0, 0)),
            (ChunkError::Busy, (8, 0, 0)),
            (ChunkError::TooLarge { asked_bytes: 7, limit_bytes: 8 }, (9, 7, 8)),
            (ChunkError::Empty, (10, 0, 0)),
            (ChunkError::ConflictingId, (11, 0, 0)),
            (ChunkError::Stale { oldest_open: 7 }, (12, 7, 0)),
            (ChunkError::Io { errno: 5 }, (13, 5, 0)),
            (ChunkError::Malformed, (14, 0, 0)),
            (ChunkError::Unsupported, (15, 0, 0)),
        ] {
            assert_eq!(error.to_wire(), wire);
            assert_eq!(ChunkError::from_wire(wire.0, wire.1, wire.2), error);
        }
    }

    #[test]
    fn the_systems_answers_are_told_apart() {
        let of = |errno| ChunkError::from(io::Error::from_raw_os_error(errno));
        assert_eq!(of(28), ChunkError::NoSpace { need_bytes: 0, free_bytes: 0 });
        assert_eq!(of(122), ChunkError::NoSpace { need_bytes: 0, free_bytes: 0 });
        assert_eq!(of(30), ChunkError::ReadOnly);
        assert_eq!(of(13), ChunkError::ReadOnly);
        assert_eq!(of(5), ChunkError::Io { errno: 5 });
    }
}
