//! Small workloads, run by honest devices and by ones that lie.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use wavetank_engine::Port;
use wavetank_harness::check::Failure;
use wavetank_harness::report::Spent;
use wavetank_harness::{Check, Replay, Report, Trace, Workload};
use wavetank_mock::MockNic;

use crate::lying::{Liar, Lie, Lying};

pub(crate) type LyingPort = Port<Lying<MockNic>>;

/// The file every workload of these tests says it comes from.
pub(crate) const FILE: &str = "test.toml";

/// A client and a storage node with 64 KiB of pages and 16 KiB of log, and whatever else.
pub(crate) fn two_nodes(rest: &str) -> Workload {
    two_nodes_with("", rest)
}

/// The same with other settings.
pub(crate) fn two_nodes_with(settings: &str, rest: &str) -> Workload {
    parse(&format!(
        "profile = \"cx6\"\n{settings}\n\
         [[node]]\nname = \"client\"\n[[node]]\nname = \"storage\"\n\
         [[region]]\nname = \"pages\"\nnode = \"storage\"\nsize = \"64KiB\"\n\
         [[region]]\nname = \"log\"\nnode = \"storage\"\nsize = \"16KiB\"\n\
         {rest}"
    ))
}

pub(crate) fn parse(text: &str) -> Workload {
    match Workload::parse(Path::new(FILE), text.as_bytes()) {
        Ok(workload) => workload,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// One `[[op]]` of the client.
pub(crate) fn op(kind: &str, region: &str, size: &str) -> String {
    format!("[[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"{region}\"\nsize = \"{size}\"\n")
}

/// A closed load.
pub(crate) fn load(concurrency: u32, count: u32) -> String {
    format!("[load]\nconcurrency = {concurrency}\ncount = {count}\n")
}

/// Pages of 4 KiB, read by the client.
pub(crate) fn reads(concurrency: u32, count: u32) -> String {
    op("read", "pages", "4KiB") + "align = \"4KiB\"\n" + &load(concurrency, count)
}

/// Runs a workload on honest devices.
pub(crate) fn run(workload: Workload) -> Report {
    Replay::prepare(workload).unwrap().run(&mut |_| ())
}

/// Runs it and wants every check to hold.
pub(crate) fn run_ok(workload: Workload) -> Report {
    let report = run(workload);
    assert!(report.ok(), "{}", tell(&report));
    report
}

/// A replay over devices that share a liar.
pub(crate) fn prepare_lying(workload: Workload, liar: &Rc<RefCell<Liar>>) -> Replay<LyingPort> {
    let context = |nic, config| Port::new(Lying::new(nic, Rc::clone(liar)), config);
    Replay::prepare_with(workload, Trace::default(), context).unwrap()
}

/// The honest twin of a workload passes; its twin on devices that tell `lie` about one work, or some, fails.
pub(crate) fn lie_about(workload: &Workload, lie: Lie, from: u64, times: u64) -> Report {
    let honest = prepare_lying(workload.clone(), &Liar::new(Lie::Nothing, 0, 0)).run(&mut |_| ());
    assert!(honest.ok(), "the honest twin: {}", tell(&honest));
    assert_eq!((honest.mismatches, honest.failures.told().len()), (0, 0));
    let liar = Liar::new(lie, from, times);
    let report = prepare_lying(workload.clone(), &liar).run(&mut |_| ());
    assert!(liar.borrow().told > 0, "{lie:?} was never told");
    assert!(!report.ok(), "{lie:?} was believed");
    assert_eq!(report.to_json(&Spent::default())["ok"], false);
    report
}

/// [`lie_about`] one work.
pub(crate) fn lie_once(workload: &Workload, lie: Lie, number: u64) -> Report {
    lie_about(workload, lie, number, 1)
}

/// The first failure of a check, which must say all of `parts`.
#[track_caller]
pub(crate) fn failed<'a>(report: &'a Report, check: Check, parts: &[&str]) -> &'a Failure {
    let failure = report.failures.told().iter().find(|failure| failure.check == check);
    let Some(failure) = failure else { panic!("no failure of {check:?}: {}", tell(report)) };
    let text = failure.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    failure
}

/// Wants exactly one failure.
#[track_caller]
pub(crate) fn failed_only(report: &Report, check: Check, parts: &[&str]) {
    failed(report, check, parts);
    assert_eq!(report.failures.total(), 1, "{}", tell(report));
}

/// Every failure, for people.
pub(crate) fn tell(report: &Report) -> String {
    let told: Vec<String> = report.failures.told().iter().map(ToString::to_string).collect();
    format!("{} failures:\n{}", report.failures.total(), told.join("\n"))
}

/// A file of the directory that real data is in, or `None` after saying that it is not there.
#[allow(clippy::print_stderr)]
pub(crate) fn shared_data(test: &str, name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let dir = std::env::var_os("WAVETANK_SHARED_DATA").map_or(beside, PathBuf::from);
    let path = dir.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED {test}: no {} (set WAVETANK_SHARED_DATA to the directory that has it)",
        path.display()
    );
    None
}
