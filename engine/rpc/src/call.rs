//! Calls by type: what is asked, what is answered, and how both stand in the front of a message.

use thiserror::Error;
use wavetank_contract::{Class, Instant, Lease};
use wavetank_engine::RdmaOps;
use wavetank_engine::memory::MemoryError;
use wavetank_messenger::{
    ConnectRefused, ConnectionId, Data, Incoming, LocalMessenger, Message, RequestError, SendReason, Way,
};

use crate::codec::Malformed;

/// One call of a service. Its request and its reply stand in the fronts of messages; data travels beside them.
pub trait Call: 'static {
    /// The type of its messages, both ways. No other call of the same messenger has it.
    const TYPE: u16;
    /// What is asked.
    type Request;
    /// What is answered.
    type Reply;

    /// As a front.
    fn encode_request(request: &Self::Request) -> Vec<u8>;

    /// From a front, which may be anything.
    ///
    /// # Errors
    /// What is wrong with it.
    fn decode_request(front: &[u8]) -> Result<Self::Request, Malformed>;

    /// As a front. `None`: it does not fit one; then there is no reply.
    fn encode_reply(reply: &Self::Reply) -> Option<Vec<u8>>;

    /// From a front, which may be anything.
    ///
    /// # Errors
    /// What is wrong with it.
    fn decode_reply(front: &[u8]) -> Result<Self::Reply, Malformed>;

    /// The answer to a request that cannot be read.
    fn unread(why: Malformed) -> Self::Reply;
}

/// Why a call has no answer: matters of the connection, of memory and of the codec, never of the service.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// It was not sent.
    #[error("the call was not sent: {0}")]
    NotSent(#[from] SendReason),
    /// It was sent, and has no reply.
    #[error("the call has no reply: {0}")]
    NoReply(#[from] RequestError),
    /// Nobody to call.
    #[error("there is no connection: {0}")]
    NotConnected(#[from] ConnectRefused),
    /// No memory for its data.
    #[error("no memory for the call's data: {0}")]
    Memory(#[from] MemoryError),
    /// The reply makes no sense.
    #[error("the reply cannot be read: {0}")]
    Reply(#[from] Malformed),
    /// Other data than was asked for.
    #[error("{found} bytes came where {wanted} were asked for; the server's version may be another")]
    Length {
        /// As asked.
        wanted: u64,
        /// As came.
        found: u64,
    },
}

impl CallError {
    /// What to make of it.
    pub const fn class(&self) -> Class {
        match self {
            CallError::NotSent(reason) => match reason {
                SendReason::Unknown(_) | SendReason::Closing(_) | SendReason::StaleReply => Class::PeerGone,
                SendReason::QueueFull(_) | SendReason::TooManyRequests(_) | SendReason::Memory(_) => {
                    Class::Retry
                }
                SendReason::DeadlinePassed { .. } => Class::Flushed,
                _ => Class::LocalBug,
            },
            CallError::NoReply(why) => why.class(),
            CallError::NotConnected(ConnectRefused::TooMany(_)) | CallError::Memory(_) => Class::Retry,
            CallError::NotConnected(_) => Class::LocalBug,
            CallError::Reply(Malformed::Damaged) => Class::Retry,
            CallError::Reply(_) | CallError::Length { .. } => Class::PeerRefused,
        }
    }

    /// Whether the server certainly knows nothing of it.
    pub const fn was_not_sent(&self) -> bool {
        matches!(self, CallError::NotSent(_) | CallError::NotConnected(_) | CallError::Memory(_))
    }

    /// Whether the same call may help, on this connection or on another.
    pub const fn may_be_repeated(&self) -> bool {
        match self {
            CallError::NotSent(SendReason::DeadlinePassed { .. }) => true,
            CallError::NoReply(why) => {
                !matches!(why, RequestError::Closed | RequestError::Cancelled | RequestError::TooLong { .. })
            }
            // A pool will never hold what is longer than all of it.
            CallError::Memory(MemoryError::TooLong { .. }) => false,
            other => matches!(other.class(), Class::Retry | Class::PeerGone),
        }
    }
}

/// Memory that goes with a call.
#[derive(Debug, Default)]
pub struct Carried {
    /// Data of the request.
    pub data: Option<Data>,
    /// How it is to travel; `None` lets the messenger choose.
    pub way: Option<Way>,
    /// Memory for data of the reply, leased with `expose` on the connection.
    pub sink: Option<Lease>,
}

/// A reply, and the message it came in.
#[derive(Debug)]
pub struct Answered<R> {
    /// What was answered.
    pub reply: R,
    /// Its message, with whatever data it has.
    pub message: Incoming,
}

/// Calls once: what is lost is told, and not repeated.
///
/// # Errors
/// [`CallError`].
pub async fn call<K: Call, C: RdmaOps + 'static>(
    messenger: &LocalMessenger<C>,
    connection: ConnectionId,
    request: &K::Request,
    carried: Carried,
    deadline: Instant,
) -> Result<Answered<K::Reply>, CallError> {
    let Carried { data, way, sink } = carried;
    let front = K::encode_request(request);
    let mut message = Message::new(K::TYPE, &front, deadline).by(way);
    message.data = data;
    let asked = messenger.request(connection, message, sink);
    let message = asked.map_err(|error| error.reason)?.await.map_err(|no| no.why)?;
    let mut front = [0; _];
    let reply = K::decode_reply(message.front(&mut front))?;
    Ok(Answered { reply, message })
}
