//! What a run is held to, and what it says when it fails.

use std::fmt;

use wavetank_contract::Instant;

/// Failures told in full; the first ones tell the story, the rest are counted.
const TOLD: usize = 20;

/// The checks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Every byte at a destination is the one its writer put there.
    Bytes,
    /// Every needle has the checksum SeaweedFS stored for it.
    Needle,
    /// Every operation succeeds: nothing was broken on purpose.
    Success,
    /// Every work completes once, in order, and on its own endpoint.
    Completion,
    /// Messages arrive once, in order, whole.
    Message,
    /// Atomics on one cell form one chain from its first value to its last.
    Atomic,
    /// Nothing is faster than physics.
    Floor,
    /// What the workload expects.
    Expectation,
    /// While something is outstanding, something is scheduled.
    Progress,
    /// Everything that was taken is given back.
    Leak,
    /// No asynchronous event: none was caused.
    Event,
    /// Every operation of a recorded run ends again as it was recorded.
    Recorded,
    /// Every fault of a schedule is done when it is due.
    Fault,
    /// No operation outlives its deadline while its host runs.
    Deadline,
    /// No byte of a retired region changes.
    Retired,
    /// Once everything is healed, everything works again and ends in time.
    Liveness,
    /// The same run again is the same.
    Repeated,
    /// The process that serves the memory is there to the end.
    Peer,
    /// None: the run is a canary, which has to fail so that it is seen that failures are told.
    Canary,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 18] = [
        Check::Bytes,
        Check::Needle,
        Check::Success,
        Check::Completion,
        Check::Message,
        Check::Atomic,
        Check::Floor,
        Check::Expectation,
        Check::Progress,
        Check::Leak,
        Check::Event,
        Check::Recorded,
        Check::Deadline,
        Check::Retired,
        Check::Liveness,
        Check::Repeated,
        Check::Peer,
        Check::Canary,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Check::Bytes => "bytes",
            Check::Needle => "needle",
            Check::Success => "success",
            Check::Completion => "completion",
            Check::Message => "message",
            Check::Atomic => "atomic",
            Check::Floor => "floor",
            Check::Expectation => "expectation",
            Check::Progress => "progress",
            Check::Leak => "leak",
            Check::Event => "event",
            Check::Recorded => "recorded",
            Check::Fault => "fault",
            Check::Deadline => "deadline",
            Check::Retired => "retired",
            Check::Liveness => "liveness",
            Check::Repeated => "repeated",
            Check::Peer => "peer",
            Check::Canary => "canary",
        }
    }
}

/// A check that failed: what, when, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which check.
    pub check: Check,
    /// When it was noticed, in virtual time.
    pub at: Instant,
    /// What was found and where.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} check failed at {}: {}", self.check.name(), self.at, self.what)
    }
}

/// The failures of a run.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    told: Vec<Failure>,
    total: u64,
    /// Checks that failed, told or not, by number.
    seen: u32,
}

impl Failures {
    /// Adds one. `what` is only called while failures are still told in full.
    pub fn add(&mut self, check: Check, at: Instant, what: impl FnOnce() -> String) {
        self.total += 1;
        self.seen |= 1 << check as u32;
        if self.told.len() < TOLD {
            self.told.push(Failure { check, at, what: what() });
        }
    }

    /// The first ones.
    pub fn told(&self) -> &[Failure] {
        &self.told
    }

    /// Whether a check failed, told or not.
    pub fn has(&self, check: Check) -> bool {
        self.seen & 1 << check as u32 != 0
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.total
    }
}
