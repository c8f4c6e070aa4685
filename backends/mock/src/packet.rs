//! Packets: what the simulated wire carries. Fields are those of RoCE v2's transport headers (IBA chapter 9).

mod icrc;

use std::fmt;

/// Largest payload of a packet, in bytes: the largest MTU.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 4096;

/// Ethernet, IP, UDP, BTH, ICRC, FCS, preamble and gap: what each packet costs on the wire besides extension
/// headers and payload, in bytes.
const FRAME_BYTES: u32 = 14 + 20 + 8 + 12 + 4 + 4 + 20;

/// The opcodes of the reliable-connected service, with their numbers on the wire (IBA table 38).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the specification's
pub enum Opcode {
    SendFirst = 0x00,
    SendMiddle = 0x01,
    SendLast = 0x02,
    SendLastImm = 0x03,
    SendOnly = 0x04,
    SendOnlyImm = 0x05,
    WriteFirst = 0x06,
    WriteMiddle = 0x07,
    WriteLast = 0x08,
    WriteLastImm = 0x09,
    WriteOnly = 0x0a,
    WriteOnlyImm = 0x0b,
    ReadRequest = 0x0c,
    ReadResponseFirst = 0x0d,
    ReadResponseMiddle = 0x0e,
    ReadResponseLast = 0x0f,
    ReadResponseOnly = 0x10,
    Acknowledge = 0x11,
    AtomicAcknowledge = 0x12,
    CompareSwap = 0x13,
    FetchAdd = 0x14,
}

impl Opcode {
    /// Whether it travels from requester to responder.
    pub(crate) fn is_request(self) -> bool {
        self <= Opcode::ReadRequest || self >= Opcode::CompareSwap
    }

    /// Part of a SEND.
    pub(crate) fn is_send(self) -> bool {
        self <= Opcode::SendOnlyImm
    }

    /// Part of a WRITE.
    pub(crate) fn is_write(self) -> bool {
        (Opcode::WriteFirst..=Opcode::WriteOnlyImm).contains(&self)
    }

    /// A compare-and-swap or fetch-and-add.
    pub(crate) fn is_atomic(self) -> bool {
        self >= Opcode::CompareSwap
    }

    /// Starts a message.
    pub(crate) fn is_first(self) -> bool {
        use Opcode::{SendFirst, SendOnly, SendOnlyImm, WriteFirst, WriteOnly, WriteOnlyImm};
        matches!(self, SendFirst | SendOnly | SendOnlyImm | WriteFirst | WriteOnly | WriteOnlyImm)
            || self == Opcode::ReadRequest
            || self.is_atomic()
    }

    /// Ends a message.
    pub(crate) fn is_last(self) -> bool {
        !matches!(self, Opcode::SendFirst | Opcode::SendMiddle | Opcode::WriteFirst | Opcode::WriteMiddle)
    }

    /// Carries an immediate.
    pub(crate) fn has_imm(self) -> bool {
        use Opcode::{SendLastImm, SendOnlyImm, WriteLastImm, WriteOnlyImm};
        matches!(self, SendLastImm | SendOnlyImm | WriteLastImm | WriteOnlyImm)
    }

    /// Names remote memory (RETH or AtomicETH).
    pub(crate) fn has_remote(self) -> bool {
        use Opcode::{ReadRequest, WriteFirst, WriteOnly, WriteOnlyImm};
        matches!(self, WriteFirst | WriteOnly | WriteOnlyImm | ReadRequest) || self.is_atomic()
    }

    /// Carries an AETH (IBA 9.2.1).
    pub(crate) fn has_aeth(self) -> bool {
        use Opcode::{Acknowledge, AtomicAcknowledge, ReadResponseFirst, ReadResponseLast, ReadResponseOnly};
        matches!(
            self,
            Acknowledge | AtomicAcknowledge | ReadResponseFirst | ReadResponseLast | ReadResponseOnly
        )
    }

    fn extension_bytes(self) -> u32 {
        const RETH: u32 = 16;
        const AETH: u32 = 4;
        match self {
            Opcode::WriteFirst | Opcode::WriteOnly | Opcode::WriteOnlyImm | Opcode::ReadRequest => RETH,
            Opcode::CompareSwap | Opcode::FetchAdd => 28,
            Opcode::AtomicAcknowledge => AETH + 8,
            Opcode::Acknowledge
            | Opcode::ReadResponseFirst
            | Opcode::ReadResponseLast
            | Opcode::ReadResponseOnly => AETH,
            _ => 0,
        }
    }
}

