//! The steps of a handshake, as errors name them.

use core::fmt;

/// What a handshake is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The peer to be there at all.
    Dial,
    /// The peer's introduction.
    Hello,
    /// Our own side to make its offer.
    OwnOffer,
    /// The dialer's endpoints.
    Offer,
    /// The listener's endpoints.
    Answer,
    /// Our own endpoints to be ready to send.
    Connect,
    /// The peer's endpoints to be ready to send.
    Ready,
    /// The dialer to have heard that all are ready.
    Ack,
    /// Nothing more: it is over.
    Over,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Dial => "dial (waiting for the peer to take the connection)",
            Step::Hello => "hello (waiting for the peer's HELLO)",
            Step::OwnOffer => "own offer (waiting for this side to say what it offers)",
            Step::Offer => "offer (waiting for the peer's OFFER)",
            Step::Answer => "answer (waiting for the peer's ANSWER)",
            Step::Connect => "connect (waiting for this side's endpoints to reach RTS)",
            Step::Ready => "ready (waiting for the peer's READY)",
            Step::Ack => "ack (waiting for the peer's ACK)",
            Step::Over => "over (nothing is waited for)",
        })
    }
}
