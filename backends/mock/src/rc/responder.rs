//! Carries out what peers request, and answers. `rxe_resp.c` is the model; checks come in its order.

mod answer;
mod check;
mod incoming;
mod repeat;

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{AsyncEvent, OpKind, Status};

use crate::endpoint::{Answer, Ending, Grant, Granted, Qp};
use crate::marks::Mark;
use crate::memory::{MrTable, Right};
use crate::packet::{Opcode, Packet, Syndrome};
use crate::psn;
use crate::queue::Reports;
use crate::rc::placement::Disorder;
pub(crate) use answer::next_answer;
use answer::{answer, read_answer};
pub(crate) use incoming::finish;
use incoming::{atomic, end, receive_send, receive_write};
use repeat::repeat;

/// Handles one request packet. Answers are queued, not sent.
pub(crate) fn handle(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &mut Reports,
    packet: &Packet,
    disorder: Option<&mut Disorder<'_>>,
) {
    // rxe: rxe_recv.c check_type_state. A queue pair that is not ready says nothing at all.
    if !qp.state.responds() {
        reports.pass(Mark::SilentDrop);
        return;
    }
    finish(qp, mrs, reports);
    // Which may have been the end of it.
    if !qp.state.responds() {
        return;
    }
    match psn::diff(packet.psn, qp.resp.psn) {
        0 => {
            qp.resp.nak_sent = false;
            execute(qp, mrs, reports, packet, disorder);
        }
        ahead if ahead > 0 && planted::is(Bug::AckDroppedPacket) => {
            qp.resp.psn = packet.psn;
            execute(qp, mrs, reports, packet, disorder);
        }
        ahead if ahead > 0 => {
            // rxe: RESPST_ERR_PSN_OUT_OF_SEQ. One NAK, then silence until the sequence is right again.
            if !qp.resp.nak_sent {
                qp.resp.nak_sent = true;
                reports.pass(Mark::SequenceNak);
                let psn = qp.resp.psn;
                answer(qp, Answer::Ack { psn, syndrome: Syndrome::NakSequence });
            }
        }
        _ if packet.opcode == Opcode::SendOnly && planted::is(Bug::RepeatSend)
            || packet.opcode.is_atomic() && planted::is(Bug::RepeatAtomic) =>
        {
            let psn = std::mem::replace(&mut qp.resp.psn, packet.psn);
            execute(qp, mrs, reports, packet, disorder);
            qp.resp.psn = psn;
        }
        _ => repeat(qp, reports, packet),
    }
}

fn execute(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &mut Reports,
    packet: &Packet,
    disorder: Option<&mut Disorder<'_>>,
) {
    let outcome = check::sequence(qp, packet)
        .and_then(|()| check::rights(qp, packet))
        .and_then(|()| check::receive(qp, reports, packet))
        .and_then(|()| check::length(qp, packet))
        .and_then(|()| carry_out(qp, mrs, reports, packet, disorder));
    if let Err(Refusal::Nak { syndrome: Syndrome::NakRemoteAccess, .. }) = outcome {
        let key = qp.resp.message.map_or(packet.rkey, |message| message.rkey);
        note_retired(mrs, reports, key, qp.resp.message.is_some());
    }
    conclude(qp, reports, packet.psn, outcome);
}

/// Says what is to be said of a request that was not carried out.
fn conclude(qp: &mut Qp, reports: &mut Reports, psn: u32, outcome: Result<(), Refusal>) {
    match outcome {
        Ok(()) => {}
        Err(Refusal::NotReady) => {
            // IBA 9.7.5.2.8: what was sent behind it is dropped without a word until it comes again. A sequence
            // NAK for those would cost the requester its transport retries on top of its RNR retries.
            qp.resp.nak_sent = true;
            reports.pass(Mark::RnrNak);
            let syndrome = Syndrome::RnrNak(qp.spec.min_rnr_timer.code());
            answer(qp, Answer::Ack { psn, syndrome });
        }
        Err(Refusal::Nak { syndrome, receive }) => {
            answer(qp, Answer::Ack { psn, syndrome });
            refuse(qp, syndrome, receive, reports);
        }
    }
}

