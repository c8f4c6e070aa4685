//! Schedules of faults for a replay, and what they did.

use std::path::Path;

use wavetank_harness::fault::schedule::{Names, Schedule};
use wavetank_harness::report::Toll;
use wavetank_harness::workload::{Expect, Source};
use wavetank_harness::{Workload, WorkloadError};

use crate::figures::grouped;

/// Reads the schedule for a workload, which then has its patience and expects nothing: ceilings are for calm runs.
pub(crate) fn load(path: Option<&Path>, workload: &mut Workload) -> Result<Option<Schedule>, String> {
    let Some(path) = path else { return Ok(None) };
    if let Source::Run { .. } = workload.source {
        return Err(
            "--faults disturbs a workload; a recorded run is held to how it went, so leave it out".to_owned()
        );
    }
    let schedule =
        Schedule::read(path, &Names::of(workload)).map_err(|error: WorkloadError| error.to_string())?;
    workload.settings.patience = schedule.patience;
    workload.expect = Expect::default();
    Ok(Some(schedule))
}

/// What faults did, for people: lines that follow a report.
pub(crate) fn told(toll: &Toll) -> String {
    let mut lines: Vec<String> = Vec::new();
    for came in &toll.came {
        let times = match came.times {
            0 => "never came".to_owned(),
            1 => "came".to_owned(),
            times => format!("came {} times", grouped(times)),
        };
        lines.push(format!("  fault        {} {times}: {}", came.place, came.fault));
    }
    let by: Vec<String> =
        toll.failed.iter().map(|(status, times)| format!("{status} {}", grouped(*times))).collect();
    let how = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
    lines.push(format!(
        "  toll         {} operations failed by faults{how}, {} connections made anew",
        grouped(toll.failed_ops()),
        grouped(toll.renewed)
    ));
    if !toll.marks.is_empty() {
        let marks: Vec<String> =
            toll.marks.iter().map(|(mark, times)| format!("{mark} {}", grouped(*times))).collect();
        lines.push(format!("  marks        {}", marks.join(", ")));
    }
    lines.join("\n")
}
