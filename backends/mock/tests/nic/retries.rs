//! Lost packets: what is repeated, what must not be done twice, and when to give up.

use wavetank_contract::*;
use wavetank_mock::{Opcode, Profile, Step, StepKind};

use crate::lab::*;

/// `4.096 us * 2^code`.
fn timeout_ns(code: u8) -> u64 {
    4096 * (1 << code)
}

/// Two nodes of small packets with a short timeout; the nth packet of one direction is lost.
fn losing(from: u16, nth: u64) -> (Lab, End, End) {
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.mtu, s.timeout) = (Mtu::B256, 8);
    let (a, b) = lab.pair_with(0, 1, tune, tune);
    lab.fabric.link(from, 1 - from).lose_after = Some(nth);
    (lab, a, b)
}

fn lost(lab: &Lab) -> Vec<Opcode> {
    let opcode = |s: &Step| match s.kind {
        StepKind::Lost(opcode) => Some(opcode),
        _ => None,
    };
    lab.steps.iter().filter_map(opcode).collect()
}

#[test]
fn a_lost_request_is_repeated_after_the_timeout() {
    for code in [1, 8, 14, 20] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair_with(0, 1, |s| s.timeout = code, |_| {});
        lab.fabric.link(0, 1).lose_after = Some(0);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        assert_eq!(lab.times(StepKind::TimedOut), [timeout_ns(code)]);
        lab.expect_copy(0, 0, 1, 0, 100);
        lab.check();
    }
}

#[test]
fn a_lost_acknowledgement_makes_the_write_be_acknowledged_again_and_not_done_again() {
    let (mut lab, a, _) = losing(1, 0);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run_until(Instant(100_000));
    lab.expect_copy(0, 0, 1, 0, 100);
    lab.check();
    // The owner goes on with its memory: the repeated WRITE must not undo that.
    lab.put(1, 0, &fresh(1, 100));
    lab.run();
    lab.check();
    assert_good(&lab.ends(0), [1]);
    assert_eq!((lost(&lab), lab.delivered(Opcode::WriteOnly)), (vec![Opcode::Acknowledge], 2));
}

#[test]
fn a_lost_acknowledgement_is_made_up_for_by_a_later_one() {
    let (mut lab, a, _) = losing(1, 0);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run_until(Instant(10_000));
    lab.go(a, &[write(2, &[lab.piece(0, 8, 8)], lab.at(1, 8))]);
    lab.run();
    lab.expect_copy(0, 0, 1, 0, 16);
    lab.check();
    assert_good(&lab.ends(0), [1, 2]);
    assert_eq!(lab.count(StepKind::TimedOut), 0);
}

#[test]
fn any_lost_packet_of_a_write_is_sent_again() {
    for nth in 0..5 {
        let (mut lab, a, _) = losing(0, nth);
        lab.go(
            a,
            &[
                write(1, &[lab.piece(0, 0, 1200)], lab.at(1, 0)),
                write(2, &[lab.piece(0, 5000, 1)], lab.at(1, 5000)),
            ],
        );
        lab.run();
        assert_good(&lab.ends(0), [1, 2]);
        lab.expect_copy(0, 0, 1, 0, 1200);
        lab.expect_copy(0, 5000, 1, 5000, 1);
        lab.check();
        assert_eq!(lost(&lab).len(), 1);
        assert_eq!(lab.count(StepKind::TimedOut), 0, "what follows shows the hole");
    }
    let (mut lab, a, _) = losing(0, 4);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 1200)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lost(&lab), [Opcode::WriteLast]);
    assert_eq!(lab.times(StepKind::TimedOut), [timeout_ns(8)], "nothing follows the last packet");
    assert_eq!(lab.delivered(Opcode::WriteFirst), 2, "nothing was acknowledged before");
    lab.expect_copy(0, 0, 1, 0, 1200);
    lab.check();
    assert_good(&lab.ends(0), [1]);
}

