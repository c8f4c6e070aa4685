//! What the tests of the kit share.

use wavetank_harness::kit::{CaseReport, Date, Outcome, Plan, Quirks, Report, run};
use wavetank_harness::lab::{Lab, MockLab};
use wavetank_mock::Profile;

pub(crate) fn plan() -> Plan {
    Plan { only: Vec::new(), quirks: Quirks::default(), today: Date::new(2026, 1, 1).expect("a day") }
}

pub(crate) fn only(names: &[&str]) -> Plan {
    Plan { only: names.iter().map(|name| (*name).to_owned()).collect(), ..plan() }
}

pub(crate) fn on_mock(profile: &Profile, seed: u64, plan: &Plan) -> Report {
    on(&mut || MockLab::new(profile.clone(), seed), plan)
}

pub(crate) fn on<L: Lab>(make: &mut dyn FnMut() -> L, plan: &Plan) -> Report {
    run(make, plan, &mut |_| {}).expect("simulated devices are always there")
}

pub(crate) fn failed(report: &Report) -> Vec<&CaseReport> {
    report.cases.iter().filter(|case| matches!(case.result, Outcome::Failed(_))).collect()
}
