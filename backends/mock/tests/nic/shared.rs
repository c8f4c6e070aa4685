//! Shared receive queues: who takes what, what dies with an endpoint and what does not (IBA 10.2.9).

use wavetank_contract::error::{ModifyError, OpenError, PostError};
use wavetank_contract::*;
use wavetank_mock::{Opcode, StepKind};

use crate::lab::*;

const SRQ_DEPTH: u32 = 8;

/// Node 1 has a shared queue and three endpoints on it, each connected to one of node 0.
fn shared(tune: fn(&mut EndpointSpec)) -> (Lab, SrqId, Vec<(End, End)>) {
    let mut lab = Lab::new(2);
    let srq = lab.nodes[1].nic.open_srq(PdId(0), SRQ_DEPTH).unwrap();
    let share = |spec: &mut EndpointSpec| {
        tune(spec);
        (spec.shared_receive, spec.recv_depth) = (Some(srq), 0);
    };
    let pairs = (0..3).map(|_| lab.pair_with(0, 1, tune, share)).collect();
    (lab, srq, pairs)
}

fn give(lab: &mut Lab, srq: SrqId, id: u64, offset: u64, len: u32) -> Result<(), PostError> {
    let pieces = [lab.piece(1, offset, len)];
    let work =
        Work { id: WorkId(id), op: Op::Recv, data: Data::Pieces(&pieces), signalled: true, fence: false };
    lab.nodes[1].nic.post_shared(srq, &work)
}

#[test]
fn any_endpoint_takes_the_oldest_receive_and_the_completion_names_it() {
    let (mut lab, srq, pairs) = shared(|_| {});
    (0..3).for_each(|i| give(&mut lab, srq, 100 + i, 4096 * i, 64).unwrap());
    for (i, (a, b)) in pairs.iter().rev().enumerate() {
        let from = 8192 + 100 * i as u64;
        lab.go(*a, &[send(1, &[lab.piece(0, from, 50)]).imm(i as u32)]);
        lab.run();
        lab.expect_copy(0, from as usize, 1, 4096 * i, 50);
        let got = lab.poll(1);
        let told: Vec<_> = got.iter().map(|c| (c.id.0, c.ep, c.status, c.len, c.imm)).collect();
        assert_eq!(told, [(100 + i as u64, b.ep, Status::Success, 50, Some(i as u32))]);
    }
    lab.check();
}

#[test]
fn a_write_with_immediate_takes_one_with_its_last_packet_only() {
    let (mut lab, srq, pairs) = shared(|s| s.mtu = Mtu::B256);
    give(&mut lab, srq, 100, 0, 0).unwrap();
    lab.go(pairs[0].0, &[write(1, &[lab.piece(0, 0, 1000)], lab.at(1, 4096)).imm(7)]);
    lab.run_to(StepKind::Delivered(Opcode::WriteMiddle));
    lab.go(pairs[1].0, &[send(2, &[])]);
    lab.run_to(StepKind::Delivered(Opcode::SendOnly));
    assert_eq!(lab.ends(1), [(100, Status::Success)], "the SEND was there first");
    give(&mut lab, srq, 101, 0, 0).unwrap();
    lab.run();
    assert_eq!(lab.ends(1), [(101, Status::Success)]);
}

#[test]
fn an_empty_shared_queue_makes_every_sender_wait() {
    let (mut lab, srq, pairs) = shared(|s| s.rnr_retry = 1);
    lab.go(pairs[0].0, &[send(1, &[])]);
    lab.go(pairs[1].0, &[send(2, &[])]);
    lab.run_to(StepKind::Delivered(Opcode::SendOnly));
    give(&mut lab, srq, 100, 0, 0).unwrap();
    lab.run();
    let mut ends = lab.ends(0);
    ends.sort_unstable();
    let late = ends.iter().filter(|e| e.1 == Status::RnrRetryExcErr).count();
    assert_eq!((ends.len(), late), (2, 1), "one receive for two senders: {ends:?}");
}

#[test]
fn the_limit_is_told_once_until_it_is_armed_again() {
    let (mut lab, srq, pairs) = shared(|_| {});
    (0..4).for_each(|i| give(&mut lab, srq, 100 + i, 0, 0).unwrap());
    lab.nodes[1].nic.arm_srq(srq, 3).unwrap();
    let told = |lab: &mut Lab| {
        lab.go(pairs[0].0, &[send(1, &[])]);
        lab.run();
        lab.events(1)
    };
    assert_eq!(told(&mut lab), [], "three are left, no fewer");
    assert_eq!(told(&mut lab), [AsyncEvent::SrqLimitReached(srq)]);
    assert_eq!(told(&mut lab), [], "it was told");
    lab.nodes[1].nic.arm_srq(srq, 1).unwrap();
    assert_eq!(told(&mut lab), [AsyncEvent::SrqLimitReached(srq)]);
    let above = lab.nodes[1].nic.arm_srq(srq, SRQ_DEPTH + 1);
    assert!(matches!(above, Err(ModifyError::System(_))), "{above:?}");
    assert_eq!(lab.nodes[1].nic.arm_srq(SrqId(9), 1), Err(ModifyError::UnknownSrq(SrqId(9))));
}

