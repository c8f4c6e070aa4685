//! Clients over a Unix socket: SeaweedFS's protocol, our own, and rings in shared memory.
//!
//! A [`Conversation`] is a machine that knows neither sockets nor clocks: bytes and time go in; bytes, descriptors to pass and
//! reads to make come out. A [`Server`] is a thin shell of sockets and tasks around one for each connection.

mod commons;
mod conversation;
mod door;
mod limits;
mod outbox;
mod peer;
mod server;
mod sessions;
mod stats;

pub use commons::Commons;
pub use conversation::{Ask, Conversation, Over, ReadKey};
pub use door::{Door, DoorConfig, DoorError};
pub use limits::ClientLimits;
pub use outbox::Passed;
pub use peer::{Admitted, Peer};
pub use server::{Rings, Server, ServerConfig};
pub use stats::Stats;
