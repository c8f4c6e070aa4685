//! Shrinking against runners whose bugs are known.

use wavetank_contract::{Choices as _, Site};

use super::*;
use crate::check::Check;
use crate::fault::{Fault, When};
use crate::lab::{Cause, LinkFault};
use crate::swarm::choices::LAST;
use crate::swarm::defaults::{CONNECTION, ENGINE, REGION};
use crate::swarm::plan::{ConnectionPlan, OpPlan, RegionPlan, SlotRange, VerbPlan};

const BYTES: Failing = Failing::Check(Check::Bytes);

/// A plan of `ops` operations over two connections in turn, with a few faults, and nothing at its default.
pub(super) fn plan_of(ops: u32) -> Plan {
    let connection = |nodes| ConnectionPlan { nodes, retry_cnt: 3, in_flight: 2, ..CONNECTION };
    let region = |node| RegionPlan { node, slots: 8, slot_bytes: 8192, ..REGION };
    let verb = |id: u32| match id % 6 {
        4 => VerbPlan::Swap { region: 0, slot: 7 },
        _ => {
            VerbPlan::Read(SlotRange { region: (id % 2) as u16, slot: (id % 5) as u16, offset: 64, len: 800 })
        }
    };
    let op = |id| OpPlan {
        id,
        connection: (id % 2) as u16,
        end: 0,
        verb: verb(id),
        deadline_ns: Some(1_000_000),
        cancel: false,
        session: Some(1),
    };
    let fault = |from, to, fault| Fault {
        when: When::At(1000),
        cause: Cause::Link { from, to, fault },
        lasts_ns: Some(5000),
    };
    Plan {
        profile: "cx6".to_owned(),
        jitter_ns: 500,
        nodes: 3,
        regions: vec![region(1), region(2)],
        connections: vec![connection([0, 1]), connection([0, 2])],
        engine: EnginePlanOf::ODD,
        buggify: wavetank_contract::Buggify::ALL.into_iter().take(3).collect(),
        ops: (0..ops).map(op).collect(),
        faults: vec![
            fault(0, 1, LinkFault::DuplicateOneIn { n: 10 }),
            fault(0, 2, LinkFault::LoseOneIn { n: 10, burst: 1 }),
            fault(2, 0, LinkFault::Delay { ns: 100 }),
        ],
    }
}

struct EnginePlanOf;

impl EnginePlanOf {
    const ODD: crate::swarm::plan::EnginePlan =
        crate::swarm::plan::EnginePlan { chunk_bytes: 1024, window: 2, ..ENGINE };
}

/// Asks as a run would, and fails if a swap was made while packets of its direction come twice, and one of its own does.
fn lying(plan: &Plan, mut choices: SwarmChoices) -> Option<Failing> {
    let doubles = |op: &OpPlan| {
        plan.faults.iter().find_map(|fault| match fault.cause {
            Cause::Link { from, to, fault: LinkFault::DuplicateOneIn { n } } => {
                (plan.connections[usize::from(op.connection)].nodes == [from, to]).then_some(n)
            }
            _ => None,
        })
    };
    let mut found = None;
    for op in &plan.ops {
        choices.choose(Site::LinkJitter, plan.jitter_ns + 1);
        for _ in 0..3 {
            let Some(n) = doubles(op) else { continue };
            let twice = choices.choose(Site::LinkDuplicate, n.into()) > 0;
            if twice && matches!(op.verb, VerbPlan::Swap { .. }) {
                found = Some(BYTES);
            }
        }
    }
    found.or_else(|| (plan.ops.len() % 7 == 3).then_some(Failing::Check(Check::Leak)))
}

fn shrunk(case: &Case, runs: u32) -> Shrunk {
    shrink(case, BYTES, runs, &mut lying, &mut |_| ()).expect("it fails")
}

