//! What is refused: by us before the wire, by the device, by the peer.

use wavetank_contract::error::PostError;
use wavetank_contract::{
    Access, Backend, Data, EpId, MrId, Op, QpState, RemoteAddr, RkeyId, Sge, Status, Work, WorkId,
};

use crate::lab::{Pair, Side};

/// Whether a work ended as it should. iWARP tells the caller of a request nothing but that the connection is over: the peer's
/// TERMINATE message says more, and siw writes that to the kernel's log alone (siw_qp_rx.c, siw_proc_terminate).
fn is(status: Status, side: &Side, expected: Status) -> bool {
    let iwarp = !side.dev.caps().qp_states;
    status == if iwarp { Status::WrFlushErr } else { expected }
}

/// Posts a WRITE or READ that the peer must refuse, and says how.
fn refused(expected: Status, shape: impl Fn(&mut Pair) -> Op) {
    let Some(mut p) = Pair::open() else { return };
    p.b.fill(0, crate::lab::REGION, 77);
    let op = shape(&mut p);
    let piece = p.a.piece(0, 64);
    let id = p.a.post(op, &[piece]);
    let status = p.finish(id).status;
    assert!(is(status, &p.a, expected), "{status}");
    p.until("both ends to be in ERR", |a, b| {
        a.dev.state(a.ep) == Some(QpState::Err) && b.dev.state(b.ep) == Some(QpState::Err)
    });
    assert!(p.b.holds(0, crate::lab::REGION, 77), "nothing was written");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_wrong_key_is_a_remote_access_error_and_the_end_of_both() {
    refused(Status::RemAccessErr, |p| {
        let remote = RemoteAddr { rkey: RkeyId(p.b_region.rkey.0 ^ 0xff), addr: p.b_region.addr };
        Op::Write { remote, imm: None }
    });
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_token_that_no_import_made_reaches_no_memory() {
    refused(Status::RemAccessErr, |p| {
        let remote = RemoteAddr { rkey: RkeyId(p.b_region.rkey.0 | 1 << 40), addr: p.b_region.addr };
        Op::Write { remote, imm: None }
    });
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_range_past_the_region_is_a_remote_access_error() {
    refused(Status::RemAccessErr, |p| {
        let addr = p.b_region.addr + p.b_region.len - 63;
        Op::Read { remote: RemoteAddr { rkey: p.b_region.rkey, addr } }
    });
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_right_the_region_does_not_have_is_a_remote_access_error() {
    refused(Status::RemAccessErr, |p| {
        let readable = p.b.dev.register(&p.b.region, crate::lab::pd(0), Access::REMOTE_READ).expect("room");
        let key = p.b.dev.export(readable).expect("remote");
        let region = p.a.dev.import(p.a.ep, &key).expect("ours");
        Op::Write { remote: region.at(0, 64).expect("inside"), imm: None }
    });
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_region_of_another_domain_is_a_remote_access_error() {
    refused(Status::RemAccessErr, |p| {
        let foreign = p.b.dev.register(&p.b.region, crate::lab::pd(7), Access::ALL).expect("room");
        let key = p.b.dev.export(foreign).expect("remote");
        let region = p.a.dev.import(p.a.ep, &key).expect("ours");
        Op::Read { remote: region.at(0, 64).expect("inside") }
    });
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_right_the_queue_pair_does_not_have_is_an_invalid_request() {
    let Some(mut p) = Pair::shaped(|s| s.access = Access::REMOTE_READ) else { return };
    let (piece, remote) = (p.a.piece(0, 64), p.remote(0));
    let read = p.a.post(Op::Read { remote }, &[piece]);
    assert_eq!(p.finish(read).status, Status::Success);
    let write = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    let status = p.finish(write).status;
    // siw takes note of the rights of its queue pairs and looks at those of memory alone (SIW_RDMA_WRITE_ENABLED).
    let siw = !p.a.dev.caps().qp_states && status == Status::Success;
    assert!(siw || is(status, &p.a, Status::RemInvReqErr), "{status}");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn local_memory_that_is_not_there_is_found_out_by_the_device_not_at_the_post() {
    let bad: [fn(&Pair) -> Sge; 3] = [
        |_| Sge { mr: MrId(0x0fff_ffff), offset: 0, len: 64 },
        |p| p.a.piece(crate::lab::REGION - 63, 64),
        |p| p.a.piece(u64::MAX - 10, 64),
    ];
    for sge in bad {
        for read in [false, true] {
            let Some(mut p) = Pair::open() else { return };
            let (piece, remote) = (sge(&p), p.remote(0));
            let op = if read { Op::Read { remote } } else { Op::Write { remote, imm: None } };
            let id = p.a.post(op, &[piece]);
            let status = p.finish(id).status;
            // NICs: LOC_PROT_ERR. rxe, for what it sends: rxe_req.c sets LOC_QP_OP_ERR and enters ERR, and rxe_comp.c flushes
            // the very work that failed before it was reported (flush_send_queue), so that only WR_FLUSH_ERR is told.
            // siw: LOC_QP_OP_ERR (siw_qp_tx.c).
            let known = [Status::LocProtErr, Status::WrFlushErr, Status::LocQpOpErr];
            assert!(known.contains(&status), "{status} for {piece:?} {op:?}");
            p.until("ERR", |a, _| a.dev.state(a.ep) == Some(QpState::Err));
        }
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_message_without_a_receive_ends_when_its_budget_is_spent() {
    let Some(mut p) = Pair::shaped(|s| s.rnr_retry = 1) else { return };
    let piece = p.a.piece(0, 64);
    let id = p.a.post(Op::Send { imm: None }, &[piece]);
    let status = p.finish(id).status;
    assert!(is(status, &p.a, Status::RnrRetryExcErr), "{status}");
    if p.a.dev.caps().qp_states {
        assert_eq!(p.b.dev.state(p.b.ep), Some(QpState::Rts), "the receiver did nothing wrong");
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_peer_that_is_gone_is_found_out_by_retries() {
    let Some(mut p) = Pair::shaped(|s| (s.timeout, s.retry_cnt) = (10, 2)) else { return };
    p.b.dev.close(p.b.ep);
    let (piece, remote) = (p.a.piece(0, 64), p.remote(0));
    let id = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    let status = p.finish(id).status;
    assert!(is(status, &p.a, Status::RetryExcErr), "{status}");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_message_longer_than_its_receive_fails_at_both_ends() {
    let Some(mut p) = Pair::open() else { return };
    let (take, give) = (p.b.piece(0, 100), p.a.piece(0, 101));
    let recv = p.b.post(Op::Recv, &[take]);
    let sent = p.a.post(Op::Send { imm: None }, &[give]);
    let (sent, got) = (p.finish(sent).status, p.finish_b(recv).status);
    // NICs: REM_INV_REQ_ERR and LOC_LEN_ERR. rxe: REM_OP_ERR and LOC_QP_OP_ERR, because rxe_mr.c copy_data answers -EINVAL to
    // a message longer than what is left, and rxe_resp.c send_data_in takes only -ENOSPC for a matter of length.
    let known = [
        (Status::RemInvReqErr, Status::LocLenErr),
        (Status::RemOpErr, Status::LocQpOpErr),
        (Status::WrFlushErr, Status::LocLenErr), // siw
    ];
    assert!(known.contains(&(sent, got)), "{sent} {got}");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn what_is_wrong_with_a_work_itself_is_said_at_the_post() {
    let Some(mut p) = Pair::open() else { return };
    let caps = p.a.dev.caps().clone();
    let (remote, piece) = (p.remote(0), p.a.piece(0, 8));
    let many = vec![p.a.piece(0, 1); caps.sge_max as usize + 1];
    let long = vec![0; caps.inline_bytes_max as usize + 1];
    let heavy = [p.a.piece(0, u32::MAX), p.a.piece(0, u32::MAX)];
    let write = Op::Write { remote, imm: None };
    let add = Op::FetchAdd { remote, add: 1 };
    let mut post = |op, data| {
        let work = Work { id: WorkId(1), op, data, signalled: true, fence: false };
        p.a.dev.post(p.a.ep, &work)
    };
    let max = caps.sge_max;
    assert_eq!(post(write, Data::Pieces(&many)), Err(PostError::TooManyPieces { asked: many.len(), max }));
    let max = caps.inline_bytes_max;
    assert_eq!(post(write, Data::Inline(&long)), Err(PostError::InlineTooLong { asked: long.len(), max }));
    assert_eq!(post(Op::Recv, Data::Inline(b"x")), Err(PostError::InlineNotSending));
    assert_eq!(post(Op::Read { remote }, Data::Inline(b"x")), Err(PostError::InlineNotSending));
    if caps.sge_max > 1 {
        assert!(matches!(post(write, Data::Pieces(&heavy)), Err(PostError::MessageTooLong { .. })));
    }
    if caps.atomics {
        assert!(matches!(post(add, Data::Pieces(&[])), Err(PostError::AtomicShape { pieces: 0, .. })));
        let four = Sge { len: 4, ..piece };
        assert!(matches!(post(add, Data::Pieces(&[four])), Err(PostError::AtomicShape { len_bytes: 4, .. })));
    } else {
        assert_eq!(post(add, Data::Pieces(&[piece])), Err(PostError::NotPromised("atomics")));
    }
    let work = Work { id: WorkId(1), op: write, data: Data::Pieces(&[piece]), signalled: true, fence: false };
    assert_eq!(p.a.dev.post(EpId(99), &work), Err(PostError::Unknown(EpId(99))));
    // Nothing of all this was taken.
    let id = p.a.post(write, &[piece]);
    assert_eq!(p.finish(id).status, Status::Success);
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_doorbell_says_how_many_works_were_taken_and_the_rest_never_complete() {
    let Some(mut p) = Pair::open() else { return };
    if !p.a.dev.caps().atomics {
        return;
    }
    let (piece, misaligned) = (p.a.piece(0, 8), p.remote(4));
    let pieces = [piece];
    let ops = [
        Op::Write { remote: p.remote(0), imm: None },
        Op::FetchAdd { remote: misaligned, add: 1 },
        Op::Write { remote: p.remote(8), imm: None },
    ];
    let ids: Vec<_> = ops
        .iter()
        .map(|op| {
            let work = p.a.work(*op, &pieces);
            p.a.dev.post(p.a.ep, &work).expect("its alignment is the device's to judge");
            work.id
        })
        .collect();
    match p.a.dev.ring(p.a.ep) {
        // rxe: providers/rxe/rxe.c, validate_send_wr refuses it.
        Err(e) => {
            assert_eq!(e.taken, 1);
            assert!(matches!(e.error, PostError::System(s) if s.call == "ibv_post_send(3)"));
            assert_eq!(p.finish(ids[0]).status, Status::Success);
            // The endpoint lives on, and its places are free.
            let id = p.a.post(ops[2], &pieces);
            assert_eq!(p.finish(id).status, Status::Success);
            assert_eq!(p.a.done.len(), 2);
        }
        // Others let the peer refuse it.
        Ok(()) => assert_eq!(p.finish(ids[1]).status, Status::RemInvReqErr),
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn err_flushes_sends_and_receives_each_in_order_and_what_is_posted_later_too() {
    let Some(mut p) = Pair::open() else { return };
    let piece = [p.a.piece(0, 8)];
    for _ in 0..5 {
        let work = p.a.work(Op::Recv, &piece);
        p.a.dev.post(p.a.ep, &work).expect("taken");
    }
    p.a.dev.ring(p.a.ep).expect("taken");
    p.a.dev.modify(p.a.ep, QpState::Err).expect("always legal");
    p.until("the receives", |a, _| a.done.len() == 5);
    for _ in 0..3 {
        p.a.post(Op::Recv, &piece);
        let remote = p.remote(0);
        p.a.post(Op::Write { remote, imm: None }, &piece);
    }
    p.until("what was posted in ERR", |a, _| a.done.len() == 11);
    assert!(p.a.done.iter().all(|c| c.status == Status::WrFlushErr));
    let ids = |odd: bool| -> Vec<u64> {
        let of_kind = |id: &u64| if *id <= 5 { odd } else { id.is_multiple_of(2) == odd };
        p.a.done.iter().map(|c| c.id.0).filter(of_kind).collect()
    };
    assert_eq!(ids(true), [1, 2, 3, 4, 5, 6, 8, 10], "receives");
    assert_eq!(ids(false), [7, 9, 11], "sends");
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_receive_posted_after_the_device_failed_by_itself_is_flushed_too() {
    let Some(mut p) = Pair::open() else { return };
    let (piece, remote) = (p.a.piece(0, 64), RemoteAddr { rkey: RkeyId(0xdead), addr: 0 });
    let bad = p.a.post(Op::Write { remote, imm: None }, &[piece]);
    let status = p.finish(bad).status;
    assert!(is(status, &p.a, Status::RemAccessErr), "{status}");
    // The responder had nothing posted, so nothing told it but the event, if its device has one.
    p.until("ERR", |_, b| b.dev.state(b.ep) == Some(QpState::Err));
    let recv = p.b.post(Op::Recv, &[]);
    assert_eq!(p.finish_b(recv).status, Status::WrFlushErr);
}
