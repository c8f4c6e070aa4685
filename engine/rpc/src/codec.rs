//! Calls and answers as they travel in the inline part of a message, its *front*.
//!
//! Numbers are little-endian. A front begins with its version and its call, and ends with the CRC32-C of all before it:
//!
//! | front | layout |
//! |---|---|
//! | request | version u8, call u8, flags u16, inode u64, index u32, then what the call needs, CRC32-C u32 |
//! | reply | version u8, call u8, status u16, then the answer or two details of the error u64, CRC32-C u32 |
//!
//! Flags: bit 0 `durable`. Status 0 is success, the others are those of [`ChunkError::to_wire`].

mod reader;
mod reply;
mod request;

pub use reader::Malformed;
pub use reply::{Outcome, READ_INLINE_BYTES_MAX, ReadReply, Reply};
pub use request::{ReadCall, Request};

/// The version spoken here.
pub const VERSION: u8 = 1;

/// Longest front, in bytes.
pub const FRONT_BYTES_MAX: usize = 512;

const READ: u8 = 1;
const WRITE: u8 = 2;
const REMOVE: u8 = 3;
const STAT: u8 = 4;

const DURABLE: u16 = 1;

/// Bytes of the sum at the end.
const SUM_BYTES: usize = 4;

fn sealed(mut front: Vec<u8>) -> Vec<u8> {
    front.extend_from_slice(&crc32c::crc32c(&front).to_le_bytes());
    front
}
