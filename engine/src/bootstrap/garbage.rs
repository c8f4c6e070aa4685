//! What is no message, or breaks a limit.

use thiserror::Error;

use super::message::Kind;

/// An offer breaks a limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadOffer {
    /// Too few or too many of something.
    #[error("{asked} {what}; {min} to {max} may be offered")]
    OutOfRange {
        /// Of what.
        what: &'static str,
        /// How many.
        asked: usize,
        /// The fewest.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A name that cannot be shown.
    #[error("key {0} has a name with control or invisible characters, or that is no UTF-8")]
    Name(usize),
    /// One name for two keys.
    #[error("{0:?} names two keys")]
    Twice(String),
}

impl BadOffer {
    pub(super) fn within(what: &'static str, asked: usize, min: usize, max: usize) -> Result<(), BadOffer> {
        if (min..=max).contains(&asked) {
            Ok(())
        } else {
            Err(BadOffer::OutOfRange { what, asked, min, max })
        }
    }
}

/// Bytes that are no message of this exchange.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Garbage {
    /// Not even the beginning of one.
    #[error("{what}, which begins with \"{}\": is this the right port?", .first.escape_ascii())]
    NotAFrame {
        /// What it looks like.
        what: &'static str,
        /// Its first bytes.
        first: Vec<u8>,
    },
    /// A kind of message that no version has.
    #[error("a message of the unknown kind {0}")]
    UnknownKind(u8),
    /// Longer than its kind may be. Nothing was allocated for it.
    #[error("{kind} of {len_bytes} bytes; at most {max_bytes} are taken")]
    Oversize {
        /// Which message.
        kind: Kind,
        /// As it says.
        len_bytes: u32,
        /// The limit.
        max_bytes: u32,
    },
    /// Damaged on the way.
    #[error("{0} whose CRC32-C is wrong: it was damaged on the way")]
    Damaged(Kind),
    /// Its inside makes no sense.
    #[error("{kind} in which {what}")]
    Malformed {
        /// Which message.
        kind: Kind,
        /// What is wrong.
        what: &'static str,
    },
    /// It breaks a limit.
    #[error("{kind} with {bad}")]
    BadOffer {
        /// Which message.
        kind: Kind,
        /// The limit.
        bad: BadOffer,
    },
    /// Bytes behind the last message.
    #[error("{0} bytes behind the last message")]
    Trailing(usize),
}
