//! What can go wrong in an exchange. Each error names the step it went wrong at.

use std::io;
use std::time::Duration;

use thiserror::Error;
use wavetank_contract::EpId;
use wavetank_contract::error::{ConnectError, KeyError};

use super::garbage::{BadOffer, Garbage};
use super::introduction::{InstanceId, Role, VersionRange};
use super::message::Kind;
use super::refusal::RefusalCode;
use super::step::Step;
use super::text::Said;

/// Why an exchange failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// The time was up. The deadline is one for the whole handshake.
    #[error("the handshake was not over within {} ms; it was at the step {step}", .limit.as_millis())]
    Timeout {
        /// How far it got.
        step: Step,
        /// How long it was given.
        limit: Duration,
    },
    /// The peer said no.
    #[error("at the step {step} the peer refused ({code:?}): {text}")]
    Refused {
        /// How far it got.
        step: Step,
        /// The peer's reason.
        code: RefusalCode,
        /// In its words.
        text: Said,
    },
    /// No common version.
    #[error("this side speaks version {ours} of the exchange and the peer {theirs}; update the older one")]
    Version {
        /// What we speak.
        ours: VersionRange,
        /// What the peer speaks.
        theirs: VersionRange,
    },
    /// Endpoints of two backends cannot be connected.
    #[error(
        "this side's endpoints are of the {ours} backend and the peer's of {theirs}; use one on both sides"
    )]
    Backend {
        /// Ours.
        ours: &'static str,
        /// The peer's.
        theirs: Said,
    },
    /// The peer is this very process.
    #[error("this process, instance {0}, reached itself; give it the address of its peer")]
    Itself(InstanceId),
    /// Both sides play the same part.
    #[error("both sides are {}s; one has to dial and the other to listen", .0.name())]
    SameRole(Role),
    /// Bytes that are no message of this exchange.
    #[error("at the step {step} the peer sent {garbage}")]
    Garbage {
        /// How far it got.
        step: Step,
        /// What came.
        garbage: Garbage,
    },
    /// A message, but not its turn.
    #[error("at the step {step} the peer sent {got}")]
    Unexpected {
        /// How far it got, and what was expected.
        step: Step,
        /// What came.
        got: Kind,
    },
    /// A message of another life of the peer, or for another life of ours.
    #[error(
        "{kind} came from instance {from:016x} for {to:016x}, and this handshake is of {peer:016x} with {us}"
    )]
    Stale {
        /// Which message.
        kind: Kind,
        /// Whose it was.
        from: u64,
        /// Whom it was for; 0 is whoever.
        to: u64,
        /// The peer of this handshake, 0 before it is known.
        peer: u64,
        /// This side.
        us: InstanceId,
    },
    /// The peer went away.
    #[error("the peer closed the connection at the step {step}{}", if *.amid { ", in the middle of a message" } else { "" })]
    Closed {
        /// How far it got.
        step: Step,
        /// Whether part of a message had come.
        amid: bool,
    },
    /// The system refused.
    #[error("at the step {step}: {source}")]
    Io {
        /// How far it got.
        step: Step,
        /// Its words.
        source: io::Error,
    },
    /// The port could not be had.
    #[error("cannot listen on {address}: {source}{}", if .source.kind() == io::ErrorKind::AddrInUse {
        "; another process listens there: stop it or choose another port" } else { "" })]
    Bind {
        /// Which one.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Our own offer breaks a limit; nothing was sent.
    #[error("this side cannot offer {0}")]
    OwnOffer(#[from] BadOffer),
    /// Endpoints are connected in pairs.
    #[error("this side offers {ours} endpoints and the peer {theirs}; both have to offer as many")]
    Unpaired {
        /// Ours.
        ours: usize,
        /// The peer's.
        theirs: usize,
    },
    /// A local endpoint that is not open.
    #[error("{0:?} is not an open endpoint")]
    NoEndpoint(EpId),
    /// An endpoint did not take its peer's address.
    #[error("{ep:?} cannot be connected: {error}")]
    Connect {
        /// Ours.
        ep: EpId,
        /// Why.
        error: ConnectError,
    },
    /// An endpoint went to ERR on the way to RTS.
    #[error("{0:?} did not reach its peer: it is in ERR; look at its device's events and at the peer")]
    NotReached(EpId),
    /// A key that cannot be exported or imported, or reaches less far than was said.
    #[error("key {name:?}: {why}")]
    Key {
        /// Which.
        name: String,
        /// Why not.
        why: BadKey,
    },
    /// The caller asked for a step that is not due.
    #[error("{call} is not due at the step {step}")]
    NotDue {
        /// What was asked.
        call: &'static str,
        /// Where the handshake is.
        step: Step,
    },
    /// A handshake ends once, and its first error is the reason.
    #[error("the handshake failed before; see its first error")]
    Failed,
    /// The system has no entropy for an instance id.
    #[error("no instance id can be drawn: {0}")]
    NoEntropy(String),
}

/// Why a key is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadKey {
    /// The backend says so.
    #[error(transparent)]
    Refused(#[from] KeyError),
    /// Its owner promised more than it reaches.
    #[error("it is said to reach {said_bytes} bytes and reaches {has_bytes}")]
    Short {
        /// As the peer says.
        said_bytes: u64,
        /// As the key says.
        has_bytes: u64,
    },
}

impl BootstrapError {
    /// What to tell the peer. `None` where there is nobody to tell, or nobody who would understand.
    pub fn refusal(&self) -> Option<RefusalCode> {
        Some(match self {
            BootstrapError::Garbage { garbage: Garbage::NotAFrame { .. }, .. }
            | BootstrapError::Refused { .. }
            | BootstrapError::Closed { .. }
            | BootstrapError::Io { .. }
            | BootstrapError::Bind { .. }
            | BootstrapError::NotDue { .. }
            | BootstrapError::NoEntropy(_)
            | BootstrapError::Failed => return None,
            BootstrapError::Garbage { .. } => RefusalCode::Garbage,
            BootstrapError::Unexpected { .. } | BootstrapError::Stale { .. } => RefusalCode::Unexpected,
            BootstrapError::Version { .. } => RefusalCode::Version,
            BootstrapError::Backend { .. } => RefusalCode::Backend,
            BootstrapError::Itself(_) | BootstrapError::SameRole(_) => RefusalCode::WrongPeer,
            BootstrapError::OwnOffer(_) | BootstrapError::Unpaired { .. } | BootstrapError::Key { .. } => {
                RefusalCode::Offer
            }
            BootstrapError::NoEndpoint(_)
            | BootstrapError::Connect { .. }
            | BootstrapError::NotReached(_) => RefusalCode::NotConnected,
            BootstrapError::Timeout { .. } => RefusalCode::Timeout,
        })
    }
}
