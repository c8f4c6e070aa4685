//! Turns posted works into request packets. `rxe_req.c` is the model.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Instant, Op, OpKind, QpState, RemoteAddr, Status};

use crate::digest;
use crate::endpoint::{Qp, SendWqe};
use crate::marks::Mark;
use crate::memory::{MrTable, NO_KEY};
use crate::packet::{Opcode, Packet};
use crate::psn;
use crate::queue::Reports;

/// The peer is asked to acknowledge at least this often, in packets, so that a long message shows progress.
const PACKETS_PER_ACK_MAX: u32 = 64;

/// No work is begun with this many PSNs in flight. The longest message adds as many again, which is still below
/// half the space, so that ahead and behind stay distinguishable.
const UNACKED_PSNS_MAX: i32 = 1 << 22;

/// Builds the next request packet. False when there is none to send now.
pub(crate) fn next_request(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &mut Reports,
    now: Instant,
    out: &mut Packet,
) -> bool {
    let seq = qp.sq.cursor;
    if seq == qp.sq.posted || !may_send(qp, qp.sq.wqe(seq)) {
        return false;
    }
    if qp.spec.max_rd_atomic == 0 && qp.sq.wqe(seq).op.kind().is_read_or_atomic() {
        // It could never start; waiting for ever helps nobody.
        qp.sq.wqe_mut(seq).failed = Some(Status::LocQpOpErr);
        fail_if_due(qp, reports);
        return false;
    }
    let mtu = qp.spec.mtu.bytes();
    if !qp.sq.wqe(seq).numbered {
        let first_psn = qp.req.next_psn;
        let wqe = qp.sq.wqe_mut(seq);
        wqe.numbered = true;
        wqe.first_psn = first_psn;
        wqe.psns = if wqe.op.kind().is_atomic() { 1 } else { wqe.len.div_ceil(mtu).max(1) };
        qp.req.next_psn = psn::add(first_psn, wqe.psns);
    }
    let wqe = qp.sq.wqe(seq);
    out.compare = 0;
    out.operand = 0;
    out.digest = 0;
    out.len = 0;
    out.imm = wqe.op.imm().unwrap_or(0);
    match wqe.op {
        Op::Read { remote } => {
            // A repeated READ asks only for what is still missing.
            let missing_from = psn::diff(qp.req.una, wqe.first_psn).clamp(0, wqe.psns as i32 - 1) as u32;
            out.opcode = Opcode::ReadRequest;
            out.psn = psn::add(wqe.first_psn, missing_from);
            let early = u32::from(missing_from > 0 && planted::is(Bug::ResumeReadEarly));
            out.remote_addr = remote.addr.wrapping_add(u64::from(missing_from - early) * u64::from(mtu));
            out.message_len = wqe.len - missing_from * mtu;
            out.rkey = wire_key(remote);
        }
        Op::CompareSwap { remote, .. } | Op::FetchAdd { remote, .. } => {
            (out.opcode, out.compare, out.operand) = match wqe.op {
                Op::CompareSwap { compare, swap, .. } => (Opcode::CompareSwap, compare, swap),
                Op::FetchAdd { add, .. } => (Opcode::FetchAdd, 0, add),
                _ => unreachable!("matched above"),
            };
            out.psn = wqe.first_psn;
            out.remote_addr = remote.addr;
            out.message_len = 8;
            out.rkey = wire_key(remote);
        }
        Op::Send { .. } | Op::Write { .. } | Op::Recv => {
            let done = wqe.sent * mtu;
            let len = (wqe.len - done).min(mtu);
            out.psn = psn::add(wqe.first_psn, wqe.sent);
            out.opcode = opcode(wqe);
            if let Some(remote) = wqe.op.remote() {
                out.remote_addr = remote.addr;
                out.rkey = wire_key(remote);
            }
            out.message_len = wqe.len;
            let payload = out.payload_mut(len);
            let gathered = if wqe.inline {
                payload.copy_from_slice(&qp.sq.inline(seq)[done as usize..(done + len) as usize]);
                Ok(digest::digest(payload))
            } else {
                mrs.gather(qp.sq.sges(seq), qp.spec.pd, done, payload)
            };
            let Ok(digest) = gathered else {
                // rxe: rxe_req.c finish_packet, -EFAULT. Found out when the packet is built, long after the post.
                qp.sq.wqe_mut(seq).failed = Some(Status::LocProtErr);
                fail_if_due(qp, reports);
                return false;
            };
            out.digest = digest;
            if len > 0 && qp.req.sent.changes(out.psn, digest) {
                reports.pass(Mark::SourceChanged);
            }
        }
    }
    qp.req.unasked += 1;
    let (last, read_or_atomic) = (wqe.sent + 1 == wqe.requests(), wqe.op.kind().is_read_or_atomic());
    out.ack_requested = last || qp.req.unasked >= PACKETS_PER_ACK_MAX;
    if out.ack_requested {
        qp.req.unasked = 0;
    }
    qp.sq.wqe_mut(seq).sent += 1;
    if last {
        qp.sq.cursor += 1;
        if read_or_atomic {
            qp.req.rd_outstanding += 1;
        }
    }
    if qp.req.ack_deadline == Instant::FAR {
        arm(qp, now);
    }
    true
}

