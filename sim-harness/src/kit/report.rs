//! What came of a run: for people, for machines, and to be compared with another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "text", rename_all = "snake_case")]
pub enum Outcome {
    /// Every promise was kept.
    Passed,
    /// One was not.
    Failed(String),
    /// It means nothing here, or cannot be tried.
    Skipped(String),
    /// It fails as a quirk says, or is not tried because of one.
    Quirk(String),
}

impl Outcome {
    /// As tables say it.
    pub const fn name(&self) -> &'static str {
        match self {
            Outcome::Passed => "pass",
            Outcome::Failed(_) => "FAIL",
            Outcome::Skipped(_) => "skipped",
            Outcome::Quirk(_) => "quirk",
        }
    }

    /// Why, if there is something to say.
    pub fn text(&self) -> &str {
        match self {
            Outcome::Passed => "",
            Outcome::Failed(text) | Outcome::Skipped(text) | Outcome::Quirk(text) => text,
        }
    }
}

/// One case of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseReport {
    /// Its group.
    pub group: String,
    /// Its name.
    pub case: String,
    /// What came of it.
    pub result: Outcome,
    /// What was seen, one line each: no time, no address.
    pub seen: Vec<String>,
    /// How long it took, by the lab's clock.
    pub took_ns: u64,
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Every promise was kept.
    pub passed: u32,
    /// One was not.
    pub failed: u32,
    /// Not tried.
    pub skipped: u32,
    /// Failed as a quirk says.
    pub quirks: u32,
}

/// A run of the kit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The lab.
    pub lab: String,
    /// Every case that was asked for, in order.
    pub cases: Vec<CaseReport>,
    /// What is wrong with the quirks themselves.
    pub complaints: Vec<String>,
}

/// A saved report cannot be read back.
#[derive(Debug, thiserror::Error)]
#[error("not a saved report of the kit: {0}")]
pub struct ReportError(#[from] serde_json::Error);

impl Report {
    /// Whether nothing has to be looked at.
    pub fn ok(&self) -> bool {
        self.complaints.is_empty() && self.counts().failed == 0
    }

    /// How many cases ended how.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for case in &self.cases {
            *match case.result {
                Outcome::Passed => &mut counts.passed,
                Outcome::Failed(_) => &mut counts.failed,
                Outcome::Skipped(_) => &mut counts.skipped,
                Outcome::Quirk(_) => &mut counts.quirks,
            } += 1;
        }
        counts
    }

    /// For machines, and to be compared with later.
    ///
    /// # Errors
    /// None that this type can bring about.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Reads a saved report.
    ///
    /// # Errors
    /// Line and column of what it cannot be.
    pub fn from_json(text: &str) -> Result<Report, ReportError> {
        Ok(serde_json::from_str(text)?)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { passed, failed, skipped, quirks } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped, {quirks} quirks")
    }
}
