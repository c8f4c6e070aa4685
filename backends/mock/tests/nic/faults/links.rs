//! Wire below RC: drop, duplicate, reorder, delay, corrupt, truncate; bursts, one-way partition, less bandwidth.

use wavetank_contract::*;
use wavetank_mock::{LinkFaults, Mark, Opcode, Profile, Step, StepKind};

use super::*;

/// Node, PSN and time of the packets that got somewhere.
fn arrivals(lab: &Lab, node: u16) -> Vec<(u32, u64)> {
    let there = |s: &&Step| s.node == node && matches!(s.kind, StepKind::Delivered(_));
    lab.steps.iter().filter(there).map(|s| (s.psn, s.at.0)).collect()
}

/// Each fault of a link alone, and what proves it.
fn faults() -> Vec<(LinkFaults, Mark)> {
    let none = LinkFaults::default();
    vec![
        (LinkFaults { loss_one_in: 20, ..none }, Mark::PacketLost),
        (LinkFaults { loss_one_in: 50, loss_burst: 5, ..none }, Mark::PacketLost),
        (LinkFaults { lose_after: Some(7), ..none }, Mark::PacketLost),
        (LinkFaults { duplicate_one_in: 3, ..none }, Mark::PacketDuplicated),
        (LinkFaults { reorder_one_in: 10, reorder_ns: 3_000, ..none }, Mark::PacketReordered),
        (LinkFaults { delay_ns: 5_000, ..none }, Mark::PacketDelayed),
        (LinkFaults { corrupt_one_in: 20, ..none }, Mark::PacketCorrupted),
        (LinkFaults { truncate_one_in: 20, ..none }, Mark::PacketTruncated),
        (LinkFaults { bandwidth_percent: 10, ..none }, Mark::PacketThrottled),
    ]
}

#[test]
fn traffic_survives_each_fault_of_a_link_and_the_mark_proves_it() {
    for (faults, mark) in faults() {
        for direction in [0, 1] {
            let mut proven = 0;
            for seed in 0..20 {
                let (mut lab, a, _) = pair_of(Profile::CX6, seed);
                *lab.fabric.link(direction, 1 - direction) = faults;
                traffic(&mut lab, a);
                assert_traffic(&mut lab);
                let repairs = [
                    Mark::AckTimeout,
                    Mark::SequenceNak,
                    Mark::RequestRepeated,
                    Mark::ReadRepeated,
                    Mark::RepeatTooLate,
                ];
                let others = |m: &Mark| *m != mark && !repairs.contains(m);
                assert_eq!(passed(&lab).into_iter().find(others), None, "{faults:?}");
                proven += u32::from(lab.fabric.passed(mark) > 0);
            }
            assert!(
                proven >= 15,
                "{mark:?} was passed in {proven} runs of {faults:?}, direction {direction}"
            );
        }
    }
}

#[test]
fn a_mended_link_disturbs_nothing_and_draws_nothing() {
    let hash = |faults: Option<LinkFaults>| {
        let (mut lab, a, _) = pair_of(Profile::CX6, 3);
        if let Some(faults) = faults {
            *lab.fabric.link(0, 1) = faults;
            lab.fabric.mend(0, 1);
        }
        traffic(&mut lab, a);
        assert_traffic(&mut lab);
        assert_eq!(passed(&lab), []);
        lab.steps
    };
    let quiet = hash(None);
    for (faults, _) in faults() {
        assert_eq!(hash(Some(faults)), quiet, "{faults:?}");
    }
    assert_eq!(hash(Some(LinkFaults::default())), quiet);
}

#[test]
fn packets_are_lost_in_bursts_of_the_length_that_was_asked_for() {
    for burst in [0, 1, 4, 16] {
        let (mut lab, a, _) = pair(0);
        lab.chance = Box::new(Nth { site: Site::LinkLoss, nth: 300 });
        let link = lab.fabric.link(0, 1);
        (link.loss_one_in, link.loss_burst) = (1000, burst);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 204_800)], lab.at(1, 0))]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        lab.expect_copy(0, 0, 1, 0, 204_800);
        lab.check();
        let sent = lab.steps.iter().filter(|s| s.node == 1 && s.kind != StepKind::TimedOut);
        let lost: Vec<bool> = sent.map(|s| matches!(s.kind, StepKind::Lost(_))).collect();
        let expected: Vec<bool> =
            (0..lost.len()).map(|i| (300..300 + burst.max(1) as usize).contains(&i)).collect();
        assert_eq!(lost, expected, "a burst of {burst}");
    }
}