fn failing() -> Case {
    let plan = plan_of(200);
    let choices = SwarmChoices::seeded(5).record();
    assert_eq!(lying(&plan, choices.clone()), Some(BYTES));
    Case { plan, loud: choices.loud() }
}

#[test]
fn a_run_shrinks_to_the_operation_the_fault_and_the_choice_that_matter() {
    let case = failing();
    assert!(case.loud.len() > 200);
    let Shrunk { case, done, runs } = shrunk(&case, 10_000);
    assert!(done && runs < 600, "{runs} runs");
    let [op] = case.plan.ops[..] else { panic!("{:?}", case.plan.ops) };
    assert_eq!(op.verb, VerbPlan::Swap { region: 0, slot: 0 });
    assert_eq!(op.id % 6, 4, "it is called what it was called");
    assert_eq!((op.deadline_ns, op.session), (None, None));
    let link = Cause::Link { from: 0, to: 1, fault: LinkFault::DuplicateOneIn { n: 10 } };
    assert_eq!(case.plan.faults, [Fault { when: When::At(0), cause: link, lasts_ns: None }]);
    let [choice] = case.loud[..] else { panic!("{:?}", case.loud) };
    assert_eq!((choice.site, choice.value), (Site::LinkDuplicate, LAST));
    assert_eq!((case.plan.nodes, case.plan.regions.len(), case.plan.connections.len()), (2, 1, 1));
    assert_eq!(case.plan.connections, [CONNECTION]);
    assert_eq!((case.plan.engine, case.plan.jitter_ns, case.plan.buggify.len()), (ENGINE, 0, 0));
    assert_eq!(lying(&case.plan, SwarmChoices::sparse(&case.loud)), Some(BYTES));
}

#[test]
fn a_smaller_run_that_fails_by_another_check_is_not_taken() {
    let mut others = 0;
    let mut counting = |plan: &Plan, choices: SwarmChoices| {
        let found = lying(plan, choices);
        others += u32::from(found == Some(Failing::Check(Check::Leak)));
        found
    };
    let mut kept = |progress: Progress<'_>| {
        let Case { plan, loud } = progress.best;
        assert_eq!(lying(plan, SwarmChoices::sparse(loud)), Some(BYTES));
    };
    shrink(&failing(), BYTES, 10_000, &mut counting, &mut kept).expect("it fails");
    assert!(others > 0, "there were some");
}

#[test]
fn shrinking_stops_when_its_runs_are_used_up_and_gives_the_best_so_far() {
    let Shrunk { case, runs, done } = shrunk(&failing(), 20);
    assert_eq!((runs, done), (20, false));
    assert!(case.plan.ops.len() < 200);
}

#[test]
fn the_same_run_shrinks_to_the_same() {
    assert_eq!(shrunk(&failing(), 10_000).case, shrunk(&failing(), 10_000).case);
}

#[test]
fn a_run_that_does_not_fail_is_refused() {
    let quiet = Case { loud: Vec::new(), ..failing() };
    let refused = shrink(&quiet, BYTES, 100, &mut lying, &mut |_| ()).expect_err("nothing comes twice");
    assert_eq!(refused.to_string(), "it does not fail by bytes but holds: replay it first");
}

#[test]
fn values_shrink_to_the_smallest_that_still_fails() {
    let mut late = |_: &Plan, mut choices: SwarmChoices| {
        (choices.choose(Site::LinkJitter, 10_000) >= 321).then_some(BYTES)
    };
    let loud = vec![Loud { site: Site::LinkJitter, nth: 0, value: 7777 }];
    let case = Case { plan: plan_of(2), loud };
    let shrunk = shrink(&case, BYTES, 10_000, &mut late, &mut |_| ()).expect("it fails");
    assert_eq!(shrunk.case.loud, [Loud { site: Site::LinkJitter, nth: 0, value: 321 }]);
    assert!(shrunk.case.plan.ops.is_empty() && shrunk.case.plan.faults.is_empty());
}