#[test]
fn any_lost_packet_of_a_read_answer_is_read_again() {
    for nth in 0..20 {
        let (mut lab, a, _) = losing(1, nth);
        lab.go(a, &[read(1, &[lab.piece(0, 0, 20 * 256)], lab.at(1, 0))]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        lab.expect_copy(1, 0, 0, 0, 20 * 256);
        lab.check();
        assert_eq!(lab.delivered(Opcode::ReadRequest), 2);
        assert_eq!(lab.count(StepKind::TimedOut), usize::from(nth == 19));
        let answers = lab.steps.iter().filter(|s| s.node == 0 && s.len > 0).count() as u64;
        assert_eq!(answers, 20 + 20 - nth, "only what is missing is asked for again");
    }
}

#[test]
fn a_hole_costs_one_retry_however_many_answers_follow_it() {
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.mtu, s.retry_cnt) = (Mtu::B256, 1);
    let (a, _) = lab.pair_with(0, 1, tune, tune);
    lab.fabric.link(1, 0).lose_after = Some(2);
    let works: Vec<W> =
        (0..16).map(|i| read(i, &[lab.piece(0, i * 2000, 2000)], lab.at(1, i * 2000))).collect();
    lab.go(a, &works);
    lab.run();
    assert_good(&lab.ends(0), 0..16);
    lab.expect_copy(1, 0, 0, 0, 32_000);
    lab.check();
}

#[test]
fn a_lost_atomic_answer_is_not_an_atomic_done_twice() {
    let (mut lab, a, _) = losing(1, 0);
    lab.put(1, 0, &10u64.to_le_bytes());
    lab.go(a, &[add(1, lab.piece(0, 0, 8), lab.at(1, 0), 5)]);
    lab.run();
    assert_good(&lab.ends(0), [1]);
    lab.expect(1, 0, &15u64.to_le_bytes());
    lab.expect(0, 0, &10u64.to_le_bytes());
    lab.check();
    assert_eq!(lab.delivered(Opcode::FetchAdd), 2);
}

#[test]
fn a_repeated_compare_and_swap_is_answered_from_the_saved_result() {
    let (mut lab, a, _) = losing(1, 0);
    lab.put(1, 0, &10u64.to_le_bytes());
    // Done again it would find 11 and say so.
    lab.go(a, &[swap(1, lab.piece(0, 0, 8), lab.at(1, 0), 10, 11)]);
    lab.run();
    lab.expect(0, 0, &10u64.to_le_bytes());
    lab.expect(1, 0, &11u64.to_le_bytes());
    lab.check();
    assert_good(&lab.ends(0), [1]);
}

#[test]
fn sixteen_atomics_with_all_their_answers_lost_are_each_done_once() {
    let (mut lab, a, _) = losing(1, 0);
    lab.put(1, 0, &0u64.to_le_bytes());
    let works: Vec<W> = (0..16).map(|i| add(i, lab.piece(0, 8 * i, 8), lab.at(1, 0), 1)).collect();
    lab.fabric.link(1, 0).loss_one_in = 1;
    lab.go(a, &works);
    lab.run_until(Instant(500_000));
    lab.fabric.mend(1, 0);
    lab.run();
    assert_good(&lab.ends(0), 0..16);
    for i in 0..16u64 {
        lab.expect(0, 8 * i as usize, &i.to_le_bytes());
    }
    lab.expect(1, 0, &16u64.to_le_bytes());
    lab.check();
}

#[test]
fn a_repeated_read_may_bring_newer_bytes_than_its_lost_answer() {
    let (mut lab, a, _) = losing(1, 0);
    lab.go(a, &[read(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run_to(StepKind::Lost(Opcode::ReadResponseOnly));
    lab.put(1, 0, &fresh(3, 100));
    lab.run();
    lab.expect(0, 0, &fresh(3, 100));
    lab.check();
    assert_good(&lab.ends(0), [1]);
}

#[test]
fn a_repeated_write_sends_the_bytes_its_source_holds_by_then() {
    let (mut lab, a, _) = losing(0, 0);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0)), send(2, &[]).inline(b"x")]);
    lab.run_until(Instant(100));
    lab.put(0, 0, &fresh(3, 100));
    lab.run_until(Instant(20_000));
    lab.expect(1, 0, &fresh(3, 100));
    lab.check();
}