#[test]
fn an_endpoint_that_dies_leaves_the_shared_receives_to_the_others() {
    let (mut lab, srq, pairs) = shared(|_| {});
    (0..2).for_each(|i| give(&mut lab, srq, 100 + i, 0, 64).unwrap());
    let dead = pairs[0].1;
    lab.nic(dead).modify(dead.ep, QpState::Err).unwrap();
    assert_eq!(lab.events(1), [AsyncEvent::LastWqeReached(dead.ep)]);
    assert!(lab.ends(1).is_empty(), "nothing of it was taken, nothing is flushed");
    lab.nic(dead).modify(dead.ep, QpState::Err).unwrap();
    assert!(lab.events(1).is_empty(), "the last was reached once");
    lab.go(pairs[1].0, &[send(1, &[])]);
    lab.run();
    assert_eq!(lab.ends(1), [(100, Status::Success)]);
}

#[test]
fn a_receive_taken_by_the_failing_message_completes_in_error() {
    let (mut lab, srq, pairs) = shared(|s| s.mtu = Mtu::B256);
    (0..3).for_each(|i| give(&mut lab, srq, 100 + i, 4096, 512).unwrap());
    lab.go(pairs[0].0, &[send(1, &[lab.piece(0, 0, 1000)])]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RemInvReqErr)]);
    assert_eq!(lab.ends(1), [(100, Status::LocLenErr)]);
    assert_eq!(lab.events(1), [AsyncEvent::LastWqeReached(pairs[0].1.ep)]);
    // Half a message, and then its endpoint dies.
    lab.go(pairs[1].0, &[send(2, &[lab.piece(0, 0, 500)])]);
    lab.run_to(StepKind::Delivered(Opcode::SendFirst));
    let dying = pairs[1].1;
    lab.nic(dying).modify(dying.ep, QpState::Err).unwrap();
    assert_eq!(lab.ends(1), [(101, Status::WrFlushErr)]);
    lab.run();
    lab.go(pairs[2].0, &[send(3, &[])]);
    lab.run();
    assert_eq!(lab.ends(1), [(102, Status::Success)]);
}

#[test]
fn a_slot_is_free_when_its_completion_was_polled_or_its_endpoint_closed() {
    let (mut lab, srq, pairs) = shared(|s| s.mtu = Mtu::B256);
    for i in 0..u64::from(SRQ_DEPTH) {
        give(&mut lab, srq, i, 0, 512).unwrap();
    }
    let full =
        |lab: &mut Lab| matches!(give(lab, srq, 99, 0, 512), Err(PostError::System(e)) if e.errno == 12);
    assert!(full(&mut lab));
    lab.go(pairs[0].0, &[send(1, &[])]);
    lab.run();
    assert!(full(&mut lab), "taken, not polled");
    assert_eq!(lab.ends(1), [(0, Status::Success)]);
    give(&mut lab, srq, 8, 0, 512).unwrap();
    assert!(full(&mut lab));
    // One completion that is never polled, one message that is never complete.
    lab.go(pairs[0].0, &[send(2, &[]), send(3, &[lab.piece(0, 0, 500)])]);
    lab.run_to(StepKind::Delivered(Opcode::SendFirst));
    let closing = pairs[0].1;
    lab.nic(closing).close(closing.ep);
    give(&mut lab, srq, 9, 0, 512).unwrap();
    give(&mut lab, srq, 10, 0, 512).unwrap();
    assert!(full(&mut lab));
    lab.go(pairs[1].0, &[send(4, &[])]);
    lab.run();
    assert_eq!(lab.ends(1), [(3, Status::Success)]);
}

#[test]
fn what_a_shared_queue_cannot_be_is_refused() {
    let mut lab = Lab::new(1);
    let nic = &mut lab.nodes[0].nic;
    let max = nic.caps().shared_receive_depth_max;
    for depth in [0, max + 1] {
        assert!(matches!(nic.open_srq(PdId(0), depth), Err(OpenError::OutOfRange { .. })), "{depth}");
    }
    let srq = nic.open_srq(PdId(1), max).unwrap();
    let mut spec = lab.spec(0);
    (spec.shared_receive, spec.recv_depth, spec.pd) = (Some(srq), 1, PdId(1));
    let nic = &mut lab.nodes[0].nic;
    let own = OpenError::OutOfRange { field: "recv_depth", asked: 1, min: 0, max: 0 };
    assert_eq!(nic.open(&spec), Err(own));
    (spec.recv_depth, spec.pd) = (0, PdId(0));
    assert_eq!(nic.open(&spec), Err(OpenError::UnknownSrq(srq)), "another domain");
    (spec.shared_receive, spec.pd) = (Some(SrqId(7)), PdId(1));
    assert_eq!(nic.open(&spec), Err(OpenError::UnknownSrq(SrqId(7))));
    spec.shared_receive = Some(srq);
    let ep = nic.open(&spec).unwrap();
    nic.modify(ep, QpState::Init).unwrap();
    let end = End { node: 0, ep };
    assert!(matches!(lab.post(end, &recv(1, &[])), Err(PostError::NotPromised(_))));
    let work = |op, data| Work { id: WorkId(1), op, data, signalled: true, fence: false };
    let nic = &mut lab.nodes[0].nic;
    let sends = nic.post_shared(srq, &work(Op::Send { imm: None }, Data::Pieces(&[])));
    assert!(matches!(sends, Err(PostError::NotPromised(_))), "{sends:?}");
    assert_eq!(nic.post_shared(srq, &work(Op::Recv, Data::Inline(b"x"))), Err(PostError::InlineNotSending));
    let gone = nic.post_shared(SrqId(7), &work(Op::Recv, Data::Pieces(&[])));
    assert!(matches!(gone, Err(PostError::Gone(_))), "{gone:?}");
}
