//! The protocol of SeaweedFS's RDMA sidecar: what its Go client says, and what its engine answers.
//!
//! A frame is a `u32` in little-endian order and as many bytes of MessagePack: one value, adjacently tagged by `type` and `data`.
//! Requests are taken in every form that upstream's engine took (maps or arrays on either level, `data` first, keys that nobody
//! knows); replies are maps with names, which the Go client and the Rust enum both read, and which may carry more.

mod frame;
mod go;
mod message;

pub use frame::{Chunk, FRAME_BYTES_MAX, Frames, REPLY_BYTES_MAX, frame};
pub use go::request_as_go;
pub use message::{
    Capabilities, CompleteRead, CompleteReadResponse, DecodeError, ErrorReply, GetCapabilities, Message,
    Ping, Pong, StartRead, StartReadResponse, decode, encode,
};
