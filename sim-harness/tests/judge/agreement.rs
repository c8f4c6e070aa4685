//! Two simulated networks of other speed and chance agree on everything that is compared: so only what is defined is.

use wavetank_harness::judge::{Judge, Summary};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

/// What programs bring about, by chance, often.
const OUTCOMES: [&str; 24] = [
    "compare_swap REM_ACCESS_ERR",
    "compare_swap REM_INV_REQ_ERR",
    "compare_swap SUCCESS",
    "fetch_add SUCCESS",
    "read LOC_PROT_ERR",
    "read REM_ACCESS_ERR",
    "read REM_INV_REQ_ERR",
    "read RETRY_EXC_ERR",
    "read SUCCESS",
    "read WR_FLUSH_ERR",
    "recv LOC_LEN_ERR",
    "recv LOC_PROT_ERR",
    "recv SUCCESS",
    "recv WR_FLUSH_ERR",
    "send LOC_PROT_ERR",
    "send REM_INV_REQ_ERR",
    "send REM_OP_ERR",
    "send RETRY_EXC_ERR",
    "send RNR_RETRY_EXC_ERR",
    "send SUCCESS",
    "send WR_FLUSH_ERR",
    "write REM_ACCESS_ERR",
    "write SUCCESS",
    "write_imm RNR_RETRY_EXC_ERR",
];

#[track_caller]
fn agree(reference: MockLab, other: MockLab, seed: u64, programs: u64) {
    let mut judge = Judge::new(reference, other).unwrap();
    let summary = judge.run(seed, programs, &mut |_, found| found == 0);
    let shown: Vec<String> =
        summary.disagreements.iter().chain(&summary.unsteady).map(ToString::to_string).collect();
    assert!(summary.ok() && shown.is_empty(), "{:?}\n{}", summary.refused, shown.join("\n"));
    assert_eq!(summary.programs + summary.undefined, programs);
    assert!(summary.undefined * 50 < programs, "too many programs are not judged: {}", summary.undefined);
    let Summary { bytes, masked_bytes, outcomes, .. } = summary;
    assert!(masked_bytes * 50 < bytes, "too much is masked: {masked_bytes} bytes, and {bytes} are not");
    for outcome in OUTCOMES {
        let times = outcomes.get(outcome).copied().unwrap_or_default();
        assert!(times >= 20, "{outcome:?} came about {times} times: what is not tried is not compared");
    }
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
