//! Known disagreements: each is forgiven where it is known, counted, and forgiven nothing else.

use wavetank_contract::Status;
use wavetank_harness::judge::{Judge, Summary};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

use crate::liar::{Lie, LyingLab};

/// Judges a device that deviates, under the name of soft-RoCE.
fn judged(lie: Lie) -> Summary {
    let reference = MockLab::new(Profile::IDEAL, 1);
    let mut judge = Judge::new(reference, LyingLab::named("verbs/rxe9", lie)).unwrap();
    judge.run(12, 1500, &mut |_, found| found == 0)
}

fn applied(summary: &Summary, rule: &str) -> u64 {
    summary.rules.iter().find(|r| r.rule == rule).unwrap().programs
}

#[test]
fn a_known_deviation_is_forgiven_and_counted() {
    let summary = judged(Lie::StatusOf(Status::LocLenErr, Status::LocQpOpErr));
    assert!(summary.ok(), "{:?}", summary.sorts);
    assert!(applied(&summary, "long_message_is_operation_error") > 20);
    assert_eq!(applied(&summary, "local_error_told_as_flush"), 0, "this one the device does not have");
}

#[test]
fn a_rule_forgives_nothing_but_its_own() {
    for lie in [
        Lie::StatusOf(Status::LocLenErr, Status::RemOpErr),
        Lie::StatusOf(Status::RemInvReqErr, Status::RemOpErr),
        Lie::StatusOf(Status::LocProtErr, Status::WrFlushErr),
        Lie::StatusOf(Status::RemAccessErr, Status::WrFlushErr),
    ] {
        let summary = judged(lie);
        assert!(!summary.ok(), "{lie:?} was forgiven in all of {} programs", summary.programs);
    }
}

#[test]
fn what_a_device_cannot_be_asked_is_changed_for_both() {
    let summary = judged(Lie::Honest);
    assert!(summary.ok(), "{:?}", summary.sorts);
    for rule in ["misaligned_atomic_not_posted", "fence_behind_later_reads"] {
        assert!(applied(&summary, rule) > 0, "{rule}");
    }
    let misaligned = judged(Lie::RefuseMisaligned);
    assert!(misaligned.ok(), "{:?}", misaligned.sorts);
}
