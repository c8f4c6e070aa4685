//! An engine that exports, as a reader knows it: its connection, which volumes it has, and how it has fared.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures_util::future::{LocalBoxFuture, Shared};
use thiserror::Error;
use wavetank_contract::error::OpenError;
use wavetank_contract::{Class, Instant};
use wavetank_messenger::{Cause, ConnectionId, Reached};
use wavetank_rpc::CallError;

use crate::calls::Standing;
use crate::found::{NotRead, Why};
use crate::outcome::Absence;

/// What a device that was removed says to everything (`errno(3)`).
const ENODEV: i32 = 19;

/// Why an attempt with one peer failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Trouble {
    #[error("{0}")]
    Absent(Absence),
    #[error("{0}")]
    Gone(String),
    #[error("this side's device is gone")]
    DeviceGone,
    #[error("it took too long")]
    TimedOut,
    #[error("{0}")]
    NotAdmitted(&'static str),
    #[error("{0}")]
    NoMemory(String),
    #[error("it cannot be pulled: {0}")]
    NotPulled(Why),
    #[error("what came was not what was sent")]
    Corrupt,
    #[error("it failed before and is left alone for a while")]
    CircuitOpen,
}

impl Trouble {
    pub(crate) fn of_cause(cause: &Cause) -> Trouble {
        match cause.class() {
            Class::DeviceGone => Trouble::DeviceGone,
            _ if matches!(cause, Cause::Open(OpenError::System(error)) if error.errno == ENODEV) => {
                Trouble::DeviceGone
            }
            Class::PeerRefused => {
                tracing::warn!("a peer does not want this engine, or is another than was named: {cause}");
                Trouble::NotAdmitted("it does not want this engine, or is another than was named")
            }
            _ => Trouble::Gone(cause.to_string()),
        }
    }

    /// Whether the peer's circuit counts it.
    pub(crate) const fn is_peers(&self) -> bool {
        matches!(self, Trouble::Gone(_) | Trouble::TimedOut | Trouble::NotAdmitted(_) | Trouble::Corrupt)
    }

    /// Whether the same peer may do better in a moment.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Trouble::Absent(absence) => absence.is_transient(),
            Trouble::Gone(_)
            | Trouble::TimedOut
            | Trouble::NoMemory(_)
            | Trouble::Corrupt
            | Trouble::CircuitOpen => true,
            Trouble::DeviceGone | Trouble::NotAdmitted(_) | Trouble::NotPulled(_) => false,
        }
    }

    pub(crate) fn into_not_read(self, peer: &str) -> NotRead {
        let peer = peer.to_owned();
        match self {
            Trouble::Absent(absence) => NotRead::Absent(absence),
            Trouble::Gone(text) => NotRead::PeerGone { peer, text },
            Trouble::DeviceGone => NotRead::DeviceGone,
            Trouble::TimedOut => NotRead::TimedOut(format!("engine {peer} did not answer in time")),
            Trouble::NotAdmitted(text) => NotRead::NotAdmitted { peer, text },
            Trouble::NoMemory(text) => NotRead::NoMemory(text),
            Trouble::NotPulled(why) => NotRead::NotPulled(why),
            Trouble::Corrupt => NotRead::Corrupt(peer),
            Trouble::CircuitOpen => {
                NotRead::PeerGone { peer, text: "it failed before and is left alone for a while".into() }
            }
        }
    }
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Trouble {
        use wavetank_messenger::{RequestError, SendReason};
        match error {
            CallError::NoReply(RequestError::Deadline(_))
            | CallError::NotSent(SendReason::DeadlinePassed { .. }) => Trouble::TimedOut,
            CallError::NoReply(RequestError::Failed(wavetank_messenger::frame::Failure::Unanswered)) => {
                Trouble::Gone("it does not answer: it does not know this engine any more".into())
            }
            CallError::Memory(error) => Trouble::NoMemory(error.to_string()),
            CallError::Reply(_) | CallError::Length { .. } => Trouble::Corrupt,
            other => match other.class() {
                Class::DeviceGone => Trouble::DeviceGone,
                Class::Retry => Trouble::NoMemory(other.to_string()),
                _ => Trouble::Gone(other.to_string()),
            },
        }
    }
}

/// A connection being made, for all who wait for it.
pub(crate) type Opening = Shared<LocalBoxFuture<'static, Result<Opened, Trouble>>>;

/// A connection on which this side was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) connection: ConnectionId,
    pub(crate) lives: u32,
    pub(crate) push_bytes_max: u64,
}

#[derive(Debug, Default)]
pub(crate) enum Door {
    #[default]
    Closed,
    Opening(Opening),
    Open(Opened),
}

/// How a peer fared lately.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circuit {
    pub(crate) failures: u32,
    /// When it failed last.
    failed_at: Instant,
    /// It is left alone until then.
    pub(crate) until: Instant,
}

impl Circuit {
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        now < self.until
    }

    /// An attempt that began then has failed now. Those that were under way together when the peer failed are one failure: each
    /// would double the pause otherwise, and a peer that starts again would be left alone for as long as there is, only because
    /// it was much in use.
    pub(crate) fn failed(&mut self, began: Instant, now: Instant, pause_ns: u64, pause_ns_max: u64) {
        if self.failures > 0 && began <= self.failed_at {
            return;
        }
        self.failed_at = now;
        let pause_ns = pause_ns.saturating_mul(1 << self.failures.min(20)).min(pause_ns_max);
        self.failures += 1;
        self.until = now + pause_ns;
    }
}

#[derive(Debug, Default)]
pub(crate) struct PeerState {
    pub(crate) door: Door,
    pub(crate) circuit: Circuit,
    pub(crate) catalogue: BTreeMap<u32, Standing>,
    /// When that was asked for. `None`: never.
    pub(crate) catalogue_at: Option<Instant>,
    /// Keys to its segments, of the connection that is open.
    pub(crate) keys: BTreeMap<u32, Reached>,
}

/// An engine that exports.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: String,
    /// Its messenger's name, if only that one will do.
    pub(crate) name: Option<u64>,
    /// Nobody is to read from it any more.
    pub(crate) retired: Cell<bool>,
    pub(crate) state: RefCell<PeerState>,
}

impl Peer {
    pub(crate) fn new(address: &str, name: Option<u64>) -> Peer {
        Peer { address: address.to_owned(), name, retired: Cell::new(false), state: RefCell::default() }
    }

    pub(crate) fn has(&self, volume: u32) -> bool {
        self.state.borrow().catalogue.contains_key(&volume)
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.borrow().door, Door::Open(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_fail_together_are_one_failure() {
        let (mut circuit, at) = (Circuit::default(), |ms: u64| Instant(ms * 1_000_000));
        for late in 0..30 {
            circuit.failed(at(late), at(30 + late), 50_000_000, 10_000_000_000);
        }
        assert_eq!((circuit.failures, circuit.until), (1, at(80)));
        // The next attempt is another matter.
        circuit.failed(at(80), at(81), 50_000_000, 10_000_000_000);
        assert_eq!((circuit.failures, circuit.until), (2, at(181)));
    }
}
