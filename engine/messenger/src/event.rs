//! What a messenger tells its user, and the reasons it gives.

use thiserror::Error;
use wavetank_contract::error::{ConnectError, KeyError, OpenError};
use wavetank_contract::{Class, Instant, Status};
use wavetank_engine::TransferError;
use wavetank_engine::bootstrap::{BootstrapError, RefusalCode};

use crate::connection::ConnectionId;
use crate::frame::{BadFrame, Failure};
use crate::hello::{BUSY, BadHello};
use crate::message::{Data, Incoming};

/// Something happened.
#[allow(clippy::large_enum_variant, reason = "a box would be an allocation for every message")]
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A peer has connected.
    Accepted {
        /// The connection.
        connection: ConnectionId,
        /// Whose it is, as it says.
        peer: u64,
    },
    /// A connection of ours is there, or there again: what was lined up is on its way.
    Established {
        /// The connection.
        connection: ConnectionId,
        /// The peer, as it says.
        peer: u64,
        /// Both sides go on where they were.
        resumed: bool,
    },
    /// A connection broke, and is being made again.
    Reconnecting {
        /// The connection.
        connection: ConnectionId,
        /// What broke it.
        cause: Cause,
    },
    /// A connection is gone, and all that was not acknowledged with it. Its name names nothing any more.
    Reset {
        /// The connection.
        connection: ConnectionId,
        /// What ended it.
        cause: Cause,
    },
    /// The peer knows nothing of us any more: it has restarted, or has given us up. Everything that was not acknowledged is lost;
    /// the connection goes on with the peer's new life.
    RemoteReset {
        /// The connection.
        connection: ConnectionId,
    },
    /// The peer does not want us, or cannot have us. The connection is gone.
    Refused {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        cause: Cause,
    },
    /// A peer that wanted to connect did not become one.
    Rejected {
        /// Why.
        cause: Cause,
    },
    /// A request, a one-way message, or one whose sender waits until it is let go of.
    Delivered(Incoming),
    /// A request of ours has its reply, or will have none.
    Replied {
        /// On which connection.
        connection: ConnectionId,
        /// The request.
        request: RequestId,
        /// The tag of its message.
        tag: u64,
        /// The reply. When there is none: why, and memory that was given for the data, if the peer can no longer write it.
        reply: Result<Incoming, Box<NoReply>>,
    },
    /// The receiver has let go of a held message; or it never had it.
    Released {
        /// On which connection.
        connection: ConnectionId,
        /// The tag of the message.
        tag: u64,
        /// Its data, back. `None`: there was none, or it was on its way when the connection ended; its memory goes back by itself
        /// then.
        data: Option<Data>,
        /// Whether the receiver had it.
        delivered: bool,
    },
    /// A READ that was asked for with [`pull`](crate::Messenger::pull) has ended.
    Pulled {
        /// On which connection.
        connection: ConnectionId,
        /// The caller's name for it.
        tag: u64,
        /// The memory with the bytes in it, or why there are none; then the memory goes back by itself.
        result: Result<wavetank_contract::Lease, Box<TransferError>>,
    },
    /// A one-way message was not sent: its deadline came first, or the peer does not take as much.
    Dropped {
        /// On which connection.
        connection: ConnectionId,
        /// The tag of the message.
        tag: u64,
        /// Why.
        why: DropReason,
    },
}

/// The name of a request. Never valid twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) wavetank_engine::slab::Key);

