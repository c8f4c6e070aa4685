//! Order: within an endpoint completions are in post order; only a WRITE or SEND behind a READ may overtake it.

use wavetank_contract::*;
use wavetank_mock::{Opcode, StepKind};

use crate::lab::*;

#[test]
fn completions_of_an_endpoint_come_in_post_order_whatever_the_verbs() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    for i in 0..20 {
        lab.go(b, &[recv(i, &[lab.piece(1, 200_000, 64)])]);
    }
    let works: Vec<W> = (0..100)
        .map(|i| {
            let (small, large) = (lab.piece(0, 8 * i, 8), lab.piece(0, 9000, 10_000));
            match i % 5 {
                0 => read(i, &[large], lab.at(1, 0)),
                1 => write(i, &[small], lab.at(1, 64_000)),
                2 => add(i, small, lab.at(1, 64), 1),
                3 => send(i, &[small]),
                _ => swap(i, small, lab.at(1, 128), 1, 2),
            }
        })
        .collect();
    lab.go(a, &works);
    lab.run();
    assert_good(&lab.ends(0), 0..100);
    assert_good(&lab.ends(1), 0..20);
}

/// A long READ and a WRITE behind it that changes what the READ's last packets bring.
fn read_then_write(fence: bool) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let len = 100_000usize;
    let place = len - 8;
    let older = lab.get(1, place, 8);
    let mut w = write(2, &[lab.piece(0, 200_000, 8)], lab.at(1, place as u64));
    w.fence = fence;
    lab.go(a, &[read(1, &[lab.piece(0, 0, len as u32)], lab.at(1, 0)), w]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    assert_eq!(lab.get(1, place, 8), lab.get(0, 200_000, 8), "the WRITE was done");
    (lab.get(0, place, 8), older, lab.get(0, 200_000, 8))
}

#[test]
fn an_unfenced_write_overtakes_an_earlier_read() {
    let (read, older, newer) = read_then_write(false);
    assert_eq!(read, newer);
    assert_ne!(read, older);
}

#[test]
fn a_fenced_write_waits_for_the_reads_before_it() {
    let (read, older, _) = read_then_write(true);
    assert_eq!(read, older);
}

#[test]
fn a_fence_waits_for_atomics_but_not_for_writes() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let small = lab.piece(0, 0, 8);
    lab.go(a, &[write(1, &[small], lab.at(1, 0)), write(2, &[small], lab.at(1, 8)).fenced()]);
    lab.go(a, &[add(3, small, lab.at(1, 16), 1), write(4, &[small], lab.at(1, 24)).fenced()]);
    lab.run();
    let sent = |lab: &Lab, psn_rank: usize| {
        let first = lab.steps[0].psn;
        lab.steps.iter().position(|s| s.node == 1 && s.psn == first.wrapping_add(psn_rank as u32) & 0xff_ffff)
    };
    let answer = lab.steps.iter().position(|s| s.kind == StepKind::Delivered(Opcode::AtomicAcknowledge));
    assert_eq!((sent(&lab, 0), sent(&lab, 1)), (Some(0), Some(1)), "writes do not wait for writes");
    assert!(sent(&lab, 3) > answer);
    assert_good(&lab.ends(0), 1..5);
}

#[test]
fn no_more_reads_are_outstanding_than_agreed() {
    for max in [1u8, 3, 16] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair_with(0, 1, |s| s.max_rd_atomic = max, |s| s.max_dest_rd_atomic = max);
        for i in 0..40 {
            let local = lab.piece(0, i * 1000, 1000);
            lab.go(
                a,
                &[if i % 3 == 0 {
                    add(i, lab.piece(0, i * 1000, 8), lab.at(1, 0), 1)
                } else {
                    read(i, &[local], lab.at(1, 8192))
                }],
            );
        }
        lab.run();
        assert_good(&lab.ends(0), 0..40);
        let mut outstanding = 0;
        let mut most = 0;
        for s in &lab.steps {
            match s.kind {
                StepKind::Delivered(Opcode::ReadRequest | Opcode::FetchAdd) => outstanding += 1,
                StepKind::Delivered(Opcode::ReadResponseOnly | Opcode::AtomicAcknowledge) => outstanding -= 1,
                _ => {}
            }
            most = most.max(outstanding);
        }
        assert!(most <= i32::from(max) && (max == 16 || most == i32::from(max)), "{most} of {max}");
    }
}

