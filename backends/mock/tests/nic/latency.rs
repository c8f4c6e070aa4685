//! Time: nothing is faster than physics, bandwidth is shared, and the same seed takes the same steps.

use wavetank_contract::*;
use wavetank_mock::{Opcode, Profile, Step, StepKind};

use crate::lab::*;

/// Every verb once, of this size.
fn verbs(lab: &Lab, len: u32) -> Vec<W> {
    let (p, to, word) = ([lab.piece(0, 0, len)], lab.at(1, 0), lab.piece(0, 0, 8));
    vec![
        send(0, &p),
        write(1, &p, to),
        write(2, &p, to).imm(1),
        read(3, &p, to),
        swap(4, word, to, 1, 2),
        add(5, word, to, 1),
    ]
}

fn took(profile: &Profile, chance: impl Choices + 'static, which: usize, len: u32) -> (u64, u64) {
    let mut lab = Lab::of(2, profile.clone(), chance);
    let (a, b) = lab.pair(0, 1);
    lab.go(b, &[recv(0, &[lab.piece(1, 0, len)])]);
    let w = verbs(&lab, len).swap_remove(which);
    let kind = w.op.kind();
    let bytes = if kind.is_atomic() { 8 } else { u64::from(len) };
    lab.go(a, &[w]);
    while lab.nodes[0].nic.wake() == Wake::Idle {
        let step = lab.fabric.step(&mut *lab.chance).expect("it completes");
        lab.steps.push(step);
    }
    assert_eq!(lab.ends(0)[0].1, Status::Success);
    (lab.fabric.now().0, profile.floor_ns(kind, bytes))
}

#[test]
fn no_verb_of_any_size_beats_the_floor_of_its_profile() {
    for profile in Profile::ALL {
        for which in 0..6 {
            for len in [0, 1, 8, 220, 4095, 4096, 4097, 65_536, 200_000] {
                let (quiet, floor) = took(profile, Quiet, which, len);
                assert!(quiet >= floor, "{} verb {which}, {len} bytes: {quiet} < {floor}", profile.name);
                // Headers and a packet of store-and-forward, not more.
                let overhead = floor / 20 + 3 * profile.serialise_ns(4400);
                assert!(
                    quiet <= floor + overhead,
                    "{} verb {which}, {len} bytes: {quiet} > {floor}",
                    profile.name
                );
                let (noisy, _) = took(profile, Seeded::new(which as u64), which, len);
                assert!(noisy >= quiet);
            }
        }
    }
}

#[test]
fn the_quiet_choice_gives_the_minimum_exactly() {
    // Frame 82 bytes, RETH 16, AETH 4; 80 ps per byte; rounded up per packet.
    let (took, _) = took(&Profile::CX6, Quiet, 3, 8);
    let request = (82 + 16) * 80u64;
    let answer = (82 + 4 + 8) * 80u64;
    assert_eq!(took, 850 + request.div_ceil(1000) + 850 + answer.div_ceil(1000));
}

#[test]
fn jitter_stays_in_its_range_and_uses_all_of_it() {
    struct Loudest;
    impl Choices for Loudest {
        fn choose(&mut self, _site: Site, bound: u64) -> u64 {
            bound - 1
        }
    }
    let (least, _) = took(&Profile::CX6, Quiet, 1, 8);
    let (most, _) = took(&Profile::CX6, Loudest, 1, 8);
    assert_eq!(most, least + 2 * 120);
    for seed in 0..300 {
        let (took, _) = took(&Profile::CX6, Seeded::new(seed), 1, 8);
        assert!((least..=most).contains(&took), "{took}");
    }
}

#[test]
fn jitter_never_puts_packets_of_a_link_out_of_order() {
    let mut lab = Lab::of(2, Profile::RXE, Seeded::new(3));
    let (a, _) = lab.pair_with(0, 1, |s| s.mtu = Mtu::B256, |s| s.mtu = Mtu::B256);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100_000)], lab.at(1, 0))]);
    lab.run();
    let psns: Vec<u32> = lab.steps.iter().filter(|s| s.node == 1).map(|s| s.psn).collect();
    assert!(psns.windows(2).all(|w| w[1] == (w[0] + 1) & 0xff_ffff));
}

/// Reads of 100 kB each from the given pairs at once: how long until all are done.
fn all_read(nodes: usize, pairs: &[(usize, usize)]) -> u64 {
    let mut lab = Lab::of(nodes, Profile::CX6, Quiet);
    let ends: Vec<End> = pairs.iter().map(|(a, b)| lab.pair(*a, *b).0).collect();
    for (end, (_, b)) in ends.iter().zip(pairs) {
        let works: Vec<W> =
            (0..10).map(|i| read(i, &[lab.piece(end.node, 0, 100_000)], lab.at(*b, 0))).collect();
        lab.go(*end, &works);
    }
    lab.run();
    let done: usize = (0..nodes).map(|n| lab.ends(n).iter().filter(|e| e.1 == Status::Success).count()).sum();
    assert_eq!(done, pairs.len() * 10);
    lab.times(StepKind::Delivered(Opcode::ReadResponseLast)).pop().unwrap()
}

