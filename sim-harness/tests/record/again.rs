//! A run that is issued again does what it did; where it does not, the first difference is named.

use wavetank_harness::record::{End, Event, RecordedRun, compare};
use wavetank_harness::workload::Workload;
use wavetank_harness::{Check, Replay};

use crate::{again, everything, recorded, run};
use wavetank_contract::Status;

/// Changes the end of an operation in its recording.
fn tampered(run: &RecordedRun, number: u64, new: End, bytes: u64) -> RecordedRun {
    let mut run = run.clone();
    for event in &mut run.events {
        if let Event::Finish { serial, end, len, .. } = event
            && *serial == number
        {
            (*end, *len) = (new, bytes);
        }
    }
    run
}

#[test]
fn a_run_issued_again_ends_as_it_was_recorded() {
    let first = recorded(everything(1));
    let report = again(&first);
    assert!(report.ok(), "{:?}", report.failures.told());
    assert_eq!((report.ops, report.name.as_str()), (400, "all"));
    assert!(report.bytes_verified > 0 && report.mismatches == 0);
}

#[test]
fn as_many_are_in_flight_as_there_were() {
    let first = recorded(everything(1));
    let second = again(&first).recorded.unwrap();
    assert_eq!((first.concurrency(), second.concurrency()), (6, 6));
    let submits = |run: &RecordedRun| {
        let submits = run.submits().map(|s| (s.kind, s.region, s.offset, s.len, s.connection));
        submits.collect::<Vec<_>>()
    };
    assert_eq!(submits(&first), submits(&second), "the same operations in the same order");
}

#[test]
fn a_status_that_does_not_come_again_is_named_with_its_line() {
    let first = recorded(everything(1));
    let failed = End::Completed(Status::RetryExcErr);
    let report = again(&tampered(&first, 17, failed, 0));
    let told = report.failures.told()[0].to_string();
    assert_eq!((report.failures.total(), report.failures.told()[0].check), (1, Check::Recorded));
    for part in ["run.sim:", "operation 17, ", "recorded as RETRY_EXC_ERR with 0 bytes, now SUCCESS with "] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[test]
fn the_first_of_many_differences_is_told_first() {
    let first = recorded(everything(1));
    let twice = tampered(&tampered(&first, 300, End::Deadline, 0), 40, End::Refused, 0);
    let report = again(&twice);
    assert_eq!(report.failures.total(), 2);
    assert!(report.failures.told()[0].to_string().contains("operation 40, "));
}

#[test]
fn lengths_and_immediates_are_compared_too() {
    let first = recorded(everything(1));
    let second = again(&first).recorded.unwrap();
    assert_eq!(compare(&first, &second), []);
    let mut shorter = first.clone();
    let message = shorter.events.iter_mut().find_map(|event| match event {
        Event::Receive { len, imm: None, .. } => Some(len),
        _ => None,
    });
    *message.unwrap() -= 1;
    let found = compare(&shorter, &second);
    assert!(found.len() == 1 && found[0].what.starts_with("message "), "{found:?}");
    let mut other = first.clone();
    let imm = other.events.iter_mut().find_map(|event| match event {
        Event::Receive { imm: Some(imm), .. } => Some(imm),
        _ => None,
    });
    *imm.unwrap() = 0xdead;
    let found = compare(&other, &second);
    assert_eq!((found.len(), found[0].now.as_str()), (1, "never ended"), "{found:?}");
    assert!(found[0].what.contains("0xdead"), "{found:?}");
}

#[test]
fn a_run_that_failed_is_recorded_to_its_end_and_differs_where_the_cause_is_missing() {
    let mut replay = Replay::prepare(everything(1)).unwrap();
    replay.record();
    replay.world().fabric().unwrap().link(1, 0).loss_one_in = 2;
    replay.world().fabric().unwrap().link(0, 1).loss_one_in = 1;
    let report = replay.run(&mut |_| ());
    assert!(!report.ok());
    let first = report.recorded.unwrap();
    let ends: Vec<End> = first
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Finish { end, .. } => Some(*end),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), first.submits().count(), "what was under way has its end too");
    assert!(ends.contains(&End::Completed(Status::RetryExcErr)), "{ends:?}");
    let report = again(&first);
    let told = report.failures.told()[0].to_string();
    assert_eq!(report.failures.total(), ends.len() as u64, "{told}");
    assert!(told.contains("recorded as") && told.contains("now SUCCESS"), "{told}");
}

#[test]
fn a_failure_that_comes_again_is_no_difference() {
    // The same cause: the cable is cut from the start, both times.
    let cut = |workload: Workload| {
        let mut replay = Replay::prepare(workload).unwrap();
        replay.record();
        replay.world().fabric().unwrap().link(0, 1).loss_one_in = 1;
        replay.run(&mut |_| ())
    };
    let first = cut(everything(1)).recorded.unwrap();
    let report = cut(Workload::of_run("run.sim".as_ref(), first).unwrap());
    assert!(report.ok(), "{:?}", report.failures.told());
}

#[test]
fn what_the_network_mends_is_no_difference_and_bytes_are_checked_as_ever() {
    let first = recorded(everything(1));
    let mut replay = Replay::prepare(Workload::of_run("run.sim".as_ref(), first).unwrap()).unwrap();
    replay.world().fabric().unwrap().link(1, 0).lose_after = Some(3);
    let report = replay.run(&mut |_| ());
    assert!(report.ok(), "a lost packet is sent again: {:?}", report.failures.told());
    assert_eq!(report.bytes_swept, 65 << 10);
}

#[test]
fn nothing_is_recorded_unless_it_is_asked_for() {
    let report = Replay::prepare(everything(1)).unwrap().run(&mut |_| ());
    assert!(report.recorded.is_none());
    assert_eq!(report.trace.hash(), run(everything(1)).trace.hash(), "recording changes nothing");
}
