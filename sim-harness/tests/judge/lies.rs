//! Every lie is found, and shown with a handful of steps.

use wavetank_contract::{OpKind, Status};
use wavetank_harness::judge::{Judge, Summary, parse};
use wavetank_harness::lab::MockLab;
use wavetank_mock::Profile;

use crate::liar::{Lie, LyingLab};

fn judged(lie: Lie, programs: u64) -> Summary {
    let reference = MockLab::new(Profile::IDEAL, 1);
    let mut judge = Judge::new(reference, LyingLab::new(lie)).unwrap();
    judge.run(11, programs, &mut |_, found| found == 0)
}

#[track_caller]
fn all_found<const N: usize>(lies: [Lie; N]) {
    lies.into_iter().for_each(found);
}

#[track_caller]
fn found(lie: Lie) {
    let summary = judged(lie, 3000);
    let Some(shown) = summary.disagreements.first() else {
        panic!("{lie:?} was not found in {} programs", summary.programs);
    };
    assert!(shown.steps <= 5, "{lie:?} is shown with {} steps:\n{shown}", shown.steps);
    let program = parse(&shown.program).unwrap();
    assert_eq!(program.to_string(), shown.program, "it reads back");
    assert!(shown.logs.contains(">>"), "the difference is marked:\n{shown}");
}

#[test]
fn an_honest_wrapper_is_agreed_with() {
    let summary = judged(Lie::Honest, 500);
    assert!(summary.ok() && summary.unsteady.is_empty(), "{:?}", summary.disagreements);
}

#[test]
fn a_device_that_shakes_hands_is_waited_for() {
    let summary = judged(Lie::ShakeHands, 500);
    assert!(summary.ok() && summary.unsteady.is_empty(), "{:?}", summary.disagreements);
}

#[test]
fn lies_about_bytes_are_found() {
    all_found([
        Lie::FlipFilled,
        Lie::FlipBeside,
        Lie::WriteThoughRefused,
        Lie::ForgetPiece,
        Lie::LoseMessages,
    ]);
}

#[test]
fn lies_about_statuses_are_found() {
    let confused = [
        (Status::RemAccessErr, Status::RemInvReqErr),
        (Status::RemInvReqErr, Status::RemAccessErr),
        (Status::RemOpErr, Status::RemInvReqErr),
        (Status::LocLenErr, Status::RemInvReqErr),
        (Status::LocProtErr, Status::LocQpOpErr),
        (Status::RetryExcErr, Status::WrFlushErr),
        (Status::RnrRetryExcErr, Status::RetryExcErr),
        (Status::WrFlushErr, Status::Success),
        (Status::RemAccessErr, Status::Success),
    ];
    all_found(confused.map(|(from, to)| Lie::StatusOf(from, to)));
}

#[test]
fn lost_doubled_and_reordered_completions_are_found() {
    let lost = [Status::Success, Status::WrFlushErr, Status::RemAccessErr, Status::RnrRetryExcErr];
    all_found(lost.map(Lie::Lose));
    all_found([Lie::Duplicate, Lie::Reorder, Lie::ForgetFlushes]);
}

#[test]
fn lies_about_what_a_completion_carries_are_found() {
    all_found([Lie::ShortenLen, Lie::WrongImm, Lie::ForgetImm, Lie::WrongKind]);
}

#[test]
fn rights_that_are_ignored_are_found() {
    all_found([Lie::IgnoreRegionRights, Lie::IgnoreEndpointRights, Lie::IgnoreDomains, Lie::KeysLive]);
}

#[test]
fn works_done_otherwise_than_asked_are_found() {
    all_found([
        Lie::IgnoreFence,
        Lie::SwapAlways,
        Lie::AddOneMore,
        Lie::Refuse(OpKind::Read),
        Lie::Refuse(OpKind::Recv),
    ]);
}

#[test]
fn states_that_do_not_come_about_are_found() {
    all_found([Lie::NeverDrain, Lie::StayUp]);
}

#[test]
fn a_region_that_is_registered_twice_is_not_filled_again() {
    // The second registration is refused; what the failed READ left behind stays undefined.
    let text = "region b node=0 pd=0 len=4096 rights=all
region e node=1 pd=0 len=4096 rights=all
connection 0 pd0=0 rights0=all pd1=0 rights1=all mtu=256 timeout=10 retry=2 rnr_retry=0 rnr_timer=10
read c0.1 e+0:1 e+4196:1 at b+3
register e
";
    let reference = MockLab::new(Profile::IDEAL, 1);
    let mut judge = Judge::new(reference, LyingLab::new(Lie::FlipFirstOfFailed)).unwrap();
    let verdict = judge.judge(&parse(text).unwrap()).unwrap();
    assert!(verdict.differences.is_empty(), "{:?}", verdict.differences);
    assert_eq!(verdict.compared.masked_bytes, 2);
}
