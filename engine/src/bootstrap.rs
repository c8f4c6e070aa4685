//! The out-of-band exchange: how two processes tell each other where their endpoints are, and when they may send.
//!
//! A queue pair is connected by handing each side the other's address, over anything but RDMA. The order of things:
//!
//! 1. open endpoints, and read their addresses;
//! 2. [`exchange`](Bootstrap::exchange) them, with keys of memory that the peer may reach and up to 4 KiB of anything;
//! 3. connect each endpoint with its peer's address, and wait until it is ready to send: some devices shake hands (iWARP);
//! 4. [`confirm`](Bootstrap::confirm): answers once the peer's endpoints are ready too;
//! 5. post.
//!
//! [`join`] does all of it over a driver. Addresses and keys are opaque bytes, so it works with every backend; both sides
//! use the same one. Between steps nothing but the exchange is awaited: it never holds a context, which stays on its thread.
//!
//! * [`Handshake`] is the exchange as a machine, with neither sockets nor clocks.
//! * [`StreamBootstrap`] runs it over any stream of bytes, with one deadline for all of it.
//! * [`TcpBootstrap`] and [`Listener`] are that over TCP.
//! * [`Bootstrap`] is for those who have a channel of their own (a cluster manager, an RPC, an encrypted stream).
//!
//! Every frame has a checksum and limits, and a peer's bytes are never trusted with memory or a log line. Nothing is
//! authenticated or encrypted: whoever reaches the port can ask for what is offered there. Where the network is not trusted,
//! run [`StreamBootstrap`] over a stream that does both.

use async_trait::async_trait;

mod error;
pub mod frame;
mod garbage;
pub mod handshake;
mod introduction;
mod join;
#[cfg(feature = "tokio")]
mod listener;
pub mod message;
mod offer;
mod outbox;
mod reader;
mod refusal;
mod step;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "tokio")]
mod tcp;
mod text;

pub use error::{BadKey, BootstrapError};
pub use garbage::{BadOffer, Garbage};
pub use handshake::Handshake;
pub use introduction::{InstanceId, Introduction, Peer, Role, VersionRange};
pub use join::{Crank, Joined, Plan, Reach, Share, join};
#[cfg(feature = "tokio")]
pub use listener::{Heard, Listener, ListenerConfig, Rejected};
pub use offer::{NamedKey, Offer};
pub use refusal::RefusalCode;
pub use step::Step;
#[cfg(feature = "tokio")]
pub use stream::StreamBootstrap;
#[cfg(feature = "tokio")]
pub use tcp::TcpBootstrap;
pub use text::Said;

/// A way to exchange addresses with one peer, once. Calls come in the order in which they stand here.
///
/// Whoever implements it decides how long each may take; none may wait for ever. Its futures are `Send`: the exchange may
/// run on another thread than the device.
#[async_trait]
pub trait Bootstrap: Send {
    /// Hands our offer over and answers with the peer's, which has as many endpoints.
    ///
    /// # Errors
    /// Nothing was agreed upon, and nothing will be.
    async fn exchange(&mut self, offer: &Offer) -> Result<Offer, BootstrapError>;

    /// Lets about a millisecond pass, while our endpoints shake hands with the peer's.
    ///
    /// # Errors
    /// There is no point in waiting on: the time is up, or the peer went away or refused.
    async fn pause(&mut self) -> Result<(), BootstrapError>;

    /// Says that our endpoints are ready to send, and answers once the peer's are and it knows of ours. Only then may either
    /// side post what needs the other.
    ///
    /// # Errors
    /// As [`exchange`](Self::exchange).
    async fn confirm(&mut self) -> Result<(), BootstrapError>;

    /// Ends it from this side, and tells the peer why if that can be done at once. Errors of the calls above have been told.
    async fn refuse(&mut self, code: RefusalCode, text: &str);
}
