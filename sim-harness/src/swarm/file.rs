//! Runs as text: all there is to a swarm run, and what should become of it.
//!
//! ```text
//! wavetank-swarm 1
//! # What the run once found. Anything behind a # at the start of a line is for people.
//! program 0.1.0
//! seed 8117 v1                                    what drew it, if anything did
//! profile cx6                                     default ideal
//! jitter_ns 300                                   default 0
//! nodes 3                                         default 2
//! region 1 slots=4 slot_bytes=8192 window         node; default slots=1 slot_bytes=4096, no window
//! connection 0 1 mtu=256 retry_cnt=3              nodes; what is left out is as in `defaults`
//! engine chunk_bytes=1024 window=2                default chunk_bytes=4096 window=8 signal_every=1
//! buggify split-batch
//! op 17 write connection=1 end=0 region=0 slot=1 offset=0 len=4096 imm deadline_ns=500000 cancel session=2
//! op 18 add region=0 slot=2                       default connection=0 end=0 region=0 slot=0 offset=0
//! fault op 3 connection 0 link 0 1 lose one-in 10 burst 1
//! choice link-loss 3 = last                       site, how many before it at this site, value
//! checkpoint 1 = 0123456789abcdef                 the hash after 1,024 events, 2,048, ...
//! expect fails bytes op 17                        or `expect passes 0123456789abcdef`, or `expect panics`
//! ```

mod fields;
mod read;
mod write;

use std::path::Path;

use super::choices::SwarmChoices;
use super::plan::Plan;
use super::shrink::Case;
use super::verdict::Verdict;
use crate::check::Check;

/// How such a file begins. Recorded runs, which are `.sim` files too, begin with `wavetank-sim`.
pub const HEADER: &str = "wavetank-swarm";

/// The version of the format that is written and read.
pub const VERSION: &str = "1";

/// What a seed means. Drawing differently is another version.
pub const SWARM_VERSION: &str = "v1";

/// Bytes of a file.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Loud choices of a file.
pub const CHOICES_MAX: usize = 1 << 20;

/// A run that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimFile {
    /// What people wrote about it, line by line.
    pub notes: Vec<String>,
    /// The version of the program that wrote it.
    pub program: String,
    /// The seed that drew it.
    pub seed: Option<u64>,
    /// Whether it is a canary: it has to fail, though nothing is wrong.
    pub canary: bool,
    /// The run.
    pub case: Case,
    /// Some of its checkpoints: their number, from 1, and hash.
    pub checkpoints: Vec<(u64, u64)>,
    /// What should become of it.
    pub expected: Expected,
}

/// What should become of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Everything holds, and its trace has this hash.
    Passes(u64),
    /// A check fails, about this operation if it is about one.
    Fails(Check, Option<u32>),
    /// The program panics: a broken invariant of its own.
    Panics,
}

/// What is wrong with a run, as far as two runs can be wrong alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failing {
    /// A check failed.
    Check(Check),
    /// The program panicked.
    Panic,
}

impl Failing {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Failing::Check(check) => check.name(),
            Failing::Panic => "panic",
        }
    }
}

impl Expected {
    /// What a run was.
    pub fn of(outcome: &Outcome) -> Expected {
        match outcome {
            Err(_) => Expected::Panics,
            Ok(Verdict { failure: Some(guilt), .. }) => Expected::Fails(guilt.check, guilt.op),
            Ok(verdict) => Expected::Passes(verdict.trace_hash),
        }
    }

    /// By what it fails, if it should.
    pub const fn failing(self) -> Option<Failing> {
        match self {
            Expected::Passes(_) => None,
            Expected::Fails(check, _) => Some(Failing::Check(check)),
            Expected::Panics => Some(Failing::Panic),
        }
    }
}

/// How a run ended: with a verdict, or in a panic, which says this.
pub type Outcome = Result<Verdict, String>;

/// Runs a plan and catches a panic, so that what it did until then is still known.
pub fn caught(run: impl FnOnce() -> Verdict) -> Outcome {
    // Nothing the run touched is used afterwards but its choices, which are whole between any two of them.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
    })
}

impl SimFile {
    /// A run and what became of it.
    pub fn of(seed: Option<u64>, plan: &Plan, choices: &SwarmChoices, outcome: &Outcome) -> SimFile {
        let all = outcome.as_ref().map_or(&[][..], |verdict| &verdict.checkpoints);
        let numbered = (1..).zip(all.iter().copied());
        SimFile {
            notes: Vec::new(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            canary: false,
            case: Case { plan: plan.clone(), loud: choices.loud() },
            checkpoints: numbered.filter(|(number, _)| *number <= 4 || *number == all.len() as u64).collect(),
            expected: Expected::of(outcome),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`WorkloadError`](crate::WorkloadError) with file, line and what was wanted there.
    pub fn load(path: &Path) -> Result<SimFile, crate::WorkloadError> {
        use std::io::Read as _;
        let unreadable = |error| crate::WorkloadError::unreadable(path, error);
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        SimFile::parse(path, &bytes)
    }

    /// Runs it again, and says in which ways it was not as expected; none is good.
    pub fn replay(&self, run: &mut dyn FnMut(&Plan, SwarmChoices) -> Outcome) -> (Outcome, Vec<String>) {
        let outcome = run(&self.case.plan, SwarmChoices::sparse(&self.case.loud));
        let mut differences = Vec::new();
        if let Ok(verdict) = &outcome {
            let found = |number: u64| verdict.checkpoints.get(usize::try_from(number - 1).ok()?).copied();
            let parted = self.checkpoints.iter().find(|(number, hash)| found(*number) != Some(*hash));
            if let Some((number, hash)) = parted {
                let found =
                    found(*number).map_or("the run was over".to_owned(), |hash| format!("{hash:016x}"));
                let events = number * crate::trace::CHECKPOINT_EVENTS;
                differences.push(format!(
                    "it is another run by event {events}: checkpoint {number} should be {hash:016x}, found {found}"
                ));
            }
        }
        let is = Expected::of(&outcome);
        if is != self.expected {
            differences.push(format!("it should end as: {}\n  it ended as:         {is}", self.expected));
        }
        (outcome, differences)
    }
}
