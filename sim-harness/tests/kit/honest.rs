//! Honest devices.

use wavetank_mock::Profile;

use crate::support::{failed, on_mock, plan};

#[test]
fn the_simulated_nic_keeps_every_promise() {
    for profile in [Profile::IDEAL, Profile::RXE] {
        for seed in [1, 2, 3] {
            let report = on_mock(&profile, seed, &plan());
            for case in failed(&report) { println!("{} {} {}: {}", profile.name, seed, case.case, case.result.text()); }
            println!("{}", report.counts());
        }
    }
    panic!();
}