/// A request without a reply.
#[derive(Debug)]
pub struct NoReply {
    /// Why.
    pub why: RequestError,
    /// The memory that the request gave for the reply. `None`: there was none, or the peer may still write it; it goes back by
    /// itself when that is over.
    pub sink: Option<wavetank_contract::Lease>,
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Its deadline passed.
    #[error("no reply by the deadline {0}")]
    Deadline(Instant),
    /// The peer says that there is none.
    #[error("the peer has no reply: {}", match .0 {
        Failure::Expired => "the deadline had passed before work began",
        Failure::Unanswered => "whoever got the request let go of it",
        Failure::NoMemory => "it has no memory for it now; try again",
    })]
    Failed(Failure),
    /// The connection is gone, and with it whether the peer did anything.
    #[error("the connection was reset: {0}")]
    Reset(String),
    /// The peer has forgotten us, and with it whether it did anything.
    #[error("the peer began a new life, in which it knows nothing of the request")]
    RemoteReset,
    /// This side closed the connection.
    #[error("the connection was closed by this side")]
    Closed,
    /// The caller gave up.
    #[error("cancelled")]
    Cancelled,
    /// Longer than the peer takes.
    #[error("{len} bytes of data, the peer takes {max} in a message")]
    TooLong {
        /// Data bytes.
        len: u64,
        /// The peer's limit.
        max: u64,
    },
}

impl RequestError {
    /// What to make of it.
    pub const fn class(&self) -> Class {
        match self {
            RequestError::Deadline(_) | RequestError::Reset(_) | RequestError::RemoteReset => Class::PeerGone,
            RequestError::Failed(Failure::NoMemory) => Class::Retry,
            RequestError::Failed(_) => Class::PeerRefused,
            RequestError::Closed | RequestError::Cancelled => Class::Flushed,
            RequestError::TooLong { .. } => Class::LocalBug,
        }
    }
}

/// Why a one-way message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its deadline came first.
    Deadline,
    /// The peer takes less.
    TooLong {
        /// The peer's limit.
        max: u64,
    },
}