#[test]
fn a_send_whose_acknowledgement_is_lost_is_not_delivered_twice() {
    for len in [10, 1000] {
        let (mut lab, a, b) = losing(1, 0);
        lab.go(b, &[recv(8, &[lab.piece(1, 0, 2000)]), recv(9, &[lab.piece(1, 4000, 2000)])]);
        lab.go(a, &[send(1, &[lab.piece(0, 0, len)])]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        assert_good(&lab.ends(1), [8]);
        lab.expect_copy(0, 0, 1, 0, len as usize);
        lab.check();
    }
}

#[test]
fn a_dead_peer_is_given_up_after_every_retry_and_exactly_on_time() {
    for (code, retries) in [(1, 0), (8, 1), (10, 6), (14, 7), (12, 3)] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair_with(0, 1, |s| (s.timeout, s.retry_cnt) = (code, retries), |_| {});
        // A queue pair in ERR says nothing at all.
        lab.nic(b).modify(b.ep, QpState::Err).unwrap();
        let local = [lab.piece(0, 0, 8)];
        lab.go(a, &[write(1, &local, lab.at(1, 0)).silent(), send(2, &local).silent(), recv(3, &local)]);
        lab.run();
        let flush = Status::WrFlushErr;
        assert_eq!(lab.ends(0), [(1, Status::RetryExcErr), (2, flush), (3, flush)]);
        let gave_up = *lab.times(StepKind::TimedOut).last().unwrap();
        assert_eq!(gave_up, (u64::from(retries) + 1) * timeout_ns(code));
        assert_eq!(lab.count(StepKind::TimedOut), usize::from(retries) + 1);
        assert_eq!(lab.state(a), QpState::Err);
        assert!(lab.events(0).is_empty());
        lab.check();
    }
}

#[test]
fn a_cut_link_is_given_up_in_the_same_way() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| (s.timeout, s.retry_cnt) = (5, 2), |_| {});
    lab.fabric.link(0, 1).loss_one_in = 1;
    lab.go(a, &[read(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
    assert_eq!(lab.times(StepKind::TimedOut), [1, 2, 3].map(|n| n * timeout_ns(5)));
}

#[test]
fn a_timeout_of_zero_waits_for_ever() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.timeout = 0, |_| {});
    lab.fabric.link(0, 1).lose_after = Some(0);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run();
    assert!(lab.fabric.next_at(&mut Quiet).is_none(), "nothing is scheduled");
    assert!(lab.ends(0).is_empty());
    assert_eq!((lab.state(a), lab.state(b)), (QpState::Rts, QpState::Rts));
    // What follows shows the hole, and everything recovers.
    lab.go(a, &[write(2, &[lab.piece(0, 8, 8)], lab.at(1, 8))]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    lab.expect_copy(0, 0, 1, 0, 16);
    lab.check();
}

#[test]
fn the_budget_is_whole_again_after_progress() {
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.timeout, s.retry_cnt, s.mtu) = (8, 1, Mtu::B256);
    let (a, _) = lab.pair_with(0, 1, tune, tune);
    for i in 0..10 {
        lab.fabric.link(1, 0).lose_after = Some(i % 3);
        lab.go(a, &[read(i, &[lab.piece(0, 0, 600)], lab.at(1, 0))]);
        lab.run();
    }
    assert_good(&lab.ends(0), 0..10);
    assert!(lost(&lab).len() == 10);
}

