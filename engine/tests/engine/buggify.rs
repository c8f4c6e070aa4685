//! Engines that do what is legal but rare, at every site and all the time: whoever builds on them sees no difference.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wavetank_contract::{Buggify, Choices, CqId, EndpointSpec, Op, Seeded, Site, Wake};
use wavetank_engine::{DriverConfig, PortConfig, TransferSpec};
use wavetank_mock::Mark;

use crate::lab::{CHUNK, KIB, Lab, Plan, lab};

/// Yes, always.
struct Always;

impl Choices for Always {
    fn choose(&mut self, _site: Site, bound: u64) -> u64 {
        bound.saturating_sub(1)
    }
}

fn plan(signal_every: u32) -> Plan {
    let port = PortConfig { signal_every };
    let endpoint = EndpointSpec { send_depth: 8, recv_depth: 4, ..EndpointSpec::new(CqId(0)) };
    Plan { port, endpoint, ..Plan::default() }
}

/// READs, WRITEs and messages of both nodes over two pairs of endpoints, larger than any window. Answers how long it all took.
#[track_caller]
fn traffic(lab: &mut Lab) -> u64 {
    let first = (lab.nodes[0].ep, lab.nodes[1].ep);
    let second = lab.another_pair();
    let (from, len) = (lab.now().0, 9 * CHUNK + 100);
    for (round, eps) in [first, second].into_iter().enumerate() {
        (lab.nodes[0].ep, lab.nodes[1].ep) = eps;
        for node in 0..2 {
            let place = (round * 2 + node) as u64 * 64 * KIB;
            for tag in 0..3 {
                let receive = lab.spec(node, Op::Recv, CHUNK);
                let read = lab.read(node, place, len);
                let write = lab.write(node, 1024 * KIB + place, len, None);
                let send = lab.spec(node, Op::Send { imm: Some(tag as u32) }, CHUNK);
                for spec in [receive, read, write, send] {
                    lab.submit(node, TransferSpec { tag: place + tag, ..spec });
                }
            }
        }
    }
    lab.run();
    for node in 0..2 {
        let ended = lab.finished(node);
        assert_eq!(ended.len(), 24);
        for end in &ended {
            if matches!(end.kind, wavetank_contract::OpKind::Read) {
                lab.assert_brought(node, end, end.tag - end.tag % (64 * KIB), len);
            }
            assert!(end.result.is_ok(), "{end:?}");
        }
    }
    lab.now().0 - from
}

#[test]
fn with_every_site_on_always_every_transfer_ends_well_and_nothing_leaks() {
    for signal_every in [1, 3] {
        let mut lab = lab(plan(signal_every));
        lab.fabric.set_buggify(Buggify::ALL.into(), Box::new(Always));
        traffic(&mut lab);
        lab.assert_quiet();
    }
}

#[test]
fn each_site_does_something_and_none_does_when_it_is_off() {
    for signal_every in [1, 3] {
        for site in Buggify::ALL {
            let mut lab = lab(plan(signal_every));
            lab.fabric.set_buggify(BTreeSet::from([site]), Box::new(Always));
            traffic(&mut lab);
            lab.assert_quiet();
            assert!(lab.fabric.passed(Mark::Buggified) > 0, "{}", site.name());
        }
    }
    let mut lab = lab(plan(1));
    lab.fabric.set_buggify(BTreeSet::new(), Box::new(Always));
    let quiet = traffic(&mut lab);
    assert_eq!(lab.fabric.passed(Mark::Buggified), 0);
    // The same with answers that are always no.
    let mut lab = self::lab(plan(1));
    lab.fabric.set_buggify(Buggify::ALL.into(), Box::new(wavetank_contract::Quiet));
    assert_eq!((traffic(&mut lab), lab.fabric.passed(Mark::Buggified)), (quiet, 0));
}

#[test]
fn a_turn_that_does_not_poll_asks_for_another_one_at_once() {
    let mut lab = lab(plan(1));
    lab.fabric.set_buggify(BTreeSet::from([Buggify::DelayPoll]), Box::new(Always));
    let spec = lab.read(0, 0, 100);
    lab.submit(0, spec);
    let now = lab.now();
    assert_eq!(lab.nodes[0].engine.turn(now), Wake::Now);
    assert_ne!(lab.nodes[0].engine.turn(now), Wake::Now, "the next one polls");
}

#[test]
fn with_a_window_of_one_a_transfer_has_one_work_outstanding() {
    for (sites, most) in [(BTreeSet::new(), 4), (BTreeSet::from([Buggify::ShrinkWindow]), 1)] {
        let mut lab = lab(Plan::default());
        lab.fabric.set_buggify(sites, Box::new(Always));
        let spec = lab.read(0, 0, 9 * CHUNK);
        lab.submit(0, spec);
        lab.run();
        assert_eq!(lab.nodes[0].outstanding_max, most);
        assert_eq!(lab.the_finished(0).result, Ok(9 * CHUNK));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn transfers_end_well_whatever_is_done_when(
        sites in prop::collection::btree_set(prop::sample::select(Buggify::ALL.to_vec()), 0..=Buggify::ALL.len()),
        window in 1..6u32,
        signal_every in 1..6u32,
        send_depth in 1..9u32,
        recv_depth in 1..5u32,
        seed in any::<u64>(),
    ) {
        let endpoint = EndpointSpec { send_depth, recv_depth, ..EndpointSpec::new(CqId(0)) };
        let driver = DriverConfig { window, chunk_bytes: CHUNK as u32, ..DriverConfig::default() };
        let mut lab = lab(Plan { driver, seed, endpoint, ..plan(signal_every) });
        lab.fabric.set_buggify(sites, Box::new(Seeded::new(seed)));
        traffic(&mut lab);
        lab.assert_quiet();
    }
}
