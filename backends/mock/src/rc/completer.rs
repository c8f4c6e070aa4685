//! Makes completions of what the responder answered. `rxe_comp.c` is the model.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Instant, QpState, RnrTimer, Status};

use crate::endpoint::Qp;
use crate::marks::Mark;
use crate::memory::MrTable;
use crate::packet::{Opcode, Packet, Syndrome};
use crate::psn;
use crate::queue::Reports;
use crate::rc::placement::Disorder;
use crate::rc::requester;

/// Handles one answer packet. True when the requester may have something to send now.
pub(crate) fn handle(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &mut Reports,
    now: Instant,
    packet: &Packet,
    disorder: Option<&mut Disorder<'_>>,
) -> bool {
    if !matches!(qp.state, QpState::Rts | QpState::Sqd) {
        reports.pass(Mark::SilentDrop);
        return false;
    }
    if qp.req.kept.due != Instant::FAR {
        finish(qp, mrs, reports, now);
        if qp.state == QpState::Err {
            return true;
        }
    }
    // Nothing outstanding, or an answer to something that is complete: a repeated or late packet.
    if psn::diff(packet.psn, qp.req.una) < 0 && packet.syndrome == Syndrome::Ack
        || qp.sq.acked == qp.sq.posted
    {
        return false;
    }
    if psn::diff(packet.psn, qp.req.next_psn) >= 0 {
        return false;
    }
    match packet.opcode {
        Opcode::Acknowledge => acknowledge(qp, reports, now, packet),
        Opcode::AtomicAcknowledge => atomic_result(qp, mrs, reports, now, packet),
        _ => read_data(qp, mrs, reports, now, packet, disorder),
    }
    requester::fail_if_due(qp, reports);
    qp.check_drained(reports);
    true
}

fn acknowledge(qp: &mut Qp, reports: &mut Reports, now: Instant, packet: &Packet) {
    if packet.syndrome == Syndrome::Ack {
        acked_through(qp, reports, now, packet.psn);
        return;
    }
    // Every NAK acknowledges what came before it.
    if psn::diff(packet.psn, qp.req.una) < 0
        || !acked_through(qp, reports, now, psn::add(packet.psn, psn::MASK))
    {
        return;
    }
    let status = match packet.syndrome {
        Syndrome::Ack => return,
        Syndrome::NakSequence => {
            start_again(qp, reports);
            return;
        }
        Syndrome::RnrNak(code) => {
            // rxe: COMPST_RNR_RETRY; 7 is not counted down.
            if planted::is(Bug::CountRnrAsLoss) {
                requester::retry(qp, reports);
                return;
            }
            if qp.req.rnr_left > 0 {
                if qp.req.rnr_left != 7 {
                    qp.req.rnr_left -= 1;
                }
                let timer = RnrTimer::new(code & 31).unwrap_or(RnrTimer::DEFAULT);
                requester::go_back(qp);
                qp.req.rnr_until = now + timer.wait_ns();
                return;
            }
            reports.pass(Mark::RnrRetriesSpent);
            Status::RnrRetryExcErr
        }
        Syndrome::NakInvalidRequest => Status::RemInvReqErr,
        Syndrome::NakRemoteAccess => Status::RemAccessErr,
        Syndrome::NakRemoteOperation => Status::RemOpErr,
    };
    qp.complete_send(status, reports);
    qp.fail(reports);
}

/// A hole in the answers, or a sequence NAK: start again, unless that was done too often. Once per hole: every
/// answer behind it that is still under way shows the same hole.
// rxe: comp.started_retry
fn start_again(qp: &mut Qp, reports: &mut Reports) {
    if !qp.req.started_again {
        qp.req.started_again = true;
        requester::retry(qp, reports);
    }
}

/// Completes everything up to `psn`. False when that would skip data that has not come, which is asked for again.
fn acked_through(qp: &mut Qp, reports: &mut Reports, now: Instant, psn: u32) -> bool {
    // Nothing new: a NAK for the oldest packet outstanding, which may be in the middle of a READ.
    if psn::diff(psn, qp.req.una) < 0 {
        return true;
    }
    let mut progress = false;
    while qp.sq.acked < qp.sq.posted {
        let wqe = qp.sq.wqe(qp.sq.acked);
        if !wqe.numbered || wqe.failed.is_some() {
            break;
        }
        let through = psn::diff(psn, wqe.first_psn);
        if through < 0 {
            break;
        }
        if wqe.op.kind().is_read_or_atomic() {
            // Acknowledged, but its data never came: the answer was lost on the way.
            progressed(qp, now, progress);
            start_again(qp, reports);
            return false;
        }
        progress = true;
        if (through as u32) < wqe.psns - 1 {
            qp.req.una = psn::add(psn, 1);
            break;
        }
        qp.req.una = psn::add(wqe.first_psn, wqe.psns);
        qp.sq.cursor = qp.sq.cursor.max(qp.sq.acked + 1);
        qp.complete_send(Status::Success, reports);
    }
    progressed(qp, now, progress);
    true
}

