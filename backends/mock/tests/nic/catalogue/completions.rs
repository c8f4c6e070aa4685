//! Completion errors.

use wavetank_contract::*;
use wavetank_mock::{Mark, Opcode, StepKind};

use crate::lab::*;

const RNR: [Mark; 2] = [Mark::RnrNak, Mark::RnrRetriesSpent];
const LOST: [Mark; 2] = [Mark::AckTimeout, Mark::RetriesSpent];

#[test]
fn no_receive_posted() {
    // The budget, how it ends, and how many refusals that takes.
    for (rnr_retry, naks, spent) in [(0, 1, 1), (3, 4, 1), (6, 7, 1)] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair_with(0, 1, |s| s.rnr_retry = rnr_retry, |_| {});
        lab.go(a, &[send(1, &[lab.piece(0, 0, 100)]), write(2, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::RnrRetryExcErr), (2, Status::WrFlushErr)]);
        assert_eq!(lab.marks(RNR), [naks, spent]);
        assert_eq!(lab.marks(LOST), [0, 0], "the two budgets are separate");
        assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Rts), "the responder stays up");
        lab.check();
    }
    // Quiet: there is a receive.
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.rnr_retry = 0, |_| {});
    lab.go(b, &[recv(9, &[lab.piece(1, 0, 100)])]);
    lab.go(a, &[send(1, &[lab.piece(0, 0, 100)])]);
    lab.run();
    assert_good(&lab.ends(0), [1]);
    assert_eq!(lab.marks(RNR), [0, 0]);
}

#[test]
fn no_receive_ever_posted_and_seven_retries_never_ends() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.rnr_retry = 7, |_| {});
    lab.go(a, &[send(1, &[lab.piece(0, 0, 100)])]);
    lab.run_until(Instant(1_000_000_000));
    let [naks, spent] = lab.marks(RNR);
    assert!(naks > 1000 && spent == 0, "{naks}");
    assert!(lab.ends(0).is_empty(), "for ever");
    assert_eq!(lab.state(a), QpState::Rts);
    assert!(
        lab.fabric.next_at(&mut Quiet).is_some(),
        "and it goes on: whoever waits for an end has to notice by itself"
    );
}

#[test]
fn silent_loss_or_a_dead_peer() {
    let run = |cut: bool| {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair_with(0, 1, |s| (s.timeout, s.retry_cnt) = (8, 4), |_| {});
        lab.fabric.link(0, 1).loss_one_in = u64::from(cut);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
        lab.run();
        (lab.ends(0), lab.state(a), lab.state(b), lab.marks(LOST))
    };
    let spent = vec![(1, Status::RetryExcErr)];
    assert_eq!(run(true), (spent, QpState::Err, QpState::Rts, [5, 1]));
    assert_eq!(run(false), (vec![(1, Status::Success)], QpState::Rts, QpState::Rts, [0, 0]));
}

#[test]
fn with_a_timeout_of_zero_silence_is_waited_for_for_ever() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.timeout = 0, |_| {});
    lab.fabric.link(0, 1).loss_one_in = 1;
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run();
    assert!(lab.fabric.next_at(&mut Quiet).is_none(), "nothing is scheduled any more");
    assert_eq!((lab.ends(0), lab.marks(LOST)), (vec![], [0, 0]));
}

#[test]
fn the_retry_budgets_are_separate_and_whole_again_after_progress() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| (s.timeout, s.retry_cnt, s.rnr_retry) = (8, 1, 1), |_| {});
    for id in 0..20 {
        // One of each kind of trouble for each message: a budget of one is enough, if it is a new one each time.
        lab.fabric.link(0, 1).lose_after = Some(0);
        lab.go(a, &[send(id, &[lab.piece(0, 0, 100)])]);
        lab.run_to(StepKind::Delivered(Opcode::SendOnly));
        lab.go(b, &[recv(100 + id, &[lab.piece(1, 0, 100)])]);
        lab.run();
    }
    assert_good(&lab.ends(0), 0..20);
    assert_eq!((lab.marks(LOST), lab.marks(RNR)), ([20, 0], [20, 0]));
}

#[test]
fn packets_for_a_queue_pair_that_is_not_ready_are_dropped_without_a_word() {
    for (state, drops) in [(None, 0), (Some(QpState::Err), 3), (Some(QpState::Reset), 3)] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair_with(0, 1, |s| (s.timeout, s.retry_cnt) = (8, 2), |_| {});
        if let Some(state) = state {
            lab.nic(b).modify(b.ep, state).unwrap();
        }
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
        lab.run();
        assert_eq!(lab.marks([Mark::SilentDrop]), [drops]);
        assert_eq!(lab.delivered(Opcode::Acknowledge), usize::from(drops == 0), "no NAK");
    }
}

