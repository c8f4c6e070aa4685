//! Two processes: one serves memory, the other replays a workload on it and checks every byte.
//!
//! The client tells with the [bootstrap](wavetank_engine::bootstrap) what it [needs](Need): regions, and what is to be in them.
//! The server allocates and registers them, fills them as their owner, and connects as many endpoints as the client has. Then
//! the client reads and writes alone, and knows what READs have to bring, because the pattern of a region follows from its
//! number. WRITEs are held to account at the end: the client reads every region whole over the wire and sweeps it, and the
//! server says what its memory holds, as digests, which have to be of what was read.
//!
//! A client that ends, however it ends, closes its stream, and what it had comes back.

#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod control;
#[cfg(feature = "tokio")]
mod event;
mod need;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod serving;
#[cfg(feature = "tokio")]
mod tenant;
#[cfg(feature = "tokio")]
mod turning;

#[cfg(feature = "tokio")]
pub use client::{AttachError, Peer, attach, attach_simulated, introduction};
#[cfg(feature = "tokio")]
pub use control::ControlError;
#[cfg(feature = "tokio")]
pub use event::{Event, Served};
pub use need::{BadNeed, Fill, Need, Wanted};
#[cfg(feature = "tokio")]
pub use server::{ServeError, Server, ServerConfig};

/// What a server may do wrong on purpose, to see that its clients notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// One bit of one byte in the first region.
    Byte,
    /// The pattern of another generation in the first region.
    Tag,
    /// A digest that is not of the first region.
    Digest,
}

impl Canary {
    /// All of them.
    pub const ALL: [Canary; 3] = [Canary::Byte, Canary::Tag, Canary::Digest];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Canary::Byte => "byte",
            Canary::Tag => "tag",
            Canary::Digest => "digest",
        }
    }
}