/// What an acknowledgement says (the AETH syndrome, IBA table 44).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syndrome {
    /// Everything up to this PSN was done.
    Ack,
    /// No receive was ready; try again after the timer of this code.
    RnrNak(u8),
    /// A packet is missing: start again from this PSN.
    NakSequence,
    /// The request is not allowed on the queue pair, or malformed.
    NakInvalidRequest,
    /// The key, its range or its rights do not allow it.
    NakRemoteAccess,
    /// The responder could not carry it out.
    NakRemoteOperation,
}

impl Syndrome {
    /// The byte on the wire.
    pub(crate) fn wire(self) -> u8 {
        match self {
            Syndrome::Ack => 0x1f,
            Syndrome::RnrNak(code) => 0x20 | code,
            Syndrome::NakSequence => 0x60,
            Syndrome::NakInvalidRequest => 0x61,
            Syndrome::NakRemoteAccess => 0x62,
            Syndrome::NakRemoteOperation => 0x63,
        }
    }
}

/// A packet with room for the largest payload. Recycled through a [`PacketPool`]: sending allocates nothing.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from_node: u16,
    pub(crate) to_node: u16,
    /// Not in the header; for people.
    pub(crate) from_qpn: u32,
    pub(crate) to_qpn: u32,
    pub(crate) opcode: Opcode,
    pub(crate) ack_requested: bool,
    pub(crate) psn: u32,
    /// RETH and AtomicETH: remote address and key, and the length of the whole message.
    pub(crate) remote_addr: u64,
    pub(crate) rkey: u32,
    pub(crate) message_len: u32,
    pub(crate) imm: u32,
    pub(crate) syndrome: Syndrome,
    /// AETH: how many requests the responder has done (IBA 9.7.7.1).
    pub(crate) msn: u32,
    /// AtomicETH: what to compare with; in an atomic acknowledgement, the former value.
    pub(crate) compare: u64,
    /// AtomicETH: what to store or add.
    pub(crate) operand: u64,
    /// Digest of the payload when it left.
    pub(crate) digest: u64,
    /// The ICRC, where the link is disturbed: see [`seal`](Packet::seal).
    icrc: Option<u64>,
    /// Bytes of its tail that were lost on the way.
    missing_bytes: u32,
    pub(crate) len: u32,
    payload: [u8; PAYLOAD_BYTES_MAX],
}

impl Packet {
    fn new() -> Box<Packet> {
        Box::new(Packet {
            from_node: 0,
            to_node: 0,
            from_qpn: 0,
            to_qpn: 0,
            opcode: Opcode::Acknowledge,
            ack_requested: false,
            psn: 0,
            remote_addr: 0,
            rkey: 0,
            message_len: 0,
            imm: 0,
            syndrome: Syndrome::Ack,
            msn: 0,
            compare: 0,
            operand: 0,
            digest: 0,
            icrc: None,
            missing_bytes: 0,
            len: 0,
            payload: [0; PAYLOAD_BYTES_MAX],
        })
    }

    /// The bytes it carries.
    #[inline]
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload[..self.len as usize]
    }

    /// Room for `len` bytes to carry.
    #[inline]
    pub(crate) fn payload_mut(&mut self, len: u32) -> &mut [u8] {
        self.len = len;
        &mut self.payload[..len as usize]
    }

    /// Bytes on the wire, framing included.
    #[inline]
    pub(crate) fn wire_bytes(&self) -> u32 {
        let imm = if self.opcode.has_imm() { 4 } else { 0 };
        FRAME_BYTES + self.opcode.extension_bytes() + imm + self.len.next_multiple_of(4)
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} psn {} to node {} qpn {:#x}, {} bytes",
            self.opcode, self.psn, self.to_node, self.to_qpn, self.len
        )
    }
}

/// Packets that are not on the wire.
#[derive(Default, Debug)]
pub(crate) struct PacketPool {
    // Boxed on purpose: packets of 4 KiB move by pointer from pool to wire and back.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Packet>>,
}

impl PacketPool {
    #[inline]
    pub(crate) fn take(&mut self) -> Box<Packet> {
        let mut packet = self.free.pop().unwrap_or_else(Packet::new);
        packet.icrc = None;
        packet
    }

    /// A copy of a packet.
    pub(crate) fn copy(&mut self, packet: &Packet) -> Box<Packet> {
        let mut copy = self.take();
        copy.as_mut().clone_from(packet);
        copy
    }

    #[inline]
    pub(crate) fn give(&mut self, packet: Box<Packet>) {
        self.free.push(packet);
    }
}
