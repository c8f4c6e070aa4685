//! The same file and seed give the same trace; anything else gives another.

use wavetank_engine::{Port, RdmaContext};
use wavetank_harness::determinism::{self, Determinism};
use wavetank_harness::report::Spent;
use wavetank_harness::trace::{Event, EventKind};
use wavetank_harness::{Replay, Report, SetupError, Trace, Workload};
use wavetank_mock::{Opcode, Profile};

use crate::support::{load, op, reads, run_ok, two_nodes, two_nodes_with};

fn mixed(settings: &str, concurrency: u32) -> Workload {
    let text = op("read", "pages", "9KiB")
        + &op("write", "log", "3000")
        + "[[op]]\nkind = \"send\"\nfrom = \"client\"\nto = \"storage\"\nsize = { uniform = [1, 900] }\n"
        + &load(concurrency, 600);
    two_nodes_with(settings, &text)
}

fn traced(workload: &Workload, trace: Trace) -> Result<Report, SetupError> {
    let context = |nic, config| RdmaContext::from(Port::new(nic, config));
    Ok(Replay::prepare_with(workload.clone(), trace, context)?.run(&mut |_| ()))
}

/// Place and length of each operation submitted among the events kept.
fn submitted(report: &Report) -> Vec<(u64, u32)> {
    let kept = report.trace.kept().iter().filter(|event| event.kind == EventKind::Submitted);
    kept.map(|event: &Event| (event.digest, event.len)).collect()
}

#[test]
fn the_same_workload_gives_the_same_trace_and_report_twice() {
    let (a, b) = (run_ok(mixed("", 16)), run_ok(mixed("", 16)));
    assert_eq!((a.trace.hash(), a.trace.events()), (b.trace.hash(), b.trace.events()));
    assert_eq!(a.to_json(&Spent::default()), b.to_json(&Spent::default()));
    assert_eq!(a.trace.differs_within(&b.trace), None);
}

#[test]
fn another_seed_gives_another_order_and_another_hash() {
    let mut other = mixed("", 16);
    other.settings.seed = 2;
    let a = traced(&mixed("", 16), Trace::keeping(0..500)).unwrap();
    let b = traced(&other, Trace::keeping(0..500)).unwrap();
    assert_ne!(a.trace.hash(), b.trace.hash());
    let (a, b) = (submitted(&a), submitted(&b));
    assert!(a.len() > 50 && b.len() > 50);
    assert_ne!(a, b, "the same operations in the same order");
}

#[test]
fn every_setting_that_changes_what_happens_changes_the_hash() {
    let variants = [
        ("", 16),
        ("mtu = 1024", 16),
        ("chunk = \"4KiB\"", 16),
        ("chunk = \"4KiB\"\nwindow = 1", 16),
        ("queue_pairs = 2", 16),
        ("", 15),
        ("seed = 2", 16),
    ];
    let mut hashes: Vec<u64> =
        variants.iter().map(|(settings, n)| run_ok(mixed(settings, *n)).trace.hash()).collect();
    for profile in [Profile::IDEAL, Profile::RXE] {
        let mut workload = mixed("", 16);
        workload.settings.profile = profile;
        hashes.push(run_ok(workload).trace.hash());
    }
    for (i, one) in hashes.iter().enumerate() {
        assert!(hashes[i + 1..].iter().all(|other| one != other), "variant {i} of {variants:?}");
    }
}

#[test]
fn an_honest_run_repeats_itself() {
    match determinism::check(|trace| traced(&mixed("", 16), trace)).unwrap() {
        Determinism::Same(report) => assert!(report.ok()),
        different => panic!("{different:?}"),
    }
}

#[test]
fn of_two_runs_that_differ_the_first_different_event_is_named() {
    // Every second run has one READ more in flight: the first ones are submitted alike.
    let mut run = 0;
    let found = determinism::check(|trace| {
        run += 1;
        traced(&two_nodes(&reads(4 + run % 2, 2000)), trace)
    });
    let Determinism::Different { event, first, second, report } = found.unwrap() else {
        panic!("4 and 5 in flight are not the same")
    };
    assert_eq!(event, 4, "four are submitted alike");
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.kind, first.object), (EventKind::Submitted, 4), "{first}");
    assert_ne!(second.kind, EventKind::Submitted, "{second}");
    assert!(report.ok());
}

#[test]
fn a_difference_far_into_the_run_is_found_between_its_checkpoints() {
    let mut run = 0;
    let found = determinism::check(|trace| {
        run += 1;
        let count = if run % 2 == 0 { 2001 } else { 2000 };
        traced(&two_nodes(&reads(1, count)), trace)
    });
    let Determinism::Different { event, first, second, .. } = found.unwrap() else {
        panic!("one has an operation more")
    };
    // Each READ has four events: submitted, request, response, finished.
    assert_eq!((event, first), (8000, None));
    assert_eq!(second.map(|event| (event.kind, event.object)), Some((EventKind::Submitted, 2000)));
}

#[test]
fn a_lone_read_leaves_four_events_in_the_trace() {
    let report = traced(&two_nodes(&reads(1, 1)), Trace::keeping(0..10)).unwrap();
    let kept = report.trace.kept();
    let told: Vec<_> = kept.iter().map(|event| (event.kind, event.node, event.len)).collect();
    let expected = [
        (EventKind::Submitted, 0, 4096),
        (EventKind::Delivered(Opcode::ReadRequest), 1, 0),
        (EventKind::Delivered(Opcode::ReadResponseOnly), 0, 4096),
        (EventKind::Finished, 0, 4096),
    ];
    assert_eq!(told, expected);
    assert_eq!((kept[0].at.0, kept[3].at, kept[3].status), (0, kept[2].at, 0));
    assert_ne!(kept[2].digest, 0, "its payload is part of the trace");
}