/// Why a connection broke, was refused, or was closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// A work failed.
    #[error("{status} of a frame; {}", status.advice())]
    Work {
        /// How it ended.
        status: Status,
    },
    /// Moving data failed.
    #[error("moving data: {0}")]
    Transfer(TransferError),
    /// Moving data took too long.
    #[error("no data moved for {0} ms")]
    Stuck(u64),
    /// Nothing was heard of the peer.
    #[error("the peer said nothing for {0} ms")]
    Silent(u64),
    /// The peer's end of the line was closed: its process is gone, or wants to be.
    #[error("the peer closed its line")]
    LineClosed,
    /// The handshake failed.
    #[error("connecting: {0}")]
    Bootstrap(#[from] BootstrapError),
    /// The peer's hello does not do.
    #[error("connecting: {0}")]
    Hello(#[from] BadHello),
    /// There is no line to the peer.
    #[error("the peer was not reached: {0}")]
    Unreached(String),
    /// It took too long.
    #[error("connecting was not over after {0} ms")]
    ConnectTimeout(u64),
    /// It was tried for too long.
    #[error("the peer did not come back within {0} ms")]
    GaveUp(u64),
    /// No endpoint.
    #[error("no endpoint: {0}")]
    Open(#[from] OpenError),
    /// An endpoint that cannot be connected.
    #[error("the endpoint cannot be connected: {0}")]
    Connect(#[from] ConnectError),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// The peer closed the connection.
    #[error("the peer closed the connection{}", if .0.is_empty() { String::new() } else { format!(": {:?}", .0) })]
    ClosedByPeer(String),
    /// The device is gone.
    #[error("the device is gone; open it again")]
    Device,
    /// As many connections as may be.
    #[error("{0} connections are there, the limit")]
    TooMany(u32),
    /// No memory for its receives.
    #[error("no memory for receives: {0}")]
    Memory(#[from] wavetank_engine::memory::MemoryError),
    /// Nobody is accepted.
    #[error("nobody is accepted here")]
    NotBound,
    /// Somebody else answered.
    #[error("peer {found} answered where {wanted} was called")]
    WrongPeer {
        /// Who was called.
        wanted: u64,
        /// Who answered.
        found: u64,
    },
    /// Two equals with one name.
    #[error("the peer has our own name, {0}; lossless peers need one each")]
    SameName(u64),
    /// Another connection with the same peer stands.
    #[error("both sides dialled at once, and the other call stands")]
    Raced,
    /// The peer has come anew on another line.
    #[error("the peer connected anew")]
    Replaced,
}

impl Cause {
    /// What to make of it.
    pub const fn class(&self) -> Class {
        match self {
            Cause::Work { status } => match status.class() {
                // Somebody else's work failed first, and that endpoint is the peer's too.
                Class::Flushed | Class::Success => Class::PeerGone,
                class => class,
            },
            Cause::Transfer(error) => match error.class() {
                Class::Flushed => Class::PeerGone,
                class => class,
            },
            Cause::Silent(_)
            | Cause::Stuck(_)
            | Cause::LineClosed
            | Cause::Unreached(_)
            | Cause::ConnectTimeout(_)
            | Cause::GaveUp(_)
            | Cause::ClosedByPeer(_)
            | Cause::Raced
            | Cause::Replaced => Class::PeerGone,
            Cause::Bootstrap(error) => match error {
                // It has no room for us now.
                BootstrapError::Refused { code: BUSY, .. } => Class::Retry,
                // It waited for us, or its endpoint did not come up: nothing was said against us.
                BootstrapError::Refused {
                    code: RefusalCode::Timeout | RefusalCode::NotConnected, ..
                }
                | BootstrapError::Closed { .. }
                | BootstrapError::NotReached(_)
                | BootstrapError::Timeout { .. }
                | BootstrapError::Io { .. } => Class::PeerGone,
                _ => Class::PeerRefused,
            },
            Cause::Hello(_) | Cause::Violation(_) => Class::PeerRefused,
            Cause::Memory(_) | Cause::TooMany(_) => Class::Retry,
            Cause::NotBound | Cause::WrongPeer { .. } | Cause::SameName(_) => Class::PeerRefused,
            Cause::Open(_) | Cause::Connect(_) => Class::LocalBug,
            Cause::Device => Class::DeviceGone,
        }
    }
}

/// What a peer did that no peer may do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// No frame.
    #[error("{0}")]
    Frame(#[from] BadFrame),
    /// A frame it had no credit for.
    #[error("a frame came without a credit for it")]
    NoCredit,
    /// A frame longer than the receives it was told of.
    #[error("a frame came that is longer than the {0} bytes of a receive")]
    Overlong(u32),
    /// Credits that cannot be.
    #[error("it grants {granted} receives in all, more than its window of {window} allows")]
    Credits {
        /// What it says.
        granted: u32,
        /// What it said it would have at most.
        window: u32,
    },
    /// An acknowledgement of what was not sent.
    #[error("it acknowledges message {acked}, and {sent} were sent")]
    Acked {
        /// What it says.
        acked: u64,
        /// The newest sequence.
        sent: u64,
    },
    /// A message out of turn.
    #[error("message {came} came where {due} was due")]
    Sequence {
        /// Its sequence.
        came: u64,
        /// The next.
        due: u64,
    },
    /// Longer than was agreed upon.
    #[error("a message of {len} bytes of data, {max} are taken")]
    TooLong {
        /// What it says.
        len: u64,
        /// Our limit.
        max: u64,
    },
    /// A place that is not its own.
    #[error("it names {len} bytes at {offset} of extent {extent}, which it never gave or which is shorter")]
    Place {
        /// The extent.
        extent: u32,
        /// Where in it.
        offset: u64,
        /// How much.
        len: u64,
    },
    /// A reply nobody asked for.
    #[error("a reply to request {0:#x}, which was never asked or has its reply")]
    Reply(u64),
    /// Data in a sink that is not there, or too short.
    #[error("{len} bytes of a reply in memory of {room}")]
    Sink {
        /// What it says.
        len: u64,
        /// What the request gave.
        room: u64,
    },
    /// A control frame about a message that does not wait for it.
    #[error("{what} for message {sequence}, which does not wait for it")]
    Control {
        /// What it is.
        what: &'static str,
        /// The message.
        sequence: u64,
    },
    /// A key that is none.
    #[error("a key: {0}")]
    Key(#[from] KeyError),
    /// Too many keys, or one twice.
    #[error("extent {0}: it was given before, or there are too many")]
    Extent(u32),
    /// A feature that was not agreed upon.
    #[error("it uses {0}, which was not agreed upon")]
    Feature(&'static str),
}
