//! Receive queues that endpoints share.

use wavetank_contract::error::{ModifyError, OpenError, PostError};
use wavetank_contract::{AsyncEvent, Backend, Data, EndpointSpec, Op, SrqId, Status, Work, WorkId};

use crate::lab::{Side, connect, devices, pd, wait};

fn receive(side: &mut Side, srq: SrqId, id: u64) -> Result<(), PostError> {
    let pieces = [side.piece(id * 64, 64)];
    let work =
        Work { id: WorkId(id), op: Op::Recv, data: Data::Pieces(&pieces), signalled: true, fence: false };
    side.dev.post_shared(srq, &work)
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn endpoints_take_receives_from_a_shared_queue_and_completions_name_them() {
    let Some((a, b)) = devices() else { return };
    let (mut a, mut b) = (Side::open(&a), Side::open(&b));
    if b.dev.caps().shared_receive_depth_max == 0 {
        assert_eq!(b.dev.open_srq(pd(0), 8), Err(OpenError::NotPromised("shared receive queues")));
        return;
    }
    let deepest = b.dev.caps().shared_receive_depth_max;
    b.dev.open_srq(pd(0), deepest).expect("as promised");
    assert!(matches!(b.dev.open_srq(pd(0), deepest + 1), Err(OpenError::OutOfRange { .. })));
    let srq = b.dev.open_srq(pd(0), 8).expect("as promised");
    let mut spec = EndpointSpec::new(b.cq);
    (spec.shared_receive, spec.recv_depth) = (Some(srq), 0);
    let takers = [b.dev.open(&spec).expect("open"), b.dev.open(&spec).expect("open")];
    let givers = [a.ep, a.dev.open(&EndpointSpec::new(a.cq)).expect("open")];
    for at in 0..2 {
        (a.ep, b.ep) = (givers[at], takers[at]);
        connect(&mut a, &mut b);
    }
    let own = b.work(Op::Recv, &[]);
    assert!(
        matches!(b.dev.post(takers[0], &own), Err(PostError::NotPromised(_))),
        "it has no queue of its own"
    );
    for id in 0..8 {
        receive(&mut b, srq, id).expect("room");
    }
    assert!(receive(&mut b, srq, 8).is_err(), "full");
    b.dev.arm_srq(srq, 6).expect("armed");
    for round in 0..4u64 {
        a.ep = givers[round as usize % 2];
        let give = a.piece(0, 10 + round as u32);
        a.post(Op::Send { imm: None }, &[give]);
        wait(&mut [&mut a, &mut b], "a message", |s| s[1].done.len() as u64 == round + 1);
        let got = b.done[round as usize];
        assert_eq!(
            (got.status, got.ep, u64::from(got.len)),
            (Status::Success, takers[round as usize % 2], 10 + round)
        );
    }
    wait(&mut [&mut a, &mut b], "the limit", |s| s[1].events.contains(&AsyncEvent::SrqLimitReached(srq)));
    let told = b.events.iter().filter(|e| **e == AsyncEvent::SrqLimitReached(srq)).count();
    assert_eq!(told, 1, "once");
    // Places come back.
    for id in 8..12 {
        receive(&mut b, srq, id).expect("room again");
    }
    assert_eq!(b.dev.arm_srq(SrqId(7), 1), Err(ModifyError::UnknownSrq(SrqId(7))));
    assert!(b.dev.arm_srq(srq, 9).is_err(), "above its depth");
    // An endpoint that goes leaves the queue to the other.
    b.dev.close(takers[0]);
    (a.ep, b.ep) = (givers[1], takers[1]);
    b.done.clear();
    let give = a.piece(0, 33);
    a.post(Op::Send { imm: None }, &[give]);
    wait(&mut [&mut a, &mut b], "a message", |s| s[1].done.len() == 1);
    assert_eq!((b.done[0].ep, b.done[0].len), (takers[1], 33));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_shared_queue_of_another_domain_is_unknown() {
    let Some((a, _)) = devices() else { return };
    let mut side = Side::open(&a);
    if side.dev.caps().shared_receive_depth_max == 0 {
        return;
    }
    let srq = side.dev.open_srq(pd(5), 4).expect("as promised");
    let mut spec = EndpointSpec::new(side.cq);
    (spec.shared_receive, spec.recv_depth) = (Some(srq), 0);
    assert_eq!(side.dev.open(&spec), Err(OpenError::UnknownSrq(srq)));
    (spec.pd, spec.recv_depth) = (pd(5), 1);
    assert!(matches!(side.dev.open(&spec), Err(OpenError::OutOfRange { field: "recv_depth", .. })));
    spec.recv_depth = 0;
    side.dev.open(&spec).expect("its own domain");
}
