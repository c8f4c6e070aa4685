//! Devices that lie to a swarm run are found, and their honest twins pass.

use std::rc::Rc;

use wavetank_contract::Seeded;
use wavetank_engine::Port;
use wavetank_harness::Check;
use wavetank_harness::swarm::{Verdict, draw, run_on};
use wavetank_harness::watch::Watch;

use crate::replay::lying::{Liar, Lie, Lying};

/// Seeds that are tried: not every plan has works that a lie suits.
const SEEDS: u64 = 60;

/// Runs seeds on devices that tell a lie about one work each. Answers the verdicts of runs in which it was told.
fn told(lie: Lie) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for seed in 0..SEEDS {
        let mut plan = draw(seed);
        // Where nothing goes wrong, nothing excuses anybody.
        plan.faults.clear();
        // The liar knows no windows.
        plan.regions.iter_mut().for_each(|region| region.window = false);
        plan.buggify.clear();
        let liar = Liar::new(lie, 2, 1);
        let context = |nic, config| Port::new(Lying::new(nic, Rc::clone(&liar)), config);
        let verdict = run_on(&plan, Seeded::new(seed), Watch::default(), context);
        if lie == Lie::Nothing || liar.borrow().told > 0 {
            verdicts.push(verdict);
        }
    }
    verdicts
}

#[test]
fn honest_devices_in_the_same_wrapper_are_guilty_of_nothing() {
    let verdicts = told(Lie::Nothing);
    for verdict in verdicts {
        assert_eq!(verdict.failure, None);
    }
}

#[test]
fn lies_are_found_by_the_oracle_they_are_for() {
    let table = [
        (Lie::FlipRead(3), Check::Bytes),
        (Lie::EmptyRead, Check::Bytes),
        (Lie::DamageWrite, Check::Bytes),
        (Lie::CorruptMessage(0), Check::Message),
        (Lie::AtomicTwice, Check::Atomic),
        (Lie::Fail, Check::Success),
        (Lie::Duplicate, Check::Completion),
        (Lie::Event, Check::Event),
    ];
    for (lie, check) in table {
        let found = told(lie).iter().filter_map(|verdict| verdict.failure.as_ref()).any(|g| g.check == check);
        assert!(found, "{lie:?} was to be found by {check:?}");
    }
}