/// An access was refused: notes whether that is because somebody ended what the key stood for.
#[cold]
fn note_retired(mrs: &MrTable, reports: &Reports, key: u32, in_flight: bool) {
    if let Some(mark) = mrs.retired(key) {
        reports.pass(mark);
        if in_flight {
            reports.pass(Mark::DeregisteredInFlight);
        }
    }
}

/// Why a request is not carried out.
enum Refusal {
    /// No receive is posted; the queue pair stays up.
    NotReady,
    /// The queue pair dies. `receive` is how the receive in use completes, if one is.
    Nak { syndrome: Syndrome, receive: Option<Status> },
}

const INVALID: Refusal = Refusal::Nak { syndrome: Syndrome::NakInvalidRequest, receive: None };
const NO_ACCESS: Refusal = Refusal::Nak { syndrome: Syndrome::NakRemoteAccess, receive: None };

fn refuse(qp: &mut Qp, syndrome: Syndrome, receive: Option<Status>, reports: &mut Reports) {
    if let Some(status) = receive {
        qp.complete_recv(status, OpKind::Recv, 0, None, reports);
    }
    let event = match syndrome {
        Syndrome::NakRemoteAccess => Some(AsyncEvent::QpAccessErr(qp.ep)),
        Syndrome::NakInvalidRequest if receive.is_none() => Some(AsyncEvent::QpReqErr(qp.ep)),
        _ => None,
    };
    if let Some(event) = event {
        reports.event(event);
    }
    // What was granted before the refusal is still answered, and the refusal after it, though the state is ERR.
    let answers = std::mem::take(&mut qp.resp.answers);
    qp.fail(reports);
    qp.resp.answers = answers;
}

fn carry_out(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &mut Reports,
    packet: &Packet,
    mut disorder: Option<&mut Disorder<'_>>,
) -> Result<(), Refusal> {
    let opcode = packet.opcode;
    if opcode == Opcode::ReadRequest {
        // The whole range is checked with the request, and again as each packet is read.
        if packet.message_len > 0 {
            let pd = qp.spec.pd;
            mrs.remote(packet.rkey, pd, Right::Read, packet.remote_addr, packet.message_len)
                .ok_or(NO_ACCESS)?;
        }
        let psns = packet.message_len.div_ceil(qp.spec.mtu.bytes()).max(1);
        qp.resp.psn = psn::add(packet.psn, psns);
        qp.resp.msn = psn::add(qp.resp.msn, 1);
        qp.resp.rd_pending += 1;
        let (rkey, addr, len) = (packet.rkey, packet.remote_addr, packet.message_len);
        let what = Grant::Read { rkey, addr, len };
        qp.resp.grant(Granted { psn: packet.psn, psns, what }, qp.spec.max_dest_rd_atomic);
        answer(qp, read_answer(packet, true));
        return Ok(());
    }
    if opcode.is_atomic() {
        return atomic(qp, mrs, packet);
    }
    if opcode.is_send() {
        receive_send(qp, mrs, packet)?
    } else {
        receive_write(qp, mrs, reports, packet, disorder.as_deref_mut())?
    }
    qp.resp.psn = psn::add(packet.psn, 1);
    let imm = opcode.has_imm().then_some(packet.imm);
    let ending = Ending { psn: packet.psn, imm, ack_requested: packet.ack_requested };
    if !opcode.is_last() {
        if packet.ack_requested {
            answer(qp, Answer::Ack { psn: packet.psn, syndrome: Syndrome::Ack });
        }
    } else if qp.resp.kept.is_empty() || !disorder.is_some_and(|disorder| qp.resp.kept.linger(disorder)) {
        end(qp, mrs, reports, ending)?;
    } else {
        qp.resp.ending = Some(ending);
    }
    Ok(())
}
