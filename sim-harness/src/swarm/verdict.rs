//! Verdicts: what a run was found guilty of, and what it did.

use std::collections::BTreeMap;

use wavetank_contract::Instant;
use wavetank_mock::Mark;

use crate::check::Check;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The first thing that was wrong; `None`: everything held.
    pub failure: Option<Guilt>,
    /// The hash of everything that happened.
    pub trace_hash: u64,
    /// The hash of every 1,024 events.
    pub checkpoints: Vec<u64>,
    /// Operations that ended, by how.
    pub ended: Ended,
    /// Bytes that were compared.
    pub bytes_verified: u64,
    /// Virtual time it took.
    pub took: Instant,
    /// Marks that were passed, and how often.
    pub marks: BTreeMap<Mark, u64>,
    /// Cells of the state space that were visited, and how often.
    pub cells: BTreeMap<String, u64>,
    /// How often each fault of the plan came, in its order.
    pub faults: Vec<u64>,
}

impl Verdict {
    /// The verdict on a plan that cannot be run.
    pub fn refused(guilt: Guilt) -> Verdict {
        Verdict {
            failure: Some(guilt),
            trace_hash: 0,
            checkpoints: Vec::new(),
            ended: Ended::default(),
            bytes_verified: 0,
            took: Instant::ZERO,
            marks: BTreeMap::new(),
            cells: BTreeMap::new(),
            faults: Vec::new(),
        }
    }
}

/// Operations by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Well, and verified.
    pub well: u64,
    /// With an error that a fault explains.
    pub failed: u64,
    /// Given up: cancelled, or past their deadline.
    pub given_up: u64,
    /// Never begun: their connection was not to be had, or the plan was at odds with itself.
    pub not_begun: u64,
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guilt {
    /// Which check failed.
    pub check: Check,
    /// When.
    pub at: Instant,
    /// The operation concerned, if it is one.
    pub op: Option<u32>,
    /// What was found, and what should have been.
    pub what: String,
}