#[test]
fn timers_of_peers_run_up_to_four_times_their_nominal_value() {
    struct Slack(u64);
    impl Choices for Slack {
        fn choose(&mut self, site: Site, bound: u64) -> u64 {
            if site == Site::TimeoutSlack {
                assert_eq!(bound, 3 * timeout_ns(8) + 1);
                return self.0.min(bound - 1);
            }
            0
        }
    }
    for slack in [0, 1, 777, u64::MAX] {
        let mut lab = Lab::of(2, Profile::IDEAL, Slack(slack));
        let (a, _) = lab.pair_with(0, 1, |s| (s.timeout, s.retry_cnt) = (8, 2), |_| {});
        lab.fabric.link(0, 1).loss_one_in = 1;
        lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
        lab.run();
        let each = timeout_ns(8) + slack.min(3 * timeout_ns(8));
        assert_eq!(lab.times(StepKind::TimedOut), [1, 2, 3].map(|n| n * each));
    }
}

#[test]
fn progress_starts_the_clock_anew() {
    // Both take longer than the timeout as a whole, and show progress all along.
    let mut lab = Lab::of(2, Profile::CX6, Quiet);
    let tune = |s: &mut EndpointSpec| (s.timeout, s.mtu) = (1, Mtu::B256);
    let (a, _) = lab.pair_with(0, 1, tune, tune);
    lab.go(a, &[read(1, &[lab.piece(0, 0, 200_000)], lab.at(1, 0))]);
    lab.run();
    lab.go(a, &[write(2, &[lab.piece(0, 0, 200_000)], lab.at(1, 0))]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    assert_eq!(lab.count(StepKind::TimedOut), 0);
}

#[test]
fn an_answer_that_comes_after_the_timeout_makes_the_repetition_needless() {
    // The round trip is a little longer than the timeout of 8.192 us, and another endpoint keeps the port busy, so
    // that the answer is there before the repetition could leave.
    let slow = Profile { base_ns: 3850, ..Profile::IDEAL };
    let mut lab = Lab::of(2, slow, Quiet);
    let (a, _) = lab.pair_with(0, 1, |s| (s.timeout, s.max_rd_atomic) = (1, 1), |_| {});
    let (busy, _) = lab.pair(0, 1);
    let works: Vec<W> = (0..3).map(|i| write(i, &[lab.piece(0, 0, 200_000)], lab.at(1, i))).collect();
    lab.go(busy, &works);
    lab.run_until(Instant(30));
    let local = [lab.piece(0, 250_000, 8)];
    lab.go(a, &[read(10, &local, lab.at(1, 250_000)), read(11, &local, lab.at(1, 250_000))]);
    lab.run();
    let reads: Vec<_> = lab.ends(0).into_iter().filter(|e| e.0 >= 10).collect();
    assert_good(&reads, 10..12);
    // The second READ finds the port idle and is repeated; the first never is.
    let asked = lab.steps.iter().filter(|s| s.kind == StepKind::Delivered(Opcode::ReadRequest));
    let psns: Vec<u32> = asked.map(|s| s.psn).collect();
    assert_eq!(psns, [psns[0], psns[0] + 1, psns[0] + 1]);
    assert_eq!(lab.count(StepKind::TimedOut), 2);
}

#[test]
fn a_message_that_fills_the_sequence_space_is_repeated_all_the_same() {
    // 1 GiB in packets of 256 bytes is a quarter of all sequence numbers.
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.mtu, s.timeout) = (Mtu::B256, 8);
    let (a, _) = lab.pair_with(0, 1, tune, tune);
    let nic = &mut lab.nodes[1].nic;
    let mem = nic.allocate(&RegionSpec::new(1 << 30)).unwrap();
    let mr = nic.register(&mem, PdId(0), Access::ALL).unwrap();
    let remote = nic.import(EpId(0), &nic.export(mr).unwrap()).unwrap();
    let huge = [Sge { mr: lab.nodes[0].mr, len: 1 << 30, offset: 0 }];
    lab.fabric.link(0, 1).lose_after = Some(0);
    lab.go(a, &[read(1, &huge, remote.at(0, 1 << 30).unwrap())]);
    lab.run_to(StepKind::TimedOut);
    lab.run_to(StepKind::Delivered(Opcode::ReadRequest));
}

