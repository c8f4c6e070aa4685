//! What a client tells its caller when a call on a chunk failed: who said so, after how much trying, and what may have happened.

use core::fmt;

use thiserror::Error;
use wavetank_contract::Class;

use crate::call::CallError;
use crate::error::ChunkError;

/// Who said that it failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failed {
    /// The server; or the client, of data that it verified.
    #[error("{0}")]
    Chunk(#[from] ChunkError),
    /// The connection, or memory: the service said nothing.
    #[error("{0}")]
    Call(#[from] CallError),
}

impl Failed {
    /// What to make of it.
    pub const fn class(&self) -> Class {
        match self {
            Failed::Chunk(error) => error.class(),
            Failed::Call(error) => error.class(),
        }
    }

    /// Whether the same call, under the same id, may help.
    pub(crate) const fn may_be_repeated(&self) -> bool {
        match self {
            Failed::Chunk(error) => error.is_transient(),
            Failed::Call(error) => error.may_be_repeated(),
        }
    }

    /// What a write or removal may have done that ended like this, of which nothing else is known.
    pub(crate) const fn effect(&self) -> Effect {
        match self {
            Failed::Call(error) if error.was_not_sent() => Effect::None,
            Failed::Call(_) => Effect::Unknown,
            Failed::Chunk(error) => match error {
                // What could not be made durable may be visible; these others say nothing of an attempt before them.
                ChunkError::Io { .. }
                | ChunkError::Deadline
                | ChunkError::Stale { .. }
                | ChunkError::Unknown(_) => Effect::Unknown,
                _ => Effect::None,
            },
        }
    }

    /// Whether this is the server's last word on the id: then nothing that was unknown before is unknown any more.
    pub(crate) const fn is_recorded(&self) -> bool {
        matches!(
            self,
            Failed::Chunk(
                ChunkError::NoSpace { .. }
                    | ChunkError::ReadOnly
                    | ChunkError::NotFound
                    | ChunkError::CorruptAtRest { .. }
                    | ChunkError::CorruptOnTheWay { .. }
            )
        )
    }
}

/// What a call may have changed that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing.
    None,
    /// It was applied or it was not: read, and see. It will not be applied once a later write of the same client was.
    Unknown,
}

/// Why a call on a chunk failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkFailure {
    /// How the last attempt ended.
    pub failed: Failed,
    /// Attempts that were made.
    pub attempts: u32,
    /// The client would have gone on, but for its deadline.
    pub gave_up: bool,
    /// What may have changed. Of reads: nothing.
    pub effect: Effect,
}

impl ChunkFailure {
    /// What to make of it.
    pub const fn class(&self) -> Class {
        self.failed.class()
    }

    /// The server's answer, if it was one.
    pub const fn chunk_error(&self) -> Option<ChunkError> {
        match self.failed {
            Failed::Chunk(error) => Some(error),
            Failed::Call(_) => None,
        }
    }
}

impl std::error::Error for ChunkFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.failed)
    }
}

impl fmt::Display for ChunkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChunkFailure { failed, attempts, gave_up, effect } = self;
        if *gave_up {
            let times = if *attempts == 1 { "attempt" } else { "attempts" };
            write!(f, "given up at the deadline, after {attempts} {times}: {failed}")?;
        } else {
            write!(f, "{failed}")?;
        }
        match effect {
            Effect::None => Ok(()),
            Effect::Unknown => {
                f.write_str("; it is not known whether it was applied: read, and write again if it was not")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wavetank_messenger::RequestError;

    use super::*;

    #[test]
    fn a_write_that_was_given_up_says_that_its_fate_is_not_known() {
        let failed = Failed::Call(RequestError::RemoteReset.into());
        let failure = ChunkFailure { effect: failed.effect(), failed, attempts: 3, gave_up: true };
        let said = failure.to_string();
        assert!(said.contains("3 attempts") && said.contains("not known whether it was applied"), "{said}");
        assert_eq!((failure.class(), failure.chunk_error()), (Class::PeerGone, None));
    }

    #[test]
    fn connection_errors_and_chunk_errors_are_told_apart() {
        let chunk = Failed::from(ChunkError::ReadOnly);
        assert_eq!(
            (chunk.class(), chunk.effect(), chunk.may_be_repeated()),
            (Class::PeerRefused, Effect::None, false)
        );
        let full = Failed::from(CallError::from(wavetank_messenger::SendReason::QueueFull(1)));
        assert_eq!((full.class(), full.effect(), full.may_be_repeated()), (Class::Retry, Effect::None, true));
        let io = Failed::from(ChunkError::Io { errno: 5 });
        assert_eq!((io.effect(), io.may_be_repeated()), (Effect::Unknown, false));
        let closed = Failed::from(CallError::from(RequestError::Closed));
        assert_eq!((closed.effect(), closed.may_be_repeated()), (Effect::Unknown, false));
    }
}
