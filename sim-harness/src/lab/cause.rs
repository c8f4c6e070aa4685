//! Causes: what may be done to the wire between two nodes. Never an outcome: that follows.

use thiserror::Error;

/// Something that happens to the wire. Nodes are those of [`Lab::open`](super::Lab::open).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Everything from one node to another is lost, until mended.
    Cut {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
    },
    /// Whatever was done to this direction is over.
    Mend {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
    },
    /// The `nth` packet from now on is lost; 0 is the next.
    LoseNth {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
        /// Packets that pass before it.
        nth: u64,
    },
    /// One packet in `n` is lost, by chance, until mended.
    LoseOneIn {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
        /// How rare.
        n: u32,
    },
    /// The link of a node goes down.
    LinkDown {
        /// Whose.
        node: u16,
    },
    /// The link of a node comes up.
    LinkUp {
        /// Whose.
        node: u16,
    },
}

/// A lab cannot do what a case needs: why, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Skip(pub String);
