//! Our own protocol on the engine's socket.
//!
//! A client begins with [`MAGIC`], which cannot be a length of the upstream protocol, and goes on with frames. A frame is a header
//! of 16 bytes, all in little-endian order (`u32` length of the body, `u16` kind, `u16` zero, `u64` id), and a body of at most
//! [`BODY_BYTES_MAX`]. Replies bear the id of what they answer and come in any order. `docs/ipc.md` has the tables.

mod frame;
mod message;

pub use frame::{Frame, Frames, HEADER_BYTES, TooLong};
pub use message::{FromClient, FromEngine, Hello, Malformed, Ring, Welcome};

/// What a native client says first. As a length it would be 1.26 GB.
pub const MAGIC: [u8; 4] = *b"WTNK";

/// Longest body of a frame, in bytes.
pub const BODY_BYTES_MAX: u32 = 4096;

/// The oldest version of the protocol that is spoken here.
pub const VERSION_MIN: u16 = 1;

/// The newest version of the protocol that is spoken here.
pub const VERSION_MAX: u16 = 1;

/// Feature: the engine gives rings.
pub const FEATURE_RING: u64 = 1;

/// Features of this side.
pub const FEATURES: u64 = FEATURE_RING;

/// Names of servers that a ring's submissions may use.
pub const SERVER_INDEX_MAX: u16 = 255;
