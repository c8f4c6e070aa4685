//! A world so small that every run of it is tried: one queue pair, three works, one fault.

use std::collections::BTreeSet;

use wavetank_harness::fault::{Fault, When};
use wavetank_harness::lab::{Cause, LinkFault};
use wavetank_harness::swarm::choices::Exhaustive;
use wavetank_harness::swarm::defaults::{CONNECTION, ENGINE, NODES, PROFILE, REGION};
use wavetank_harness::swarm::plan::{ConnectionPlan, OpPlan, Plan, RegionPlan, SlotRange, VerbPlan};
use wavetank_harness::swarm::{Verdict, run};
use wavetank_mock::Mark;

fn world() -> Plan {
    let range = SlotRange { region: 0, slot: 0, offset: 0, len: 64 };
    let verbs = [
        VerbPlan::Write { to: range, imm: false },
        VerbPlan::Read(range),
        VerbPlan::Swap { region: 0, slot: 1 },
    ];
    let op = |(id, verb)| OpPlan {
        id,
        connection: 0,
        end: 0,
        verb,
        deadline_ns: None,
        cancel: false,
        session: None,
    };
    // Whenever an operation begins, the next packet may be lost: of requests, once an operation.
    let fault = Fault {
        when: When::EachOp { one_in: 2 },
        cause: Cause::Link { from: 0, to: 1, fault: LinkFault::LoseNth { nth: 0 } },
        lasts_ns: None,
    };
    Plan {
        profile: PROFILE.to_owned(),
        jitter_ns: 0,
        nodes: NODES,
        regions: vec![RegionPlan { slots: 2, slot_bytes: 64, ..REGION }],
        connections: vec![ConnectionPlan { in_flight: 1, recv_depth: 1, ..CONNECTION }],
        engine: ENGINE,
        buggify: BTreeSet::new(),
        ops: (0u32..).zip(verbs).map(op).collect(),
        faults: vec![fault],
    }
}

/// Every run there is.
fn all(plan: &Plan, depth_max: usize, values_max: u64) -> (Vec<Verdict>, bool) {
    let mut choices = Exhaustive::new(depth_max, values_max);
    let mut verdicts = Vec::new();
    loop {
        verdicts.push(run(plan, choices.clone()));
        if !choices.advance() {
            return (verdicts, choices.was_cut());
        }
    }
}

#[test]
fn every_run_of_a_tiny_world_holds() {
    // Two values of how late a timeout is, and everything else in full.
    let (verdicts, cut) = all(&world(), 20, 2);
    assert!(!cut, "no run has more choices than are tried");
    let hashes: BTreeSet<u64> = verdicts.iter().map(|verdict| verdict.trace_hash).collect();
    assert!(hashes.len() > 20 && verdicts.len() > hashes.len(), "{} of {}", hashes.len(), verdicts.len());
    let lost = verdicts.iter().map(|verdict| verdict.marks.get(&Mark::PacketLost).copied().unwrap_or(0));
    assert_eq!(lost.collect::<BTreeSet<u64>>(), (0..=3).collect(), "none, some, and the first of each");
    assert!(verdicts.iter().all(|verdict| verdict.failure.is_none()));
}

#[test]
fn a_world_that_is_too_large_is_told() {
    assert!(all(&world(), 3, 2).1);
}
