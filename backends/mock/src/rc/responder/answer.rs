//! Answers on their way back.

use super::{note_retired, refuse};
use crate::digest;
use crate::endpoint::{Answer, Qp};
use crate::memory::{MrTable, Right};
use crate::packet::{Opcode, Packet, Syndrome};
use crate::psn;
use crate::queue::Reports;

/// The data that a READ asks for.
pub(super) fn read_answer(packet: &Packet, fresh: bool) -> Answer {
    let (psn, rkey, addr, left) = (packet.psn, packet.rkey, packet.remote_addr, packet.message_len);
    Answer::Read { psn, rkey, addr, left, begun: false, fresh }
}

/// Queues an answer; an acknowledgement swallows the one before it that was not sent yet.
pub(super) fn answer(qp: &mut Qp, new: Answer) {
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
