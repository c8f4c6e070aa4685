//! What was observed of one run of a program.

use std::collections::BTreeMap;
use std::fmt;

use wavetank_contract::{OpKind, QpState, Status};

use super::program::{End, RegionId};

/// Which of its queues a work went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names say it
pub enum Queue {
    Send,
    Recv,
}

/// Everything observed.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Why posts were refused, by step.
    pub refusals: BTreeMap<usize, Refusal>,
    /// What was seen each time all was settled.
    pub rounds: Vec<Round>,
    /// Completions of nothing that was posted.
    pub strays: Vec<String>,
}

/// Why a work was not taken, as far as devices have to agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The endpoint does not exist.
    Unknown,
    /// Its state does not take such works.
    WrongState,
    /// Its queue is full.
    Full,
    /// The device said no, and not why.
    Unexplained,
    /// Anything else.
    Other,
}

/// One moment at which all was settled.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Before which step.
    pub before: usize,
    /// What completed since the last one, in order, by endpoint and queue.
    pub ends: BTreeMap<(End, Queue), Vec<Ended>>,
    /// The state of every endpoint that is not closed.
    pub states: BTreeMap<End, QpState>,
    /// What every registered region holds.
    pub memory: BTreeMap<RegionId, Vec<u8>>,
    /// It did not settle: why.
    pub unsettled: Option<String>,
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The step that posted it.
    pub step: usize,
    /// How it ended.
    pub status: Status,
    /// What it was. Defined on success, as all below.
    pub kind: OpKind,
    /// Bytes.
    pub len: u32,
    /// Immediate.
    pub imm: Option<u32>,
}

impl Ended {
    /// Whether two completions say the same, as far as it is defined.
    pub fn agrees(&self, other: &Ended) -> bool {
        let success = self.status == Status::Success;
        let ends = (self.step, self.status) == (other.step, other.status);
        ends && (!success || (self.kind, self.len, self.imm) == (other.kind, other.len, other.imm))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} {}", self.step, self.status)?;
        if self.status == Status::Success {
            write!(f, " {} len={}", self.kind.name(), self.len)?;
            if let Some(imm) = self.imm {
                write!(f, " imm={imm:#x}")?;
            }
        }
        Ok(())
    }
}
