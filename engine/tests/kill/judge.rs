//! What the ends of transfers are held to.

use std::fmt::Write as _;

use wavetank_contract::{Class, Instant, Status};
use wavetank_engine::{Finished, TransferError};

use crate::clock::MS;
use crate::node::Try;

/// How late an end may be, of a deadline or of a peer: a busy machine is no fault.
const LATE_NS: u64 = 5_000 * MS;

/// How the transfers of a cell end, after those that were done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// All are done.
    Done,
    /// The first that fails says that the peer is gone, the others that they were flushed for that.
    Gone,
    /// The deadline passed.
    Late,
    /// Their session ended.
    Over,
}

/// How a transfer ended, in a word.
pub(crate) fn word(finished: &Finished) -> &'static str {
    finished.result.as_ref().map_or_else(TransferError::code, |_| "done")
}

/// The ends of transfers, in the order in which they were begun. `since`: when they had to end at the latest, or were to begin to.
pub(crate) fn judge(expected: Expected, since: Instant, finished: &[Finished]) -> Try<String> {
    let text = summary(finished);
    let failed = finished.iter().position(|finished| finished.result.is_err());
    let (_, failed) = finished.split_at(failed.unwrap_or(finished.len()));
    if (expected == Expected::Done) != failed.is_empty() {
        return Err(format!("expected {expected:?}: {text}").into());
    }
    for (n, finished) in failed.iter().enumerate() {
        let Err(error) = &finished.result else {
            return Err(format!("expected {expected:?}: {text}: a success behind a failure").into());
        };
        let fits = match (expected, error) {
            (Expected::Gone, TransferError::Failed { status: Status::WrFlushErr, first_cause, .. }) => {
                n > 0 && first_cause.is_some_and(|cause| cause.class() == Class::PeerGone)
            }
            (Expected::Gone, TransferError::Failed { status, .. }) => {
                n == 0 && *status == Status::RetryExcErr && error.class() == Class::PeerGone
            }
            (Expected::Late, TransferError::DeadlinePassed { .. }) => error.class() == Class::PeerGone,
            (Expected::Over, TransferError::SessionEnded) => error.class() == Class::Flushed,
            _ => false,
        };
        if !fits {
            return Err(format!("expected {expected:?}: {text}; number {n} of the failed: {error}").into());
        }
        let late = finished.finished_at.since_ns(since);
        if late > LATE_NS {
            return Err(format!("expected {expected:?}: {text}; one ended {late} ns too late").into());
        }
    }
    Ok(text)
}

/// `3 done, RETRY_EXC_ERR, 12 WR_FLUSH_ERR`.
pub(crate) fn summary(finished: &[Finished]) -> String {
    let mut text = String::new();
    let mut rest = finished;
    while let Some(first) = rest.first().map(word) {
        let count = rest.iter().take_while(|finished| word(finished) == first).count();
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = match count {
            1 => write!(text, "{comma}{first}"),
            n => write!(text, "{comma}{n} {first}"),
        };
        rest = &rest[count..];
    }
    text
}
