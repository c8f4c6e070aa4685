//! What can go wrong, as values.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use wavetank_ipc::Code;

/// The engine's own answer where there are no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {text}")]
pub struct Refusal {
    /// Which outcome.
    pub code: Code,
    /// A number to it: see [`Code`].
    pub detail: u64,
    /// What was wrong and what would be right. Through a ring, its name only.
    pub text: String,
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody is there, or nobody may.
    #[error("no engine at {path}: {source}")]
    NoEngine {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody is there who does not answer as an engine does.
    #[error("who listens at {path} does not answer as an engine does: {why}")]
    NotAnEngine {
        /// Where.
        path: PathBuf,
        /// What came instead.
        why: String,
    },
    /// The engine refused: an unknown version, for example.
    #[error("the engine refused: {0}")]
    Refused(Refusal),
    /// The engine closed the connection: too many are open, or this user is not let in.
    #[error("the engine at {path} closed the connection: too many are open, or this user is not let in")]
    Closed {
        /// Where.
        path: PathBuf,
    },
    /// Not in time.
    #[error("the engine at {path} did not answer in time")]
    TimedOut {
        /// Where.
        path: PathBuf,
    },
}

/// Why there are no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The engine says why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine went away. Connect again.
    #[error("the connection to the engine is lost: {0}; connect again")]
    Lost(String),
    /// The engine did not answer in time. It was told that nobody waits any more.
    #[error("the engine did not answer within {waited_ms} ms")]
    TimedOut {
        /// How long was waited.
        waited_ms: u64,
    },
    /// The engine said what makes no sense.
    #[error("the engine said what makes no sense: {0}")]
    Nonsense(String),
}

impl ReadError {
    /// Whether this client is of no more use: connect again.
    pub fn is_connection_lost(&self) -> bool {
        matches!(self, ReadError::Lost(_) | ReadError::Nonsense(_))
    }

    /// The engine's outcome, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            ReadError::Refused(refusal) => Some(refusal.code),
            ReadError::TimedOut { .. } => Some(Code::TimedOut),
            ReadError::Lost(_) | ReadError::Nonsense(_) => None,
        }
    }

    /// Whether asking again, over a new connection where this one is lost, may help.
    pub fn is_recoverable(&self) -> bool {
        self.code().is_none_or(Code::is_recoverable)
    }
}