#[test]
fn large_reads_take_as_long_as_the_link_needs_for_their_bytes() {
    let took = all_read(2, &[(0, 1)]);
    let bytes_ns = 10 * 100_000 * 80 / 1000;
    assert!(took >= bytes_ns, "{took} < {bytes_ns}");
    assert!(took < bytes_ns * 105 / 100, "the link is kept busy: {took} of {bytes_ns}");
}

#[test]
fn ports_are_shared_at_either_end_and_separate_links_are_not() {
    let alone = all_read(2, &[(0, 1)]);
    let ratio = |took: u64| took as f64 / alone as f64;
    let incast = ratio(all_read(3, &[(0, 1), (0, 2)]));
    assert!((1.9..2.1).contains(&incast), "two sources, one reader: {incast}");
    let outcast = ratio(all_read(3, &[(0, 2), (1, 2)]));
    assert!((1.9..2.1).contains(&outcast), "one source, two readers: {outcast}");
    let both = ratio(all_read(2, &[(0, 1), (0, 1)]));
    assert!((1.9..2.1).contains(&both), "two endpoints of one pair: {both}");
    let separate = ratio(all_read(4, &[(0, 1), (2, 3)]));
    assert!((0.99..1.01).contains(&separate), "nothing in common: {separate}");
    let duplex = ratio(all_read(2, &[(0, 1), (1, 0)]));
    assert!(duplex < 1.1, "both directions at once: {duplex}");
}

#[test]
fn endpoints_that_share_a_port_take_turns() {
    let mut lab = Lab::of(2, Profile::CX6, Quiet);
    let (a, _) = lab.pair(0, 1);
    let (b, _) = lab.pair(0, 1);
    for end in [a, b] {
        lab.go(end, &[write(1, &[lab.piece(0, 0, 200_000)], lab.at(1, 0))]);
    }
    lab.run();
    let turns: Vec<u32> = lab.steps.iter().filter(|s| s.node == 1).map(|s| s.qpn).collect();
    assert!(turns.windows(2).take(90).all(|w| w[0] != w[1]));
}

#[test]
fn two_senders_share_a_receiving_port_fairly() {
    let mut lab = Lab::of(3, Profile::CX6, Quiet);
    let (a, _) = lab.pair(0, 2);
    let (b, _) = lab.pair(1, 2);
    for end in [a, b] {
        lab.go(end, &[write(1, &[lab.piece(end.node, 0, 200_000)], lab.at(2, 0))]);
    }
    lab.run();
    let arrivals: Vec<u32> = lab.steps.iter().filter(|s| s.node == 2).map(|s| s.qpn).collect();
    let half = &arrivals[..arrivals.len() / 2];
    let of_first = half.iter().filter(|q| **q == half[0]).count();
    assert!(of_first.abs_diff(half.len() / 2) <= 2, "{of_first} of {}", half.len());
}

fn steps(seed: u64) -> Vec<Step> {
    let mut lab = Lab::of(3, Profile::CX6, Seeded::new(seed));
    let (a, b) = lab.pair_with(0, 1, |s| s.timeout = 5, |_| {});
    let (c, _) = lab.pair_with(2, 1, |s| s.timeout = 5, |_| {});
    lab.fabric.link(0, 1).loss_one_in = 20;
    lab.fabric.link(1, 2).loss_one_in = 20;
    for i in 0..20 {
        lab.go(b, &[recv(i, &[lab.piece(1, 0, 5000)])]);
        lab.go(
            a,
            &[send(i, &[lab.piece(0, 0, 5000)]), add(100 + i, lab.piece(0, 9000, 8), lab.at(1, 9000), 1)],
        );
        lab.go(
            c,
            &[
                read(i, &[lab.piece(2, 0, 9000)], lab.at(1, 0)),
                write(i, &[lab.piece(2, 0, 10)], lab.at(1, i)),
            ],
        );
    }
    lab.run();
    lab.steps
}

#[test]
fn the_same_seed_takes_the_same_steps_and_another_does_not() {
    let one = steps(1);
    assert!(one.len() > 200);
    assert!(one == steps(1));
    assert!(one != steps(2));
    assert!(one.is_sorted_by_key(|s| s.at));
}

#[test]
fn time_does_not_run_past_the_limit_it_is_given() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run_until(Instant(5_000));
    assert_good(&lab.ends(0), [1]);
    // The timer of the finished WRITE is still on the agenda; it is nobody's business.
    assert_eq!(lab.fabric.now(), Instant(5_000));
    lab.run_until(Instant(1_000_000_000));
    assert_eq!(lab.fabric.now(), Instant(1_000_000_000));
}
