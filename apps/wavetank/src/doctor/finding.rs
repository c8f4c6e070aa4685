//! What was found, and how it is shown.

use std::fmt;

use serde_json::{Value, json};
use wavetank_engine::BackendKind;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could do so better.
    Warn,
    /// It cannot work.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        })
    }
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at, for programs: stable.
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// What is the case.
    pub(super) says: String,
    /// The command that shows or mends it. There is one for whatever is wrong.
    pub(super) mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, says: says.into(), mend: None }
    }

    pub(super) fn warn(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Warn, mend: Some(mend.into()), ..Finding::ok(check, says) }
    }

    pub(super) fn fail(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fail, ..Finding::warn(check, says, mend) }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "check": self.check,
            "verdict": self.verdict.to_string().to_lowercase(),
            "says": self.says,
            "mend": self.mend,
        })
    }
}

#[cfg(feature = "verbs")]
impl From<wavetank_verbs::doctor::Finding> for Finding {
    fn from(finding: wavetank_verbs::doctor::Finding) -> Finding {
        use wavetank_verbs::doctor::Verdict as Theirs;
        let verdict = match finding.verdict {
            Theirs::Ok => Verdict::Ok,
            Theirs::Warn => Verdict::Warn,
            Theirs::Fail => Verdict::Fail,
        };
        Finding { check: finding.check, verdict, says: finding.says, mend: finding.mend }
    }
}

/// All of them for people: a line each, the remedy under it, and what it comes to.
pub(super) fn page(kind: BackendKind, findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut page = String::new();
    for Finding { check, verdict, says, mend } in findings {
        page.push_str(&format!("{:<4}  {check:<width$}  {says}\n", verdict.to_string()));
        if let Some(mend) = mend {
            page.push_str(&format!("{:6}{:width$}  → {mend}\n", "", ""));
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let sum = match (count(Verdict::Fail), count(Verdict::Warn)) {
        (0, 0) => format!("the {kind} backend is usable here"),
        (0, warned) => format!("the {kind} backend is usable here, with {warned} to look at"),
        (failed, _) => {
            format!("the {kind} backend is NOT usable here: {failed} of {} checks failed", findings.len())
        }
    };
    format!("{page}\n{sum}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_aligns_its_findings_and_says_what_they_come_to() {
        let mut findings = vec![Finding::ok("a", "fine"), Finding::warn("longer", "slow", "make it fast")];
        let lines = ["ok    a       fine", "warn  longer  slow", "              → make it fast", ""];
        let usable = "the mock backend is usable here, with 1 to look at";
        assert_eq!(page(BackendKind::Mock, &findings), format!("{}\n{usable}", lines.join("\n")));
        findings.push(Finding::fail("z", "gone", "bring it back"));
        let said = page(BackendKind::Mock, &findings);
        assert!(said.contains("\nFAIL  z       gone\n"), "{said}");
        assert!(said.ends_with("\nthe mock backend is NOT usable here: 1 of 3 checks failed"), "{said}");
    }
}
