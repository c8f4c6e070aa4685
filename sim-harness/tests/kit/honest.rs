//! Honest devices: the simulated NIC keeps every promise, whatever its latency and chance, and always in the same way.

use wavetank_harness::kit::{Group, Need, cases};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

use crate::support::{failed, on_mock, only, plan};

/// What the simulated NIC cannot be tried on, and for which a wrapped one stands in (`twins.rs`).
const SKIPPED: usize = 6;

#[test]
fn the_simulated_nic_keeps_every_promise_in_the_same_way() {
    let first = on_mock(&Profile::IDEAL, 1, &plan());
    assert!(failed(&first).is_empty(), "{:#?}", failed(&first));
    let counts = first.counts();
    assert_eq!(counts.skipped as usize, SKIPPED, "{counts}");
    assert_eq!(counts.passed as usize, first.cases.len() - SKIPPED);
    for (profile, seed) in
        [(Profile::IDEAL, 2), (Profile::RXE, 1), (Profile::RXE, 2), (Profile::RXE, 3), (Profile::CX6, 4)]
    {
        let report = on_mock(&profile, seed, &plan());
        assert!(failed(&report).is_empty(), "{} seed {seed}: {:#?}", profile.name, failed(&report));
        for (one, other) in first.cases.iter().zip(&report.cases) {
            // Neither latency nor chance is an observation.
            assert_eq!(one.seen, other.seen, "{} on {} with seed {seed}", one.case, profile.name);
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run_to_the_nanosecond() {
    let run = || on_mock(&Profile::RXE, 5, &plan());
    assert_eq!(run(), run());
}

#[test]
fn a_case_alone_does_what_it_does_among_others() {
    let all = on_mock(&Profile::RXE, 1, &plan());
    for name in
        ["lost_packets_are_sent_again", "a_registration_ends_once", "a_dropped_future_keeps_its_memory"]
    {
        let alone = on_mock(&Profile::RXE, 1, &only(&[name]));
        assert_eq!(alone.cases.len(), 1);
        assert_eq!(all.cases.iter().find(|case| case.case == name), Some(&alone.cases[0]));
    }
}

#[test]
fn a_filter_takes_a_group_or_a_case() {
    let report = on_mock(&Profile::IDEAL, 1, &only(&["limits", "a_registration_ends_once"]));
    let others: Vec<_> = report.cases.iter().filter(|case| case.group != "limits").collect();
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].case, "a_registration_ends_once");
    assert!(report.cases.len() > 20);
}

#[test]
fn every_group_has_cases_and_every_case_a_name_of_its_own() {
    let cases = cases::<MockLab>();
    assert!(cases.len() >= 140, "{} cases", cases.len());
    for group in Group::ALL {
        assert!(cases.iter().filter(|case| case.group() == group).count() >= 8, "{group}");
        assert!(cases.iter().all(|case| case.name() != group.name()));
    }
    let mut names: Vec<&str> = cases.iter().map(|case| case.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len());
    assert!(cases.is_sorted_by_key(|case| case.group()));
}

#[test]
fn every_promise_and_every_absence_is_needed_by_a_case() {
    let cases = cases::<MockLab>();
    for need in [
        Need::Atomics,
        Need::NoAtomics,
        Need::Immediate,
        Need::NoImmediate,
        Need::QpStates,
        Need::NoQpStates,
        Need::AsyncEvents,
        Need::NoAsyncEvents,
        Need::SharedReceives,
        Need::NoSharedReceives,
        Need::DataInOrder,
        Need::OneSided,
        Need::PeerCloseEvent,
        Need::PeerCloseSilence,
    ] {
        assert!(cases.iter().any(|case| case.needs().contains(&need)), "{need:?}");
    }
}
