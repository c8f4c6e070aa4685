//! What a request must pass before anything of it is done.

use super::{INVALID, Refusal};
use crate::endpoint::Qp;
use crate::packet::{Opcode, Packet};
use crate::queue::Reports;

// rxe: check_op_seq
pub(super) fn sequence(qp: &Qp, packet: &Packet) -> Result<(), Refusal> {
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
pub(super) fn rights(qp: &Qp, packet: &Packet) -> Result<(), Refusal> {
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
pub(super) fn receive(qp: &mut Qp, reports: &mut Reports, packet: &Packet) -> Result<(), Refusal> {
    let starts_send = packet.opcode.is_send() && packet.opcode.is_first();
    let ends_write_imm = packet.opcode.is_write() && packet.opcode.has_imm();
    if (starts_send || ends_write_imm) && !qp.has_receive(reports) { Err(Refusal::NotReady) } else { Ok(()) }
}

/// First and middle packets are full; no packet is longer than the MTU.
// rxe: check_length
pub(super) fn length(qp: &Qp, packet: &Packet) -> Result<(), Refusal> {
    let mtu = qp.spec.mtu.bytes();
    let carries_data = packet.opcode.is_send() || packet.opcode.is_write();
    let fits = !carries_data || if packet.opcode.is_last() { packet.len <= mtu } else { packet.len == mtu };
    if fits { Ok(()) } else { Err(INVALID) }
}
