//! Messages and atomics carried out.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Instant, OpKind, PdId, Status};

use super::answer::answer;
use super::{INVALID, NO_ACCESS, Refusal, conclude, note_retired};
use crate::endpoint::{Answer, Ending, Grant, Granted, Incoming, Qp};
use crate::memory::{MrTable, Right};
use crate::packet::{Opcode, Packet, Syndrome};
use crate::psn;
use crate::queue::Reports;
use crate::rc::placement::Disorder;

/// Ends a message: what was kept back is placed, a receive completes, the peer hears of it.
pub(super) fn end(qp: &mut Qp, mrs: &MrTable, reports: &mut Reports, ending: Ending) -> Result<(), Refusal> {
    place_kept(qp, mrs)?;
    let Ending { psn, imm, ack_requested } = ending;
    qp.resp.msn = psn::add(qp.resp.msn, 1);
    let message = qp.resp.message.take();
    let mut done = message.map_or(0, |message| message.done);
    if planted::is(Bug::ReportPostedLength)
        && let Some((wqe, _)) = qp.rq.head()
    {
        done = wqe.len;
    }
    if message.is_some_and(|message| message.is_send) {
        qp.complete_recv(Status::Success, OpKind::Send, done, imm, reports);
    } else if imm.is_some() {
        qp.complete_recv(Status::Success, OpKind::WriteImm, done, imm, reports);
    }
    if ack_requested {
        answer(qp, Answer::Ack { psn, syndrome: Syndrome::Ack });
    }
    Ok(())
}

/// Ends the message whose last pieces were kept back, if there is one.
#[inline]
pub(crate) fn finish(qp: &mut Qp, mrs: &MrTable, reports: &mut Reports) {
    let Some(ending) = qp.resp.ending.take() else { return };
    let outcome = end(qp, mrs, reports, ending);
    if outcome.is_err() {
        note_retired(mrs, reports, qp.resp.message.map_or(0, |message| message.rkey), true);
    }
    conclude(qp, reports, ending.psn, outcome);
}

/// Places what was kept back of the message in progress.
#[inline]
fn place_kept(qp: &mut Qp, mrs: &MrTable) -> Result<(), Refusal> {
    qp.resp.kept.due = Instant::FAR;
    let Some(message) = qp.resp.message.filter(|_| !qp.resp.kept.is_empty()) else { return Ok(()) };
    let pd = qp.spec.pd;
    qp.resp.kept.finish(|at, bytes| place(mrs, &message, pd, at, bytes))
}

/// Looked up again for each piece: a region deregistered in between stops the message where it is.
#[inline]
fn place(mrs: &MrTable, message: &Incoming, pd: PdId, at: u32, bytes: &[u8]) -> Result<(), Refusal> {
    let addr = message.addr + u64::from(at);
    let (region, offset) =
        mrs.remote(message.rkey, pd, Right::Write, addr, bytes.len() as u32).ok_or(NO_ACCESS)?;
    region.write(offset, bytes);
    Ok(())
}

pub(super) fn receive_send(qp: &mut Qp, mrs: &MrTable, packet: &Packet) -> Result<(), Refusal> {
    let Some((wqe, sges)) = qp.rq.head() else {
        return Err(Refusal::NotReady);
    };
    let mut message =
        qp.resp.message.unwrap_or(Incoming { is_send: true, rkey: 0, addr: 0, len: wqe.len, done: 0 });
    if packet.len > wqe.len - message.done {
        // NICs say LOC_LEN_ERR here; rxe completes the receive with REM_INV_REQ_ERR instead.
        let receive = Some(Status::LocLenErr);
        return Err(Refusal::Nak { syndrome: Syndrome::NakInvalidRequest, receive });
    }
    if mrs.scatter(sges, qp.spec.pd, message.done, packet.payload()).is_err() {
        // rxe: RESPST_ERR_MALFORMED_WQE
        let receive = Some(Status::LocProtErr);
        return Err(Refusal::Nak { syndrome: Syndrome::NakRemoteOperation, receive });
    }
    message.done += packet.len;
    qp.resp.message = Some(message);
    Ok(())
}

pub(super) fn receive_write(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &Reports,
    packet: &Packet,
    disorder: Option<&mut Disorder<'_>>,
) -> Result<(), Refusal> {
    let pd = qp.spec.pd;
    let mut message = match qp.resp.message {
        Some(message) => message,
        None => {
            // The range of the whole message is checked on its first packet, so that a refused one writes nothing.
            if packet.message_len > 0 {
                mrs.remote(packet.rkey, pd, Right::Write, packet.remote_addr, packet.message_len)
                    .ok_or(NO_ACCESS)?;
            }
            if planted::is(Bug::AckFirstPacket) {
                let psns = packet.message_len.div_ceil(qp.spec.mtu.bytes()).max(1);
                answer(qp, Answer::Ack { psn: psn::add(packet.psn, psns - 1), syndrome: Syndrome::Ack });
            }
            let (rkey, addr, len) = (packet.rkey, packet.remote_addr, packet.message_len);
            Incoming { is_send: false, rkey, addr, len, done: 0 }
        }
    };
    let ends_well = !packet.opcode.is_last() || message.done + packet.len == message.len;
    if packet.len > message.len - message.done || !ends_well {
        return Err(INVALID);
    }
    if packet.len > 0 {
        match disorder {
            Some(disorder) => qp.resp.kept.take(
                message.done,
                packet.payload(),
                message.addr,
                disorder,
                reports,
                |at, bytes| place(mrs, &message, pd, at, bytes),
            )?,
            None => {
                place_kept(qp, mrs)?;
                place(mrs, &message, pd, message.done, packet.payload())?;
            }
        }
    }
    message.done += packet.len;
    qp.resp.message = Some(message);
    Ok(())
}

pub(super) fn atomic(qp: &mut Qp, mrs: &MrTable, packet: &Packet) -> Result<(), Refusal> {
    let (region, offset) =
        mrs.remote(packet.rkey, qp.spec.pd, Right::Atomic, packet.remote_addr, 8).ok_or(NO_ACCESS)?;
    if !packet.remote_addr.is_multiple_of(8) {
        return Err(INVALID);
    }
    let word = region.word(offset);
    let former = u64::from_le(word.get());
    let new = match packet.opcode {
        Opcode::FetchAdd => former.wrapping_add(packet.operand),
        _ if former == packet.compare || planted::is(Bug::SwapAlways) => packet.operand,
        _ => former,
    };
    word.set(new.to_le());
    let granted = Granted { psn: packet.psn, psns: 1, what: Grant::Atomic { former } };
    qp.resp.grant(granted, qp.spec.max_dest_rd_atomic);
    qp.resp.psn = psn::add(packet.psn, 1);
    qp.resp.msn = psn::add(qp.resp.msn, 1);
    qp.resp.rd_pending += 1;
    answer(qp, Answer::Atomic { psn: packet.psn, former, fresh: true });
    Ok(())
}
