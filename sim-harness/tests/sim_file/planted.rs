//! A planted bug, found by seeds and made small.

use wavetank_contract::Instant;
use wavetank_harness::Check;
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{Expected, Outcome, SimFile};
use wavetank_harness::swarm::plan::{Plan, VerbPlan};
use wavetank_harness::swarm::shrink::shrink;
use wavetank_harness::swarm::{Guilt, draw, run};
use wavetank_mock::Mark;

/// A run in which an atomic is wrong if a packet came twice.
fn lying(plan: &Plan, choices: SwarmChoices) -> Outcome {
    let mut verdict = run(plan, choices);
    let swap = plan.ops.iter().find(|op| matches!(op.verb, VerbPlan::Swap { .. }));
    if let Some(op) = swap
        && verdict.marks.get(&Mark::PacketDuplicated) > Some(&0)
    {
        let what = "done twice".to_owned();
        verdict.failure = Some(Guilt { check: Check::Atomic, at: Instant::ZERO, op: Some(op.id), what });
    }
    Ok(verdict)
}

#[test]
fn a_planted_bug_shrinks_to_a_file_of_less_than_30_lines() {
    let atomic = |seed: &u64| {
        let failing = Expected::of(&lying(&draw(*seed), SwarmChoices::seeded(*seed))).failing();
        failing.is_some_and(|failing| failing.name() == "atomic")
    };
    let seed = (0..2000).find(atomic).expect("one of so many seeds has both");
    let choices = SwarmChoices::seeded(seed).record();
    let plan = draw(seed);
    let outcome = lying(&plan, choices.clone());
    let large = SimFile::of(Some(seed), &plan, &choices, &outcome);
    let wanted = large.expected.failing().expect("it fails");
    let mut failing = |plan: &Plan, choices| Expected::of(&lying(plan, choices)).failing();
    let shrunk = shrink(&large.case, wanted, 5000, &mut failing, &mut |_| ()).expect("it fails again");
    let choices = SwarmChoices::sparse(&shrunk.case.loud).record();
    let outcome = lying(&shrunk.case.plan, choices.clone());
    let small = SimFile::of(Some(seed), &shrunk.case.plan, &choices, &outcome);
    let text = small.to_string();
    let lines = |file: &SimFile| file.to_string().lines().count();
    assert!(lines(&small) < 30 && lines(&large) > 100, "{} lines became\n{text}", lines(&large));
    assert_eq!(small.replay(&mut lying).1, [""; 0]);
    let [op] = small.case.plan.ops[..] else { panic!("one operation is enough:\n{text}") };
    assert!(matches!(op.verb, VerbPlan::Swap { .. }), "{text}");
}
