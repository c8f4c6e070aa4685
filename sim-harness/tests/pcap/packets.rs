//! Packets made by hand: every opcode with every header at its extremes.

use wavetank_mock::{Opcode, PacketView};

use Opcode::*;

pub(crate) const OPCODES: [Opcode; 21] = [
    SendFirst,
    SendMiddle,
    SendLast,
    SendLastImm,
    SendOnly,
    SendOnlyImm,
    WriteFirst,
    WriteMiddle,
    WriteLast,
    WriteLastImm,
    WriteOnly,
    WriteOnlyImm,
    ReadRequest,
    ReadResponseFirst,
    ReadResponseMiddle,
    ReadResponseLast,
    ReadResponseOnly,
    Acknowledge,
    AtomicAcknowledge,
    CompareSwap,
    FetchAdd,
];

/// Lengths of payloads: none, each padding, full packets.
const LENGTHS: [usize; 7] = [0, 1, 2, 3, 4, 256, 4096];

/// Values that end up in headers: nothing, everything, and something recognisable.
const VALUES: [u64; 3] = [0, u64::MAX, 0x0123_4567_89ab_cdef];

/// Syndromes: an acknowledgement, "receiver not ready" with both ends of its timer, and every NAK.
const SYNDROMES: [u8; 7] = [0x1f, 0x20, 0x3f, 0x60, 0x61, 0x62, 0x63];

pub(crate) fn carries_payload(opcode: Opcode) -> bool {
    !matches!(opcode, ReadRequest | Acknowledge | AtomicAcknowledge | CompareSwap | FetchAdd)
}

/// Every combination worth looking at.
pub(crate) fn each(mut see: impl FnMut(&PacketView<'_>)) {
    let payload: Vec<u8> = (0..4096u32).map(|i| (i * 7 + (i >> 8)) as u8).collect();
    for opcode in OPCODES {
        for len in LENGTHS.into_iter().filter(|len| *len == 0 || carries_payload(opcode)) {
            for (i, value) in VALUES.into_iter().enumerate() {
                for syndrome in SYNDROMES {
                    see(&PacketView {
                        from_node: i as u16,
                        to_node: 1023,
                        from_qpn: 0x11,
                        // 0 and 1 are management, all ones is multicast.
                        to_qpn: (value as u32 & 0xff_ffff).clamp(0x11, 0xff_fffe),
                        opcode,
                        ack_requested: value != 0,
                        psn: value as u32 & 0xff_ffff,
                        remote_addr: value,
                        rkey: value as u32,
                        message_len: value as u32 >> 1,
                        imm: value as u32,
                        syndrome,
                        msn: (value >> 8) as u32 & 0xff_ffff,
                        compare: value.rotate_left(8),
                        operand: value.rotate_left(16),
                        payload: &payload[..len],
                    });
                }
            }
        }
    }
}