/// Hundreds of works of every verb over a lossy network: each done once, in order, with the right bytes.
fn mixed_works_survive(one_in: u64, seed: u64) {
    const N: u64 = 300;
    let mut lab = Lab::of(2, Profile::CX6, Seeded::new(seed));
    let tune = |s: &mut EndpointSpec| {
        (s.mtu, s.timeout, s.retry_cnt, s.rnr_retry) = (Mtu::B512, 6, 7, 7);
        (s.send_depth, s.recv_depth) = (512, 512);
        s.min_rnr_timer = RnrTimer::new(1).unwrap();
    };
    let (a, b) = lab.pair_with(0, 1, tune, tune);
    lab.fabric.link(0, 1).loss_one_in = one_in;
    lab.fabric.link(1, 0).loss_one_in = one_in;
    lab.put(1, 0, &0u64.to_le_bytes());
    let mut dice = Seeded::new(seed ^ 0xd1ce);
    let mut roll = |n| dice.choose(Site::WorkloadSize, n);
    let (mut sums, mut received) = (Vec::new(), 0);
    // Each work has a slot of its own at both ends, so that order cannot hide a wrong byte.
    for i in 0..N {
        let slot = 1024 + i as usize * 800;
        let len = roll(800) as u32;
        let here = [
            lab.piece(0, slot as u64, len / 3),
            lab.piece(0, slot as u64 + u64::from(len / 3), len - len / 3),
        ];
        let w = match roll(6) {
            0 => {
                lab.expect_copy(1, slot, 0, slot, len as usize);
                read(i, &here, lab.at(1, slot as u64))
            }
            1 => {
                lab.expect(0, slot, &(sums.len() as u64).to_le_bytes());
                sums.push(i);
                add(i, lab.piece(0, slot as u64, 8), lab.at(1, 0), 1)
            }
            2 => {
                let old = lab.get(1, slot, 8);
                lab.expect(0, slot, &old);
                lab.expect(1, slot, &i.to_le_bytes());
                let aligned = slot as u64;
                swap(
                    i,
                    lab.piece(0, aligned, 8),
                    lab.at(1, aligned),
                    u64::from_le_bytes(old.try_into().unwrap()),
                    i,
                )
            }
            3 => {
                lab.expect_copy(0, slot, 1, slot, len as usize);
                write(i, &here, lab.at(1, slot as u64))
            }
            kind => {
                lab.expect_copy(0, slot, 1, slot, len as usize);
                received += 1;
                if kind == 4 {
                    lab.go(b, &[recv(i, &[lab.piece(1, slot as u64, 800)])]);
                    send(i, &here)
                } else {
                    lab.go(b, &[recv(i, &[])]);
                    write(i, &here, lab.at(1, slot as u64)).imm(i as u32)
                }
            }
        };
        lab.go(a, &[w]);
    }
    lab.run();
    assert_good(&lab.ends(0), 0..N);
    lab.expect(1, 0, &(sums.len() as u64).to_le_bytes());
    lab.check();
    let got = lab.poll(1);
    assert!(got.len() == received && got.iter().all(|c| c.status == Status::Success));
    assert!(got.is_sorted_by_key(|c| c.id));
    assert!(got.iter().all(|c| c.imm.is_none_or(|imm| u64::from(imm) == c.id.0)));
    assert!(lost(&lab).len() as u64 > N / one_in / 2, "the network did lose packets");
}

#[test]
fn mixed_works_survive_the_loss_of_every_hundredth_packet() {
    (0..4).for_each(|seed| mixed_works_survive(100, seed));
}

#[test]
fn mixed_works_survive_the_loss_of_every_twentieth_packet() {
    (0..4).for_each(|seed| mixed_works_survive(20, seed));
}

#[test]
fn mixed_works_survive_the_loss_of_every_fifth_packet() {
    (0..4).for_each(|seed| mixed_works_survive(5, seed));
}
