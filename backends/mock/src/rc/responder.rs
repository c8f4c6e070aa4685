//! Carries out what peers request, and answers. `rxe_resp.c` is the model; checks come in its order.

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{AsyncEvent, Instant, OpKind, PdId, Status};

use crate::digest;
use crate::endpoint::{Answer, Ending, Grant, Granted, Incoming, Qp};
use crate::marks::Mark;
use crate::memory::{MrTable, Right};
use crate::packet::{Opcode, Packet, Syndrome};
use crate::psn;
use crate::queue::Reports;
use crate::rc::placement::Disorder;

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

/// A request we have seen: WRITE and SEND are acknowledged again, not done again; a READ is read again from memory;
/// an atomic is answered from the saved result. What is so late that its grant is forgotten is dropped.
// rxe: rxe_resp.c duplicate_request
fn repeat(qp: &mut Qp, reports: &Reports, packet: &Packet) {
    match (packet.opcode, granted(qp, packet)) {
        (Opcode::ReadRequest, Some(Grant::Read { .. })) => {
            reports.pass(Mark::ReadRepeated);
            answer(qp, read_answer(packet, false));
        }
        (Opcode::CompareSwap | Opcode::FetchAdd, Some(Grant::Atomic { former })) => {
            reports.pass(Mark::AtomicRepeated);
            answer(qp, Answer::Atomic { psn: packet.psn, former, fresh: false });
        }
        // rxe: "Resource not found. Class D error. Drop the request."
        (Opcode::ReadRequest | Opcode::CompareSwap | Opcode::FetchAdd, _) => {
            reports.pass(Mark::RepeatTooLate);
        }
        _ => {
            reports.pass(Mark::RequestRepeated);
            let psn = psn::add(qp.resp.psn, psn::MASK);
            answer(qp, Answer::Ack { psn, syndrome: Syndrome::Ack });
        }
    }
}

/// What is still known of a request that was granted before. A repeated READ may ask for any rest of what it asked for.
// rxe: rxe_resp.c find_resource
fn granted(qp: &Qp, packet: &Packet) -> Option<Grant> {
    let of_psn = |granted: &&Granted| (0..granted.psns as i32).contains(&psn::diff(packet.psn, granted.psn));
    let what = qp.resp.granted.iter().rev().find(of_psn)?.what;
    match what {
        Grant::Read { rkey, addr, len } => {
            let end = packet.remote_addr.wrapping_add(packet.message_len.into());
            let within = packet.remote_addr >= addr && end <= addr.wrapping_add(len.into());
            (within && rkey == packet.rkey).then_some(what)
        }
        Grant::Atomic { .. } => Some(what),
    }
}

