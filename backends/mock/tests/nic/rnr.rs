//! Receiver not ready: the waits that receivers ask for, and the budget for them.

use wavetank_contract::*;
use wavetank_mock::{Opcode, StepKind};

use crate::lab::*;

const SENT: StepKind = StepKind::Delivered(Opcode::SendOnly);

#[test]
fn each_of_the_32_timer_codes_waits_as_long_as_the_table_says() {
    // IBA table 45, in units of 10 us.
    let table = [
        65_536u64, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536,
        2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768, 49_152,
    ];
    for (code, tens_of_us) in table.into_iter().enumerate() {
        let timer = RnrTimer::new(code as u8).unwrap();
        let mut lab = Lab::new(2);
        // The timer is the responder's, not the requester's.
        let (a, b) = lab.pair_with(0, 1, |s| s.rnr_retry = 2, |s| s.min_rnr_timer = timer);
        lab.go(a, &[send(1, &[])]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::RnrRetryExcErr)]);
        assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Rts));
        let naks = lab.times(StepKind::Delivered(Opcode::Acknowledge));
        let waits = lab.times(StepKind::ReceiverWaited);
        assert_eq!((naks.len(), waits.len()), (3, 2));
        for (nak, wait) in naks.iter().zip(&waits) {
            assert_eq!(wait - nak, tens_of_us * 10_000, "code {code}");
        }
        assert!(lab.steps.iter().any(|s| s.syndrome == 0x20 | code as u8));
        assert_eq!(lab.count(StepKind::TimedOut), 0);
    }
}

#[test]
fn the_budget_counts_repetitions_and_seven_never_gives_up() {
    for budget in 0..7u8 {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair_with(0, 1, |s| s.rnr_retry = budget, |_| {});
        lab.go(a, &[send(1, &[]), send(2, &[])]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::RnrRetryExcErr), (2, Status::WrFlushErr)]);
        assert_eq!(lab.count(StepKind::ReceiverWaited), usize::from(budget));
    }
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.rnr_retry = 7, |_| {});
    lab.go(a, &[send(1, &[])]);
    lab.run_until(Instant(1_000_000_000));
    assert_eq!(lab.state(a), QpState::Rts);
    assert!(lab.count(StepKind::ReceiverWaited) > 1500);
    lab.go(b, &[recv(9, &[])]);
    lab.run();
    assert_good(&lab.ends(0), [1]);
}

#[test]
fn a_receive_posted_meanwhile_takes_the_message() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.go(a, &[send(1, &[lab.piece(0, 0, 9000)]), write(2, &[lab.piece(0, 0, 8)], lab.at(1, 100_000))]);
    lab.run_until(Instant(300_000));
    assert!(lab.poll(0).is_empty());
    lab.go(b, &[recv(9, &[lab.piece(1, 0, 9000)])]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    assert_good(&lab.ends(1), [9]);
    lab.expect_copy(0, 0, 1, 0, 9000);
    lab.expect_copy(0, 0, 1, 100_000, 8);
    lab.check();
    assert_eq!(lab.count(StepKind::ReceiverWaited), 1);
}

#[test]
fn waiting_for_a_receive_costs_nothing_of_the_budget_for_lost_packets() {
    // Works behind the one that waits arrive out of sequence; the responder says nothing of them.
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.retry_cnt, s.rnr_retry) = (0, 7);
    let (a, b) = lab.pair_with(0, 1, tune, |_| {});
    let works: Vec<W> = (0..20).map(|i| send(i, &[])).collect();
    lab.go(a, &works);
    lab.run_until(Instant(20_000_000));
    assert_eq!(lab.state(a), QpState::Rts);
    assert!(lab.steps.iter().all(|s| s.syndrome != 0x60), "no sequence NAK");
    for i in 0..20 {
        lab.go(b, &[recv(i, &[])]);
    }
    lab.run();
    assert_good(&lab.ends(0), 0..20);
    assert_good(&lab.ends(1), 0..20);
}

#[test]
fn the_budget_is_whole_again_after_each_message() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.rnr_retry = 2, |_| {});
    let works: Vec<W> = (0..10).map(|i| send(i, &[])).collect();
    lab.go(a, &works);
    for i in 0..10u64 {
        // Each message waits twice.
        let waited = lab.count(StepKind::ReceiverWaited);
        while lab.count(StepKind::ReceiverWaited) < waited + 2 {
            lab.run_to(StepKind::ReceiverWaited);
        }
        lab.go(b, &[recv(i, &[])]);
    }
    lab.run();
    assert_good(&lab.ends(0), 0..10);
    assert_good(&lab.ends(1), 0..10);
}

#[test]
fn a_write_with_immediate_waits_at_its_last_packet() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 10_000)], lab.at(1, 0)).imm(5)]);
    lab.run_until(Instant(100_000));
    lab.expect_copy(0, 0, 1, 0, 8192);
    lab.check();
    lab.go(b, &[recv(9, &[])]);
    lab.run();
    lab.expect_copy(0, 0, 1, 0, 10_000);
    lab.check();
    assert_good(&lab.ends(0), [1]);
    assert_eq!(lab.poll(1)[0].len, 10_000);
    let first = lab.delivered(Opcode::WriteFirst);
    assert_eq!((first, lab.delivered(Opcode::WriteLastImm)), (1, 2), "only the last packet is repeated");
}

#[test]
fn the_endpoint_stays_silent_while_it_waits() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    lab.go(a, &[send(1, &[])]);
    lab.run_until(Instant(100_000));
    let before = lab.steps.len();
    lab.go(a, &[write(2, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
    lab.run_until(Instant(600_000));
    assert_eq!(lab.steps.len(), before);
    assert_eq!(lab.count(SENT), 1);
    lab.check();
}

#[test]
fn a_lost_not_ready_is_found_out_by_the_timeout() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.fabric.link(1, 0).lose_after = Some(0);
    lab.go(a, &[send(1, &[]), send(2, &[])]);
    lab.run_until(Instant(1_000_000));
    lab.go(b, &[recv(8, &[]), recv(9, &[])]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    assert_good(&lab.ends(1), [8, 9]);
    assert_eq!((lab.count(StepKind::TimedOut), lab.count(StepKind::ReceiverWaited)), (1, 0));
}
