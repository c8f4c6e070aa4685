//! Faults of links, ports and peers: what a device shows of each, and that the mark of a fault proves it. Where nothing is
//! disturbed no mark is passed.

mod links;

use wavetank_contract::*;
use wavetank_mock::{Mark, Profile};

use crate::lab::*;

/// Two connected nodes with small packets, a short timeout and every choice by chance.
fn pair(seed: u64) -> (Lab, End, End) {
    pair_of(Profile::IDEAL, seed)
}

fn pair_of(profile: Profile, seed: u64) -> (Lab, End, End) {
    let mut lab = Lab::of(2, profile, Seeded::new(seed));
    let (a, b) = lab.pair_with(0, 1, tune, tune);
    (lab, a, b)
}

fn tune(spec: &mut EndpointSpec) {
    (spec.mtu, spec.timeout, spec.retry_cnt) = (Mtu::B256, 8, 6);
}

/// `4.096 us * 2^code`.
fn timeout_ns(code: u8) -> u64 {
    4096 * (1 << code)
}

/// 20 WRITEs and 20 READs of ten packets each from node 0 to node 1, posted in two goes.
fn traffic(lab: &mut Lab, a: End) {
    for base in [0, 20] {
        let works: Vec<W> = (base..base + 20)
            .map(|i| match i % 2 {
                0 => write(i, &[lab.piece(0, i * 2500, 2500)], lab.at(1, i * 2500)),
                _ => read(i, &[lab.piece(0, i * 2500, 2500)], lab.at(1, i * 2500)),
            })
            .collect();
        lab.go(a, &works);
        for i in (base..base + 20).map(|i| i as usize) {
            let (from, to) = if i % 2 == 0 { (0, 1) } else { (1, 0) };
            lab.expect_copy(from, i * 2500, to, i * 2500, 2500);
        }
    }
}

/// Every work of [`traffic`] ended well, and every byte is where it should be.
#[track_caller]
fn assert_traffic(lab: &mut Lab) {
    lab.run();
    assert_good(&lab.ends(0), 0..40);
    lab.check();
}

/// All marks that were passed.
fn passed(lab: &Lab) -> Vec<Mark> {
    Mark::ALL.iter().copied().filter(|mark| lab.fabric.passed(*mark) > 0).collect()
}

#[test]
fn where_nothing_is_disturbed_no_mark_is_passed() {
    let (mut lab, a, _) = pair_of(Profile::CX6, 1);
    traffic(&mut lab, a);
    assert_traffic(&mut lab);
    assert_eq!(passed(&lab), []);
}
