//! Requests that come again.

use super::answer::{answer, read_answer};
use crate::endpoint::{Answer, Grant, Granted, Qp};
use crate::marks::Mark;
use crate::packet::{Opcode, Packet, Syndrome};
use crate::psn;
use crate::queue::Reports;

/// A request we have seen: WRITE and SEND are acknowledged again, not done again; a READ is read again from memory;
/// an atomic is answered from the saved result. What is so late that its grant is forgotten is dropped.
// rxe: rxe_resp.c duplicate_request
pub(super) fn repeat(qp: &mut Qp, reports: &Reports, packet: &Packet) {
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
