//! Two simulated networks of other speed and chance agree on everything that is compared: so only what is defined is.

use wavetank_harness::judge::Judge;
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

#[track_caller]
fn agree(reference: MockLab, other: MockLab, seed: u64, programs: u64) {
    let mut judge = Judge::new(reference, other).unwrap();
    let summary = judge.run(seed, programs, &mut |_, found| found == 0);
    for disagreement in summary.disagreements.iter().chain(&summary.unsteady) {
        println!("{disagreement}");
    }
    let told = format!("{:?}", wavetank_harness::judge::Summary { disagreements: Vec::new(), ..summary.clone() });
    assert!(summary.ok() && summary.unsteady.is_empty(), "{told}");
    assert_eq!(summary.programs + summary.undefined, programs, "{told}");
    assert!(summary.undefined * 50 < programs, "too many programs are not judged: {told}");
    assert!(summary.masked_bytes * 20 < summary.bytes, "too much is masked: {told}");
    println!("{told}");
}

#[test]
fn a_network_agrees_with_a_slower_one_that_jitters() {
    agree(MockLab::new(Profile::IDEAL, 1), MockLab::new(Profile::RXE, 2), 1, 3000);
}

#[test]
fn a_network_agrees_with_itself_under_other_chance() {
    agree(MockLab::new(Profile::RXE, 3), MockLab::new(Profile::RXE, 4), 2, 3000);
}

#[test]
fn a_slow_network_agrees_with_a_fast_one() {
    agree(MockLab::new(Profile::RXE, 5), MockLab::new(Profile::CX6, 6), 3, 3000);
}
