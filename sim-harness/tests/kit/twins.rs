//! Each case's twin: the lie that it is there to find.

mod table;

use wavetank_harness::kit::{Outcome, Report, cases};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

use self::table::TWINS;
use crate::lying::{Lie, LyingLab};
use crate::support::{failed, on, on_mock, only, plan};

type Liars = LyingLab<MockLab>;

fn liars(lie: Lie, profile: &Profile, names: &[&str]) -> Report {
    on(&mut || LyingLab::new(MockLab::new(profile.clone(), 1), lie), &only(names))
}

#[test]
fn every_case_has_a_twin() {
    let all: Vec<&str> = cases::<Liars>().iter().map(|case| case.name()).collect();
    let without: Vec<_> = all.iter().filter(|name| TWINS.iter().all(|(twin, ..)| twin != *name)).collect();
    assert!(without.is_empty(), "cases that nobody has seen fail: {without:#?}");
    let unknown: Vec<_> = TWINS.iter().filter(|(name, ..)| !all.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn every_case_finds_its_lie() {
    for profile in [Profile::IDEAL, Profile::RXE] {
        let missed: Vec<_> = TWINS
            .iter()
            .map(|twin| (twin, liars(twin.1, &profile, &[twin.0])))
            .filter(|(twin, report)| {
                failed(report).len() != 1 || !report.cases[0].result.text().contains(twin.2)
            })
            .map(|(twin, report)| (twin, report.cases[0].result.clone()))
            .collect();
        assert!(missed.is_empty(), "on {}: {missed:#?}", profile.name);
    }
}

/// A wrapper that changes something by itself would find lies where there are none.
#[test]
fn an_honest_liar_is_like_the_device_it_wraps() {
    let bare = on_mock(&Profile::IDEAL, 1, &plan());
    let wrapped = liars(Lie::Honest, &Profile::IDEAL, &[]);
    for (bare, wrapped) in bare.cases.iter().zip(&wrapped.cases) {
        if bare.case == "a_link_that_goes_down_and_up_is_told" {
            // The wrapper has links that go down.
            assert_eq!(wrapped.result, Outcome::Passed);
            continue;
        }
        assert_eq!(bare, wrapped);
    }
}

#[test]
fn a_device_that_promises_little_and_refuses_the_rest_passes() {
    let report = liars(Lie::Modest, &Profile::IDEAL, &[]);
    assert!(failed(&report).is_empty(), "{:#?}", failed(&report));
    let ran =
        |name: &str| report.cases.iter().any(|case| case.case == name && case.result == Outcome::Passed);
    for absent in TWINS.iter().filter(|(_, lie, _)| *lie == Lie::ModestTaker) {
        assert!(ran(absent.0), "{} was not tried", absent.0);
    }
    let report = liars(Lie::PeerCloseTeller, &Profile::IDEAL, &["a_peer_that_closes_is_told"]);
    assert_eq!(report.cases[0].result, Outcome::Passed);
}
