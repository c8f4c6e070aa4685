//! The leak check: everything that was taken is given back.

use wavetank_harness::{Check, Replay};

use crate::lying::{Liar, Lie};
use crate::support::{failed, failed_only, lie_once, prepare_lying, reads, run_ok, tell, two_nodes};

#[test]
fn a_registration_that_never_ends_is_found() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::KeepRegistered, 0);
    failed(&report, Check::Leak, &["node 0: an arena stays registered"]);
    for region in ["pages", "log"] {
        let what = format!("region {region} stays registered");
        assert!(report.failures.told().iter().any(|f| f.what.contains(&what)), "{}", tell(&report));
    }
}

#[test]
fn a_lease_that_is_never_given_back_is_found() {
    let mut replay = Replay::prepare(two_nodes(&reads(4, 20))).unwrap();
    let kept = replay.world().nodes[0].arena.as_mut().unwrap().acquire(100).unwrap();
    let report = replay.run(&mut |_| ());
    failed_only(&report, Check::Leak, &["node 0: leases are still out"]);
    drop(kept);
}

#[test]
fn a_region_somebody_leases_for_ever_is_found() {
    let liar = Liar::new(Lie::Nothing, 0, 0);
    let replay = prepare_lying(two_nodes(&reads(1, 20)), &liar);
    let memory = liar.borrow().exported(1);
    let kept = memory.lease(0, 100).unwrap();
    let report = replay.run(&mut |_| ());
    failed(&report, Check::Leak, &["region log stays registered", "1 live leases"]);
    drop(kept);
}

#[test]
fn nothing_is_left_at_the_end_of_an_honest_run() {
    run_ok(two_nodes(&reads(64, 500)));
}