/// Whether the work at the cursor may start or go on.
fn may_send(qp: &Qp, wqe: &SendWqe) -> bool {
    let begun = wqe.numbered;
    let state_allows = match qp.state {
        QpState::Rts => true,
        QpState::Sqd => begun,
        _ => false,
    };
    let in_flight = psn::diff(qp.req.next_psn, qp.req.una);
    let rd = qp.req.rd_outstanding;
    // A later WRITE may overtake an earlier READ; only a fence forbids it (IBA 10.8.3.3).
    let fenced = wqe.fence && rd > 0;
    let rd_limited = wqe.op.kind().is_read_or_atomic() && rd >= qp.spec.max_rd_atomic.max(1);
    state_allows
        && qp.req.rnr_until == Instant::ZERO
        && wqe.failed.is_none()
        && (begun || in_flight < UNACKED_PSNS_MAX)
        && !fenced
        && !rd_limited
}

fn opcode(wqe: &SendWqe) -> Opcode {
    let (first, last) = (wqe.sent == 0, wqe.sent + 1 == wqe.psns);
    let send = wqe.op.kind() == OpKind::Send;
    let imm = wqe.op.imm().is_some();
    match (send, first, last, imm) {
        (true, true, true, false) => Opcode::SendOnly,
        (true, true, true, true) => Opcode::SendOnlyImm,
        (true, true, false, _) => Opcode::SendFirst,
        (true, false, false, _) => Opcode::SendMiddle,
        (true, false, true, false) => Opcode::SendLast,
        (true, false, true, true) => Opcode::SendLastImm,
        (false, true, true, false) => Opcode::WriteOnly,
        (false, true, true, true) => Opcode::WriteOnlyImm,
        (false, true, false, _) => Opcode::WriteFirst,
        (false, false, false, _) => Opcode::WriteMiddle,
        (false, false, true, false) => Opcode::WriteLast,
        (false, false, true, true) => Opcode::WriteLastImm,
    }
}

/// The key as it travels. A token that does not fit was never imported, and must not alias a key by its low bits.
fn wire_key(remote: RemoteAddr) -> u32 {
    u32::try_from(remote.rkey.0).unwrap_or(NO_KEY)
}

/// Sets the ACK deadline from the endpoint's timeout code; 0 waits for ever.
pub(crate) fn arm(qp: &mut Qp, now: Instant) {
    qp.req.slack_drawn = false;
    qp.req.ack_deadline = match timeout_ns(qp.spec.timeout) {
        0 => Instant::FAR,
        ns => now + ns,
    };
}

/// `4.096 us * 2^code`, in nanoseconds; 0 for "never".
pub(crate) fn timeout_ns(code: u8) -> u64 {
    if code == 0 { 0 } else { 4096 << code.min(31) }
}

/// Goes back to the oldest unacknowledged packet. Everything from there on is sent again.
pub(crate) fn go_back(qp: &mut Qp) {
    let una = qp.req.una;
    for seq in qp.sq.acked..(qp.sq.cursor + 1).min(qp.sq.posted) {
        let wqe = qp.sq.wqe_mut(seq);
        if !wqe.numbered {
            break;
        }
        let missing = u32::from(planted::is(Bug::GoBackShort));
        let arrived = psn::diff(una, wqe.first_psn).max(0) as u32 + missing;
        wqe.sent = if wqe.op.kind().is_read_or_atomic() { 0 } else { arrived.min(wqe.psns - 1) };
    }
    qp.sq.cursor = qp.sq.acked;
    qp.req.rd_outstanding = 0;
    qp.req.unasked = 0;
    qp.req.ack_deadline = Instant::FAR;
}

/// Reports a work that failed locally once every earlier one is complete.
pub(crate) fn fail_if_due(qp: &mut Qp, reports: &mut Reports) {
    if qp.sq.acked < qp.sq.posted
        && let Some(status) = qp.sq.wqe(qp.sq.acked).failed
    {
        qp.complete_send(status, reports);
        qp.fail(reports);
    }
}

/// The peer stayed silent for the whole timeout, or something was lost. Tries again, or gives up.
pub(crate) fn retry(qp: &mut Qp, reports: &mut Reports) {
    if qp.req.retry_left == 0 {
        reports.pass(Mark::RetriesSpent);
        qp.complete_send(Status::RetryExcErr, reports);
        qp.fail(reports);
    } else {
        qp.req.retry_left -= 1;
        go_back(qp);
    }
}
