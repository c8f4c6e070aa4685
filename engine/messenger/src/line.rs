//! Lines: the streams of bytes over which two messengers find each other before there is an endpoint.
//!
//! A messenger has no sockets. It asks for lines and says what is to be sent on them; whoever owns the sockets, or the
//! simulated ones, carries it out and tells what came. A line stays open as long as its connection: its end says that the
//! peer's process is gone, which reliable-connected devices do not.

use wavetank_contract::{EpId, Instant};
use wavetank_engine::bootstrap::Handshake;
use wavetank_engine::slab::Key;

use crate::hello::{Fate, Hello};

/// The name of a line. Never valid twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub(crate) Key);

impl LineId {
    /// As one number.
    pub const fn to_u64(self) -> u64 {
        self.0.to_u64()
    }
}

/// What is to be done with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineAsk {
    /// Dial: answer with `line_up`, or `line_down`.
    Dial {
        /// The line.
        line: LineId,
        /// Whom, as [`connect`](crate::Messenger::connect) was told.
        to: Box<str>,
    },
    /// Send these bytes, in order.
    Send {
        /// The line.
        line: LineId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close it, once everything is sent. Nothing more is said of it on either side.
    Close {
        /// The line.
        line: LineId,
    },
}

/// A line as the messenger knows it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) handshake: Handshake,
    /// The connection that is made on it. `None`: a peer's, whose hello has not come.
    pub(crate) connection: Option<Key>,
    /// The peer's hello.
    pub(crate) hello: Option<Hello>,
    /// Whether both go on where they were.
    pub(crate) fate: Fate,
    pub(crate) ep: Option<EpId>,
    /// Our endpoint has its peer's address.
    pub(crate) connected: bool,
    pub(crate) ready: bool,
    pub(crate) deadline: Instant,
    /// Both sides know.
    pub(crate) established: bool,
}

impl Line {
    pub(crate) fn new(handshake: Handshake, connection: Option<Key>, deadline: Instant) -> Line {
        Line {
            handshake,
            connection,
            hello: None,
            fate: Fate::Open,
            ep: None,
            connected: false,
            ready: false,
            deadline,
            established: false,
        }
    }
}
