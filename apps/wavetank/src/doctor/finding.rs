//! How findings are shown.

use serde_json::{Value, json};
use wavetank_contract::finding::{Finding, Verdict};
use wavetank_engine::BackendKind;

/// A finding for programs.
pub(super) fn to_json(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "verdict": finding.verdict.to_string(),
        "says": finding.says,
        "mend": finding.mend,
    })
}

/// A failure is to be seen.
fn shown(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    }
}

/// All of them for people: a line each, the remedy under it, and what it comes to.
pub(super) fn page(kind: BackendKind, findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut page = String::new();
    for Finding { check, verdict, says, mend } in findings {
        page.push_str(&format!("{:<4}  {check:<width$}  {says}\n", shown(*verdict)));
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