#[test]
fn a_duplicated_request_is_answered_twice_and_done_once() {
    let (mut lab, a, b) = pair(1);
    lab.fabric.link(0, 1).duplicate_one_in = 1;
    lab.put(1, 1000, &7u64.to_le_bytes());
    lab.go(b, &[recv(1, &[lab.piece(1, 2000, 500)]), recv(2, &[lab.piece(1, 3000, 500)])]);
    lab.go(a, &[send(3, &[lab.piece(0, 0, 300)]), add(4, lab.piece(0, 1000, 8), lab.at(1, 1000), 5)]);
    lab.run();
    assert_good(&lab.ends(0), [3, 4]);
    assert_good(&lab.ends(1), [1]);
    lab.expect_copy(0, 0, 1, 2000, 300);
    lab.expect(0, 1000, &7u64.to_le_bytes());
    lab.expect(1, 1000, &12u64.to_le_bytes());
    lab.check();
    // Two packets of the SEND and the atomic arrived twice; the second SEND packet asked for an acknowledgement.
    assert_eq!(lab.fabric.passed(Mark::PacketDuplicated), 3);
    assert_eq!((lab.delivered(Opcode::SendLast), lab.delivered(Opcode::FetchAdd)), (2, 2));
    assert_eq!(lab.delivered(Opcode::AtomicAcknowledge), 2);
}

#[test]
fn a_packet_held_back_is_overtaken_and_asked_for_again() {
    let (mut lab, a, _) = pair(0);
    lab.chance = Box::new(Nth { site: Site::LinkReorder, nth: 2 });
    let link = lab.fabric.link(0, 1);
    (link.reorder_one_in, link.reorder_ns) = (100, 50_000);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 1280)], lab.at(1, 0))]);
    lab.run();
    assert_good(&lab.ends(0), [1]);
    lab.expect_copy(0, 0, 1, 0, 1280);
    lab.check();
    let first = lab.steps[0].psn;
    let order: Vec<u32> = arrivals(&lab, 1).iter().map(|(psn, _)| psn.wrapping_sub(first)).collect();
    // The hole costs a sequence NAK; what was held back comes when it is long done.
    assert_eq!(order, [0, 1, 3, 4, 2, 3, 4, 2]);
    assert_eq!(lab.fabric.passed(Mark::PacketReordered), 1);
    assert_eq!(lab.count(StepKind::TimedOut), 0);
}

#[test]
fn a_packet_held_back_that_nothing_overtakes_is_only_late() {
    let (mut lab, a, _) = pair(0);
    let link = lab.fabric.link(0, 1);
    (link.reorder_one_in, link.reorder_ns) = (1, 50_000);
    traffic(&mut lab, a);
    assert_traffic(&mut lab);
    assert_eq!(lab.fabric.passed(Mark::PacketReordered), 0, "all of them are held back alike");
}

