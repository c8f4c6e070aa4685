//! Where two labs part: results, and what was seen on the way.

use serde::Serialize;

use super::report::{CaseReport, Report};

/// A case that did not go alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseDifference {
    /// The case.
    pub case: String,
    /// What came of it on one; `None` where it was not run.
    pub one: Option<String>,
    /// What came of it on the other.
    pub other: Option<String>,
    /// Lines that only one saw, from the first where they part to the last.
    pub only_one: Vec<String>,
    /// Lines that only the other saw there.
    pub only_other: Vec<String>,
}

/// Two runs, compared. Time is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// One lab.
    pub one: String,
    /// The other.
    pub other: String,
    /// Cases that went alike.
    pub alike: u32,
    /// Cases that did not.
    pub cases: Vec<CaseDifference>,
}

impl Difference {
    /// Compares two runs.
    pub fn between(one: &Report, other: &Report) -> Difference {
        let mut difference =
            Difference { one: one.lab.clone(), other: other.lab.clone(), alike: 0, cases: Vec::new() };
        let find = |report: &Report, name: &str| report.cases.iter().find(|case| case.case == name).cloned();
        for case in &one.cases {
            match find(other, &case.case) {
                Some(twin) => match compare(case, &twin) {
                    Some(parted) => difference.cases.push(parted),
                    None => difference.alike += 1,
                },
                None => difference.cases.push(alone(case, true)),
            }
        }
        let new = other.cases.iter().filter(|case| find(one, &case.case).is_none());
        difference.cases.extend(new.map(|case| alone(case, false)));
        difference
    }
}

fn told(case: &CaseReport) -> String {
    match case.result.text() {
        "" => case.result.name().to_owned(),
        text => format!("{}: {text}", case.result.name()),
    }
}

fn alone(case: &CaseReport, of_one: bool) -> CaseDifference {
    let result = Some(told(case));
    let (one, other) = if of_one { (result, None) } else { (None, result) };
    CaseDifference { case: case.case.clone(), one, other, only_one: Vec::new(), only_other: Vec::new() }
}

fn compare(one: &CaseReport, other: &CaseReport) -> Option<CaseDifference> {
    if one.result == other.result && one.seen == other.seen {
        return None;
    }
    let (a, b) = (&one.seen, &other.seen);
    // Failed or skipped, one of them ended early: what it did not come to see says nothing.
    let comparable = one.result.name() == other.result.name();
    let (mut only_one, mut only_other) = (Vec::new(), Vec::new());
    if comparable && a != b {
        let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(a, b)| a == b).count();
        only_one = a[head..a.len() - tail].to_vec();
        only_other = b[head..b.len() - tail].to_vec();
    }
    let (case, one, other) = (one.case.clone(), Some(told(one)), Some(told(other)));
    Some(CaseDifference { case, one, other, only_one, only_other })
}
