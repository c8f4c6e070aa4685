//! Runs of the kit as text for people.

use std::collections::BTreeMap;

use wavetank_harness::kit::{Case, CaseDifference, CaseReport, Difference, Outcome, Report};
use wavetank_harness::lab::Lab;

use crate::figures::duration;
use crate::table;

/// Lines of a difference that are shown of each side.
const LINES: usize = 8;

/// Every case, and what it needs.
pub(super) fn list<L: Lab>(cases: &[&Case<L>]) -> String {
    let rows = cases.iter().map(|case| {
        let needs: Vec<String> = case.needs().iter().map(|need| format!("{need:?}")).collect();
        vec![case.name().to_owned(), case.group().name().to_owned(), needs.join(", ")]
    });
    let text = table::table(&["case", "group", "needs"], rows);
    format!("{text}\n\n{} cases", cases.len())
}

/// The whole run.
pub(super) fn report(report: &Report) -> String {
    let rows = report.cases.iter().map(|case| {
        let CaseReport { group, case, result, took_ns, .. } = case;
        vec![case.clone(), group.clone(), result.name().to_owned(), duration(*took_ns)]
    });
    let mut text = table::table(&["case", "group", "result", "took"], rows);
    text += "\n";
    for (what, outcome) in [("skipped", false), ("quirk", true)] {
        for (why, cases) in by_reason(report, outcome) {
            text += &format!("\n{what}: {why}\n  {}", cases.join("\n  "));
        }
    }
    for line in failures(report) {
        text += &format!("\n{line}");
    }
    let total_ns = report.cases.iter().map(|case| case.took_ns).sum();
    text += &format!("\n\n{}: {} in {}", report.lab, report.counts(), duration(total_ns));
    text
}

/// Cases that were skipped, or that a quirk excuses, by the reason.
fn by_reason(report: &Report, quirks: bool) -> BTreeMap<&str, Vec<&str>> {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in &report.cases {
        let why = match &case.result {
            Outcome::Skipped(why) if !quirks => why,
            Outcome::Quirk(why) if quirks => why,
            _ => continue,
        };
        reasons.entry(why).or_default().push(&case.case);
    }
    reasons
}

/// A line for everything that has to be looked at.
pub(super) fn failures(report: &Report) -> impl Iterator<Item = String> + '_ {
    let failed = report.cases.iter().filter_map(|case| match &case.result {
        Outcome::Failed(text) => Some(format!("FAILED {}: {text}", case.case)),
        _ => None,
    });
    failed.chain(report.complaints.iter().cloned())
}

/// Where two runs part.
pub(super) fn difference(difference: &Difference) -> String {
    let Difference { one, other, alike, cases } = difference;
    let mut text = format!("\n{one} and {other}: {alike} cases went alike, {} did not", cases.len());
    for CaseDifference { case, one, other, only_one, only_other } in cases {
        let told = |result: &Option<String>| result.clone().unwrap_or_else(|| "not run".to_owned());
        let (first, second) = (told(one), told(other));
        text += &format!("\n\n{case}");
        if first != second {
            text += &format!("\n  - {first}\n  + {second}");
        }
        for (sign, lines) in [("-", only_one), ("+", only_other)] {
            for line in lines.iter().take(LINES) {
                text += &format!("\n  {sign} {line}");
            }
            if lines.len() > LINES {
                text += &format!("\n  {sign} and {} more", lines.len() - LINES);
            }
        }
    }
    text
}