#[test]
fn a_delay_that_ends_lets_nobody_be_overtaken() {
    let (mut lab, a, _) = pair_of(Profile::CX6, 5);
    lab.fabric.link(0, 1).delay_ns = 40_000;
    lab.go(a, &[write(1, &[lab.piece(0, 0, 2560)], lab.at(1, 0))]);
    lab.run_until(Instant(10_000));
    assert_eq!(arrivals(&lab, 1), [], "nothing is there before its delay is over");
    lab.fabric.mend(0, 1);
    lab.go(a, &[write(2, &[lab.piece(0, 5000, 2560)], lab.at(1, 5000))]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    let there = arrivals(&lab, 1);
    assert!(
        there.iter().zip(&there[1..]).all(|(one, next)| next.0 == one.0 + 1 && next.1 >= one.1),
        "{there:?}"
    );
    assert!(there[0].1 >= 40_000 && there.len() == 20);
    assert_eq!(lab.fabric.passed(Mark::PacketDelayed), 10);
    lab.expect_copy(0, 0, 1, 0, 2560);
    lab.expect_copy(0, 5000, 1, 5000, 2560);
    lab.check();
}

#[test]
fn a_corrupted_packet_is_dropped_and_repeated_after_the_timeout() {
    // Bits of the queue pair number, the PSN, the address, the key and the payload of a WRITE, and of nothing else.
    for bit in [0, 3, 24, 47, 48, 49, 60, 113, 145, 177, 178, 177 + 8 * 100] {
        let (mut lab, a, _) = pair(0);
        lab.chance = Box::new(Bit { left: 1, bit });
        lab.fabric.link(0, 1).corrupt_one_in = 2;
        lab.go(a, &[write(1, &[lab.piece(0, 0, 101)], lab.at(1, 0))]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        lab.expect_copy(0, 0, 1, 0, 101);
        lab.check();
        assert_eq!(lab.count(StepKind::Dropped(Mark::PacketCorrupted, Opcode::WriteOnly)), 1, "bit {bit}");
        assert_eq!(lab.times(StepKind::TimedOut), [timeout_ns(8)]);
    }
}

#[test]
fn a_truncated_packet_is_dropped_whatever_it_lost() {
    for len in [0, 1, 100, 256] {
        let (mut lab, a, _) = pair(0);
        lab.fabric.link(0, 1).truncate_one_in = 1;
        lab.go(a, &[write(1, &[lab.piece(0, 0, len)], lab.at(1, 0))]);
        lab.run_until(Instant(10_000));
        lab.check();
        assert_eq!(lab.count(StepKind::Dropped(Mark::PacketTruncated, Opcode::WriteOnly)), 1);
        lab.fabric.mend(0, 1);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        lab.expect_copy(0, 0, 1, 0, len as usize);
        lab.check();
    }
}

#[test]
fn a_link_with_a_tenth_of_the_bandwidth_takes_ten_times_as_long() {
    let took = |percent, work: fn(&Lab) -> W| {
        let (mut lab, a, _) = pair(0);
        lab.fabric.link(0, 1).bandwidth_percent = percent;
        let work = work(&lab);
        lab.go(a, &[work]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        let ns = lab.steps.iter().map(|s| s.at.0).max().unwrap() - 2 * Profile::IDEAL.base_ns;
        (ns, lab.fabric.passed(Mark::PacketThrottled))
    };
    let there = |lab: &Lab| write(1, &[lab.piece(0, 0, 204_800)], lab.at(1, 0));
    let back = |lab: &Lab| read(1, &[lab.piece(0, 0, 204_800)], lab.at(1, 0));
    let (whole, none) = took(0, there);
    assert_eq!(none, 0);
    assert_eq!(took(100, there), (whole, 0), "100 in a hundred are all of it");
    let (tenth, throttled) = took(10, there);
    assert_eq!(throttled, 800);
    assert!((9 * whole..=10 * whole).contains(&tenth), "{whole} and {tenth}");
    let (read_whole, read_throttled) = (took(0, back).0, took(10, back).0);
    assert!(read_throttled < read_whole + 50, "only its request takes longer: {read_throttled}");
}

#[test]
fn a_link_cut_one_way_and_one_cut_both_ways_are_alike_to_the_requester() {
    for (cut, done) in [(vec![(0, 1)], false), (vec![(1, 0)], true), (vec![(0, 1), (1, 0)], false)] {
        let (mut lab, a, _) = pair(0);
        for (from, to) in &cut {
            lab.fabric.link(*from, *to).loss_one_in = 1;
        }
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)], "{cut:?}");
        assert_eq!(lab.fabric.passed(Mark::AckTimeout), 7);
        assert!(lab.fabric.passed(Mark::PacketLost) >= 7);
        if done {
            // Only its answers were lost: the WRITE itself is there.
            lab.expect_copy(0, 0, 1, 0, 100);
        }
        lab.check();
    }
}

#[test]
fn a_cut_shorter_than_the_retries_is_only_slow() {
    let (mut lab, a, _) = pair(0);
    lab.fabric.link(0, 1).loss_one_in = 1;
    traffic(&mut lab, a);
    lab.run_until(Instant(5 * timeout_ns(8)));
    lab.fabric.mend(0, 1);
    assert_traffic(&mut lab);
}

/// The `nth` question of a site is answered with its last choice, everything else is quiet.
struct Nth {
    site: Site,
    nth: u64,
}

impl Choices for Nth {
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        if site != self.site {
            return 0;
        }
        self.nth = self.nth.wrapping_sub(1);
        if self.nth == u64::MAX { bound - 1 } else { 0 }
    }
}

/// Corrupts so many packets, each at the same bit.
struct Bit {
    left: u32,
    bit: u64,
}

impl Choices for Bit {
    fn choose(&mut self, site: Site, bound: u64) -> u64 {
        match site {
            Site::LinkCorrupt if self.left > 0 => {
                self.left -= 1;
                bound - 1
            }
            Site::LinkCorruptAt => self.bit.min(bound - 1),
            _ => 0,
        }
    }
}
