//! Running cases: each on a lab of its own, none stopping the next.

use super::bench::{A, B, Bench};
use super::case::{Body, Case};
use super::date::Date;
use super::engines::Engines;
use super::group::Group;
use super::quirk::{Expect, Quirk, Quirks};
use super::report::{CaseReport, Outcome, Report};
use super::stop::{Ended, Stop};
use crate::lab::{Lab, LabError};
use wavetank_contract::Backend;

/// What to run, and what is known of the lab.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Groups and cases; all when empty.
    pub only: Vec<String>,
    /// Known deviations.
    pub quirks: Quirks,
    /// What day it is.
    pub today: Date,
}

/// Runs the kit. `make` makes a lab: every case has its own, and whatever it did to it goes with it.
///
/// # Errors
/// A lab that cannot open the devices of a case: nothing can be said of them.
pub fn run<L: Lab>(
    make: &mut dyn FnMut() -> L,
    plan: &Plan,
    progress: &mut dyn FnMut(&CaseReport),
) -> Result<Report, LabError> {
    let mut report = Report { lab: make().name().to_owned(), cases: Vec::new(), complaints: Vec::new() };
    let lab = report.lab.clone();
    for quirk in plan.quirks.expired(&lab, plan.today) {
        let Quirk { place, case, expires, .. } = quirk;
        let line =
            format!("{place}: the quirk of {case} expired on {expires}: look again, then renew or remove it");
        report.complaints.push(line);
    }
    let meant =
        |case: &Case<L>| plan.only.is_empty() || plan.only.iter().any(|filter| case.is_meant_by(filter));
    for case in super::cases::<L>().into_iter().filter(meant) {
        let quirk = plan.quirks.of(&lab, case.name);
        let case = try_case(make, &case, quirk)?;
        progress(&case);
        report.cases.push(case);
    }
    Ok(report)
}

fn try_case<L: Lab>(
    make: &mut dyn FnMut() -> L,
    case: &Case<L>,
    quirk: Option<&Quirk>,
) -> Result<CaseReport, LabError> {
    let mut report = CaseReport {
        group: case.group.name().to_owned(),
        case: case.name.to_owned(),
        result: Outcome::Passed,
        seen: Vec::new(),
        took_ns: 0,
    };
    if let Some(quirk) = quirk.filter(|quirk| quirk.expect == Expect::Skip) {
        report.result = Outcome::Quirk(format!("not tried: {}", quirk.why));
        return Ok(report);
    }
    let mut lab = make();
    let started = lab.now();
    let devices = [lab.open(A as u16)?, lab.open(B as u16)?];
    let missing = devices.iter().find_map(|device| case.missing(device.caps()));
    let ended = match missing {
        Some(why) => Err(Stop::Skipped(why.to_owned())),
        None => try_body(&mut lab, devices, case, &mut report.seen),
    };
    report.took_ns = lab.now().since_ns(started);
    lab.undo();
    report.result = judge(ended, quirk);
    if matches!(report.result, Outcome::Skipped(_)) {
        // What was seen before it came out that nothing could be is of no use to anybody.
        report.seen.clear();
    }
    Ok(report)
}

fn try_body<L: Lab>(lab: &mut L, devices: [L::Device; 2], case: &Case<L>, seen: &mut Vec<String>) -> Ended {
    match case.body {
        Body::Raw(body) => {
            let mut bench = Bench::new(lab, devices, seen)?;
            body(&mut bench)?;
            bench.finish(matches!(case.group, Group::Data | Group::Order))
        }
        Body::Driven(body) => {
            let mut engines = Engines::new(lab, devices, seen)?;
            body(&mut engines)?;
            engines.finish()
        }
    }
}

/// What a quirk makes of how a case ended.
fn judge(ended: Ended, quirk: Option<&Quirk>) -> Outcome {
    match (ended, quirk) {
        (Ok(()), None) => Outcome::Passed,
        (Ok(()), Some(quirk)) if quirk.race => Outcome::Passed,
        (Ok(()), Some(quirk)) => Outcome::Failed(format!("the quirk at {} passes: remove it", quirk.place)),
        (Err(Stop::Skipped(why)), _) => Outcome::Skipped(why),
        (Err(Stop::Failed(text)), None) => Outcome::Failed(text),
        (Err(Stop::Failed(text)), Some(quirk)) if quirk.explains(&text) => {
            Outcome::Quirk(format!("{text} ({})", quirk.why))
        }
        (Err(Stop::Failed(text)), Some(quirk)) => {
            Outcome::Failed(format!("{text} (the quirk at {} speaks of another failure)", quirk.place))
        }
    }
}
