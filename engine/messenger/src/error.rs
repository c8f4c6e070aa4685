//! Why a call on a messenger was refused.

use thiserror::Error;
use wavetank_contract::error::{AllocError, KeyError, OpenError, RegisterError};
use wavetank_contract::{Instant, Lease};
use wavetank_engine::SubmitReason;
use wavetank_engine::memory::MemoryError;

use crate::config::BadConfig;
use crate::connection::ConnectionId;
use crate::frame::FRONT_BYTES_MAX;
use crate::message::Data;
use crate::way::Way;

/// Why there is no messenger.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Its settings cannot be.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// No memory.
    #[error(transparent)]
    Allocate(#[from] AllocError),
    /// It cannot be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// It cannot be cut.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// No completion queue.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A message that was not taken. Its memory comes back.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct SendError {
    /// Why.
    pub reason: SendReason,
    /// Its data.
    pub data: Option<Data>,
    /// The memory for its reply.
    pub sink: Option<Lease>,
}

/// The reasons of a [`SendError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendReason {
    /// No such connection (any more).
    #[error("connection {0} is not there: it was closed or reset; connect again")]
    Unknown(ConnectionId),
    /// It is being closed.
    #[error("connection {0} is being closed")]
    Closing(ConnectionId),
    /// The queue is full.
    #[error("{0} messages wait on the connection, the limit; wait for replies or for `Released`")]
    QueueFull(u32),
    /// Too many requests.
    #[error("{0} requests wait for replies on the connection, the limit; wait for one")]
    TooManyRequests(u32),
    /// Too much inline.
    #[error("a front of {0} bytes, the longest is {FRONT_BYTES_MAX}; send it as data")]
    Front(usize),
    /// Too much data.
    #[error("{len} bytes of data, the peer takes {max} in a message; cut it")]
    TooLong {
        /// Data bytes.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// More than the lease has, or nothing.
    #[error("{len} bytes of data in a lease of {lease_len}; at least 1, and no more than there are")]
    Data {
        /// Data bytes.
        len: u64,
        /// The lease.
        lease_len: u64,
    },
    /// The lease is of memory that the messenger knows nothing of.
    #[error("the lease is of memory that is not the messenger's; give its registration with it")]
    Foreign,
    /// The sink is not in exposed memory of this connection.
    #[error("memory for a reply has to be leased with `expose` on the same connection")]
    Sink,
    /// The way cannot be.
    #[error("the data cannot travel by {}: see `Way` for what each needs", .0.name())]
    Way(Way),
    /// Its deadline has passed.
    #[error("the deadline {deadline} has passed: it is {now}")]
    DeadlinePassed {
        /// The deadline.
        deadline: Instant,
        /// The time.
        now: Instant,
    },
    /// No memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The connection has begun a new life since the request came.
    #[error("the request came in an earlier life of the connection: nobody waits for its reply")]
    StaleReply,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectRefused {
    /// A server's policy.
    #[error("a {0} does not dial; use a client's or a peer's policy")]
    Policy(crate::policy::Policy),
    /// Two equals find each other by their names.
    #[error("a lossless peer is connected by its name; give it with the address")]
    NoName,
    /// There is one already.
    #[error("there is a connection with peer {0} already, and two lossless peers have one")]
    Twice(u64),
    /// As many as may be.
    #[error("{0} connections are there, the limit; close one")]
    TooMany(u32),
}

/// A READ that did not begin. Its memory comes back.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct PullError {
    /// Why.
    pub reason: PullReason,
    /// The memory for it.
    pub lease: Box<Lease>,
}

/// The reasons of a [`PullError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PullReason {
    /// The connection is not there, or not the one that the key was imported for.
    #[error(
        "connection {0} is not there, or was made anew since its key came; ask the peer for the key again"
    )]
    NotConnected(ConnectionId),
    /// The lease is of memory that a READ may not land in.
    #[error("a READ lands in memory leased from the messenger, or exposed on the same connection")]
    Foreign,
    /// Not all of it is there.
    #[error("{len} bytes at {offset} are asked for of a peer's region of {there}")]
    Outside {
        /// Where.
        offset: u64,
        /// How much.
        len: u64,
        /// The region's length.
        there: u64,
    },
    /// The key is none.
    #[error("the peer's key cannot be used: {0}")]
    Key(KeyError),
    /// The driver did not take it.
    #[error(transparent)]
    Refused(SubmitReason),
}