/// An answer that moved things on: the retry budgets are whole again and the clock starts anew.
fn progressed(qp: &mut Qp, now: Instant, progress: bool) {
    if !progress {
        return;
    }
    if !planted::is(Bug::KeepRetriesSpent) {
        qp.req.retry_left = qp.spec.retry_cnt;
    }
    qp.req.rnr_left = qp.spec.rnr_retry;
    qp.req.started_again = false;
    if qp.req.una == qp.req.next_psn {
        qp.req.ack_deadline = Instant::FAR;
    } else if qp.req.ack_deadline != Instant::FAR {
        requester::arm(qp, now);
    }
}

/// Acknowledges everything before an answer with data, and says whether it answers the oldest work outstanding.
fn answers_head(qp: &mut Qp, reports: &mut Reports, now: Instant, psn: u32) -> bool {
    if psn::diff(psn, qp.req.una) > 0 && !acked_through(qp, reports, now, psn::add(psn, psn::MASK)) {
        return false;
    }
    if qp.sq.acked == qp.sq.posted {
        return false;
    }
    let wqe = qp.sq.wqe(qp.sq.acked);
    wqe.numbered && wqe.op.kind().is_read_or_atomic() && psn == qp.req.una
}

fn read_data(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &mut Reports,
    now: Instant,
    packet: &Packet,
    mut disorder: Option<&mut Disorder<'_>>,
) {
    if !answers_head(qp, reports, now, packet.psn) {
        return;
    }
    let seq = qp.sq.acked;
    let wqe = qp.sq.wqe(seq);
    let mtu = qp.spec.mtu.bytes();
    let index = psn::diff(packet.psn, wqe.first_psn) as u32;
    let done = index * mtu;
    let last = index + 1 == wqe.psns || planted::is(Bug::CompleteBeforeData);
    if packet.len != (wqe.len - done).min(mtu) || wqe.op.kind().is_atomic() {
        qp.complete_send(Status::BadRespErr, reports);
        qp.fail(reports);
        return;
    }
    let (sges, pd, kept) = (qp.sq.sges(seq), qp.spec.pd, &mut qp.req.kept);
    let mut place = |at, bytes: &[u8]| mrs.scatter(sges, pd, at, bytes);
    let placed = match &mut disorder {
        // Where a word of several pieces begins is nobody's business: only whole answers are torn.
        Some(disorder) if sges.len() == 1 && packet.len > 0 => {
            kept.take(done, packet.payload(), sges[0].offset, disorder, reports, place)
        }
        _ => kept.finish(&mut place).and_then(|()| place(done, packet.payload())),
    };
    if placed.is_err() {
        qp.complete_send(Status::LocProtErr, reports);
        qp.fail(reports);
        return;
    }
    if last && !qp.req.kept.is_empty() {
        if !disorder.is_some_and(|disorder| qp.req.kept.linger(disorder)) {
            finish(qp, mrs, reports, now);
        }
        return;
    }
    qp.req.una = psn::add(packet.psn, 1);
    if last {
        answered(qp, reports);
    }
    progressed(qp, now, true);
}

/// Places what was kept back of a READ whose answer has come, and completes it.
pub(crate) fn finish(qp: &mut Qp, mrs: &MrTable, reports: &mut Reports, now: Instant) {
    let (seq, pd) = (qp.sq.acked, qp.spec.pd);
    let sges = qp.sq.sges(seq);
    if qp.req.kept.finish(|at, bytes| mrs.scatter(sges, pd, at, bytes)).is_err() {
        qp.complete_send(Status::LocProtErr, reports);
        qp.fail(reports);
        return;
    }
    let wqe = qp.sq.wqe(seq);
    qp.req.una = psn::add(wqe.first_psn, wqe.psns);
    answered(qp, reports);
    progressed(qp, now, true);
    requester::fail_if_due(qp, reports);
    qp.check_drained(reports);
}

fn atomic_result(qp: &mut Qp, mrs: &MrTable, reports: &mut Reports, now: Instant, packet: &Packet) {
    if !answers_head(qp, reports, now, packet.psn) {
        return;
    }
    let seq = qp.sq.acked;
    let status = if !qp.sq.wqe(seq).op.kind().is_atomic() {
        Some(Status::BadRespErr)
    } else {
        // Atomic results land in the byte order of the remote host, which here is little-endian like every other.
        let former = packet.compare.to_le_bytes();
        mrs.scatter(qp.sq.sges(seq), qp.spec.pd, 0, &former).is_err().then_some(Status::LocProtErr)
    };
    if let Some(status) = status {
        qp.complete_send(status, reports);
        qp.fail(reports);
        return;
    }
    qp.req.una = psn::add(packet.psn, 1);
    answered(qp, reports);
    progressed(qp, now, true);
}

fn answered(qp: &mut Qp, reports: &mut Reports) {
    // An answer to a request that is being repeated counts as well: the repetition is no longer needed.
    if qp.sq.cursor > qp.sq.acked {
        qp.req.rd_outstanding = qp.req.rd_outstanding.saturating_sub(1);
    } else {
        qp.sq.cursor = qp.sq.acked + 1;
    }
    qp.complete_send(Status::Success, reports);
}