#[test]
fn a_hole_costs_one_sequence_nak_and_then_silence() {
    for (hole, naks) in [(None, 0), (Some(3), 1)] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair_with(0, 1, |s| s.mtu = Mtu::B256, |s| s.mtu = Mtu::B256);
        lab.fabric.link(0, 1).lose_after = hole;
        lab.go(a, &[write(1, &[lab.piece(0, 0, 5000)], lab.at(1, 0))]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        assert_eq!(lab.marks([Mark::SequenceNak, Mark::AckTimeout]), [naks, 0]);
        lab.expect_copy(0, 0, 1, 0, 5000);
        lab.check();
    }
}

#[test]
fn a_repeated_write_or_send_is_acknowledged_again_and_not_done_again() {
    for (lost, repeated) in [(None, 0), (Some(0), 1)] {
        let mut lab = Lab::new(2);
        let (a, b) = lab.pair(0, 1);
        lab.go(b, &[recv(8, &[lab.piece(1, 0, 100)]), recv(9, &[lab.piece(1, 0, 100)])]);
        lab.fabric.link(1, 0).lose_after = lost;
        lab.go(a, &[send(1, &[lab.piece(0, 0, 100)])]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        assert_good(&lab.ends(1), [8]);
        assert_eq!(lab.marks([Mark::RequestRepeated]), [repeated]);
    }
}

#[test]
fn a_repeated_read_is_read_again_and_may_bring_newer_bytes() {
    for (lost, repeated) in [(None, 0), (Some(0), 1)] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair(0, 1);
        lab.fabric.link(1, 0).lose_after = lost;
        lab.go(a, &[read(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
        lab.run_until(Instant(1_000_000));
        let newer = fresh(1, 100);
        let older = lab.get(1, 0, 100);
        lab.put(1, 0, &newer);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        lab.expect(0, 0, if repeated > 0 { &newer } else { &older });
        lab.check();
        assert_eq!(lab.marks([Mark::ReadRepeated]), [repeated]);
    }
}

#[test]
fn a_repeated_atomic_is_answered_from_its_saved_result() {
    for (lost, repeated) in [(None, 0), (Some(0), 1)] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair(0, 1);
        let before = lab.word(1, 64);
        lab.fabric.link(1, 0).lose_after = lost;
        lab.go(a, &[add(1, lab.piece(0, 0, 8), lab.at(1, 64), 5)]);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        assert_eq!((lab.word(0, 0), lab.word(1, 64)), (before, before.wrapping_add(5)), "once");
        assert_eq!(lab.marks([Mark::AtomicRepeated]), [repeated]);
    }
}

/// As many READs and atomics are remembered as are served at a time. Three are granted and every answer is lost: with room for
/// three the first is answered when it comes again, with room for two nothing is known of it any more.
#[test]
fn a_read_or_atomic_repeated_too_late_is_dropped() {
    for atomic in [false, true] {
        for (room, late, ends) in [
            (3, 0, [Status::Success; 3]),
            (2, 7, [Status::RetryExcErr, Status::WrFlushErr, Status::WrFlushErr]),
        ] {
            let mut lab = Lab::new(2);
            let (a, _) = lab.pair_with(0, 1, |s| s.timeout = 14, |s| s.max_dest_rd_atomic = room);
            lab.fabric.link(1, 0).loss_one_in = 1;
            for id in 0..3 {
                let (piece, to) = (lab.piece(0, 8 * id, 8), lab.at(1, 8 * id));
                lab.go(a, &[if atomic { add(id, piece, to, 1) } else { read(id, &[piece], to) }]);
                let answer = if atomic { Opcode::AtomicAcknowledge } else { Opcode::ReadResponseOnly };
                lab.run_to(StepKind::Lost(answer));
            }
            lab.fabric.mend(1, 0);
            lab.run();
            assert_eq!(lab.ends(0), [(0, ends[0]), (1, ends[1]), (2, ends[2])], "{room}");
            // It comes with its first repetition and with those that follow, six in all.
            let dropped = lab.marks([Mark::RepeatTooLate])[0];
            assert_eq!(dropped > 0, late > 0, "{dropped}");
        }
    }
}

#[test]
fn an_error_of_an_unsignalled_work_completes_anyway() {
    for (bad, ends) in [(false, vec![]), (true, vec![(1, Status::RemAccessErr)])] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair(0, 1);
        let to = if bad { lab.at(1, MEM as u64) } else { lab.at(1, 0) };
        lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], to).silent()]);
        lab.run();
        assert_eq!(lab.ends(0), ends);
    }
}
