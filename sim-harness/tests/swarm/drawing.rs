//! What seeds draw.

use std::collections::BTreeSet;

use wavetank_harness::lab::Cause;
use wavetank_harness::swarm::draw;

const SEEDS: u64 = 1_000;

#[test]
fn every_drawn_plan_is_well_formed() {
    for seed in 0..SEEDS {
        assert_eq!(draw(seed).check(), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_seed_always_draws_the_same_plan_and_another_seed_another() {
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn every_verb_and_every_kind_of_fault_is_in_some_plan() {
    let (mut verbs, mut faults) = (BTreeSet::new(), BTreeSet::new());
    let word = |debug: String| debug.split(['(', ' ']).next().unwrap_or("").to_owned();
    for seed in 0..SEEDS {
        let plan = draw(seed);
        verbs.extend(plan.ops.iter().map(|op| word(format!("{:?}", op.verb))));
        faults.extend(plan.faults.iter().map(|fault| match fault.cause {
            Cause::Link { fault, .. } => word(format!("{fault:?}")),
            Cause::Device { fault, .. } => word(format!("{fault:?}")),
            Cause::Host { fault, .. } => word(format!("{fault:?}")),
            Cause::Memory { fault, .. } => word(format!("{fault:?}")),
            other => word(format!("{other:?}")),
        }));
    }
    assert_eq!(verbs.len(), 6, "{verbs:?}");
    // Two pauses have one name: that of a port and that of a host.
    assert_eq!(faults.len(), 26, "{faults:?}");
}