#[test]
fn a_responder_that_serves_fewer_reads_refuses_the_surplus() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.max_rd_atomic = 4, |s| s.max_dest_rd_atomic = 2);
    let works: Vec<W> = (0..4).map(|i| read(i, &[lab.piece(0, i * 50_000, 50_000)], lab.at(1, 0))).collect();
    lab.go(a, &works);
    lab.run();
    let expected =
        [(0, Status::Success), (1, Status::Success), (2, Status::RemInvReqErr), (3, Status::WrFlushErr)];
    assert_eq!(lab.ends(0), expected);
    assert_eq!(lab.events(1), [AsyncEvent::QpReqErr(b.ep)]);
    lab.expect_copy(1, 0, 0, 0, 50_000);
    lab.expect_copy(1, 0, 0, 50_000, 50_000);
    lab.check();
}

#[test]
fn a_responder_that_serves_no_reads_refuses_the_first() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |_| {}, |s| s.max_dest_rd_atomic = 0);
    lab.go(a, &[add(1, lab.piece(0, 0, 8), lab.at(1, 0), 1)]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RemInvReqErr)]);
    lab.check();
}

#[test]
fn a_read_on_an_endpoint_that_may_have_none_outstanding_fails_and_does_not_hang() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.max_rd_atomic = 0, |_| {});
    let local = [lab.piece(0, 0, 8)];
    lab.go(
        a,
        &[write(1, &local, lab.at(1, 0)), read(2, &local, lab.at(1, 0)), write(3, &local, lab.at(1, 8))],
    );
    lab.run();
    let expected = [(1, Status::Success), (2, Status::LocQpOpErr), (3, Status::WrFlushErr)];
    assert_eq!(lab.ends(0), expected);
}

#[test]
fn unsignalled_works_are_silent_on_success_and_speak_on_failure() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    let local = [lab.piece(0, 0, 8)];
    let silent = |lab: &Lab, id| write(id, &local, lab.at(1, 0)).silent();
    lab.go(a, &[silent(&lab, 1), silent(&lab, 2), write(3, &local, lab.at(1, 0)), silent(&lab, 4)]);
    lab.run();
    assert_good(&lab.ends(0), [3]);
    let bad = write(6, &local, lab.at(1, MEM as u64)).silent();
    lab.go(a, &[silent(&lab, 5), bad, silent(&lab, 7)]);
    lab.run();
    assert_eq!(lab.ends(0), [(6, Status::RemAccessErr), (7, Status::WrFlushErr)]);
}

#[test]
fn endpoints_share_a_completion_queue_and_keep_their_own_order() {
    let mut lab = Lab::new(2);
    let pairs: Vec<_> = (0..4).map(|_| lab.pair(0, 1)).collect();
    for i in 0..20 {
        for (n, (a, _)) in pairs.iter().enumerate() {
            let len = [50_000, 8, 3000, 500][n];
            lab.go(*a, &[read(i, &[lab.piece(0, n as u64 * 60_000, len)], lab.at(1, 0))]);
        }
    }
    lab.run();
    let done = lab.poll(0);
    assert_eq!(done.len(), 80);
    for (a, _) in &pairs {
        let ids: Vec<u64> = done.iter().filter(|c| c.ep == a.ep).map(|c| c.id.0).collect();
        assert!(ids.iter().copied().eq(0..20));
    }
    let first_round: Vec<_> = done[..4].iter().map(|c| c.ep).collect();
    assert_ne!(
        first_round,
        pairs.iter().map(|(a, _)| a.ep).collect::<Vec<_>>(),
        "no order between endpoints"
    );
}

#[test]
fn sends_and_receives_may_complete_on_different_queues() {
    let mut lab = Lab::new(2);
    let other = lab.nodes[1].nic.open_cq(16).unwrap();
    let (a, b) = lab.pair_with(0, 1, |_| {}, |s| s.recv_cq = other);
    lab.go(b, &[recv(1, &[]), write(2, &[lab.piece(1, 0, 8)], lab.at(0, 0))]);
    lab.go(a, &[send(3, &[])]);
    lab.run();
    assert_good(&lab.ends(1), [2]);
    let received: Vec<_> = lab.poll_cq(1, other).iter().map(|c| c.id.0).collect();
    assert_eq!(received, [1]);
}