fn execute(
    qp: &mut Qp,
    mrs: &MrTable,
    reports: &mut Reports,
    packet: &Packet,
    disorder: Option<&mut Disorder<'_>>,
) {
    let outcome = check_sequence(qp, packet)
        .and_then(|()| check_rights(qp, packet))
        .and_then(|()| check_receive(qp, reports, packet))
        .and_then(|()| check_length(qp, packet))
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

// rxe: check_op_seq
fn check_sequence(qp: &Qp, packet: &Packet) -> Result<(), Refusal> {
    let fits = match &qp.resp.message {
        None => packet.opcode.is_first(),
        Some(message) => {
            !packet.opcode.is_first()
                && (message.is_send == packet.opcode.is_send())
                && (packet.opcode.is_send() || packet.opcode.is_write())
        }
    };
    if fits { Ok(()) } else { Err(INVALID) }
}

/// The rights of the queue pair, as opposed to those of the memory: refused as an invalid request.
// rxe: check_op_valid
fn check_rights(qp: &Qp, packet: &Packet) -> Result<(), Refusal> {
    let access = qp.spec.access;
    let allowed = match packet.opcode {
        Opcode::ReadRequest => access.remote_read && qp.resp.rd_pending < qp.spec.max_dest_rd_atomic,
        opcode if opcode.is_atomic() => {
            access.remote_atomic && qp.resp.rd_pending < qp.spec.max_dest_rd_atomic
        }
        opcode if opcode.is_write() => access.remote_write,
        _ => true,
    };
    if allowed { Ok(()) } else { Err(INVALID) }
}

/// A message that needs a receive finds one.
// rxe: check_resource
fn check_receive(qp: &mut Qp, reports: &mut Reports, packet: &Packet) -> Result<(), Refusal> {
    let starts_send = packet.opcode.is_send() && packet.opcode.is_first();
    let ends_write_imm = packet.opcode.is_write() && packet.opcode.has_imm();
    if (starts_send || ends_write_imm) && !qp.has_receive(reports) { Err(Refusal::NotReady) } else { Ok(()) }
}

/// First and middle packets are full; no packet is longer than the MTU.
// rxe: check_length
fn check_length(qp: &Qp, packet: &Packet) -> Result<(), Refusal> {
    let mtu = qp.spec.mtu.bytes();
    let carries_data = packet.opcode.is_send() || packet.opcode.is_write();
    let fits = !carries_data || if packet.opcode.is_last() { packet.len <= mtu } else { packet.len == mtu };
    if fits { Ok(()) } else { Err(INVALID) }
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

/// Ends a message: what was kept back is placed, a receive completes, the peer hears of it.
fn end(qp: &mut Qp, mrs: &MrTable, reports: &mut Reports, ending: Ending) -> Result<(), Refusal> {
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

fn receive_send(qp: &mut Qp, mrs: &MrTable, packet: &Packet) -> Result<(), Refusal> {
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

fn receive_write(
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

fn atomic(qp: &mut Qp, mrs: &MrTable, packet: &Packet) -> Result<(), Refusal> {
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

/// The data that a READ asks for.
fn read_answer(packet: &Packet, fresh: bool) -> Answer {
    let (psn, rkey, addr, left) = (packet.psn, packet.rkey, packet.remote_addr, packet.message_len);
    Answer::Read { psn, rkey, addr, left, begun: false, fresh }
}

/// Queues an answer; an acknowledgement swallows the one before it that was not sent yet.
fn answer(qp: &mut Qp, new: Answer) {
    if let (
        Answer::Ack { psn, syndrome: Syndrome::Ack },
        Some(Answer::Ack { psn: last, syndrome: Syndrome::Ack }),
    ) = (new, qp.resp.answers.back_mut())
    {
        if psn::diff(psn, *last) > 0 {
            *last = psn;
        }
        return;
    }
    qp.resp.answers.push_back(new);
}

/// Builds the next answer packet. False when there is none.
pub(crate) fn next_answer(qp: &mut Qp, mrs: &MrTable, reports: &mut Reports, out: &mut Packet) -> bool {
    let Some(&answer) = qp.resp.answers.front() else {
        return false;
    };
    out.len = 0;
    out.digest = 0;
    out.imm = 0;
    out.ack_requested = false;
    out.syndrome = Syndrome::Ack;
    out.msn = qp.resp.msn;
    match answer {
        Answer::Ack { psn, syndrome } => {
            qp.resp.answers.pop_front();
            (out.opcode, out.psn, out.syndrome) = (Opcode::Acknowledge, psn, syndrome);
        }
        Answer::Atomic { psn, former, fresh } => {
            qp.resp.answers.pop_front();
            qp.resp.rd_pending -= u8::from(fresh && qp.resp.rd_pending > 0);
            (out.opcode, out.psn, out.compare) = (Opcode::AtomicAcknowledge, psn, former);
        }
        Answer::Read { psn, rkey, addr, left, begun, fresh } => {
            let mtu = qp.spec.mtu.bytes();
            let len = left.min(mtu);
            let last = left <= mtu;
            if len > 0 {
                let Some((region, offset)) = mrs.remote(rkey, qp.spec.pd, Right::Read, addr, len) else {
                    // The region went away under the READ.
                    note_retired(mrs, reports, rkey, begun);
                    qp.resp.answers.clear();
                    refuse(qp, Syndrome::NakRemoteAccess, None, reports);
                    (out.opcode, out.psn, out.syndrome) =
                        (Opcode::Acknowledge, psn, Syndrome::NakRemoteAccess);
                    return true;
                };
                out.digest = digest::copy(region, offset, out.payload_mut(len));
            }
            out.psn = psn;
            out.opcode = match (begun, last) {
                (false, true) => Opcode::ReadResponseOnly,
                (false, false) => Opcode::ReadResponseFirst,
                (true, false) => Opcode::ReadResponseMiddle,
                (true, true) => Opcode::ReadResponseLast,
            };
            if last {
                qp.resp.answers.pop_front();
                qp.resp.rd_pending -= u8::from(fresh && qp.resp.rd_pending > 0);
            } else {
                let (psn, addr, left) = (psn::add(psn, 1), addr + u64::from(len), left - len);
                qp.resp.answers[0] = Answer::Read { psn, rkey, addr, left, begun: true, fresh };
            }
        }
    }
    true
}
