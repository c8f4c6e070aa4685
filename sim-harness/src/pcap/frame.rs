//! One packet as a frame: Ethernet, IPv4, UDP, the transport headers of IBA chapter 9, padded payload, ICRC.

use wavetank_mock::{Opcode, PacketView};

use super::address::{UDP_PORT, ip, mac, source_port};
use super::icrc::icrc;

const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;

/// The default partition, with full membership.
const PKEY: u16 = 0xffff;

/// DSCP 0, ECN "capable" (ECT(0)): RoCE v2 senders mark all packets so.
const TOS: u8 = 0x02;

/// The BTH's M bit: no path migration is under way, as on every queue pair that knows none (IBA 17.2.8).
const MIGRATED: u8 = 0x40;

/// The BTH's A bit.
const ACK_REQUESTED: u32 = 0x8000_0000;

/// The extension headers of an opcode, in their order on the wire (IBA table 38).
struct Extensions {
    reth: bool,
    atomic: bool,
    aeth: bool,
    atomic_ack: bool,
    imm: bool,
}

impl Extensions {
    fn of(opcode: Opcode) -> Extensions {
        use Opcode::*;
        Extensions {
            reth: matches!(opcode, WriteFirst | WriteOnly | WriteOnlyImm | ReadRequest),
            atomic: matches!(opcode, CompareSwap | FetchAdd),
            aeth: matches!(
                opcode,
                Acknowledge | AtomicAcknowledge | ReadResponseFirst | ReadResponseLast | ReadResponseOnly
            ),
            atomic_ack: opcode == AtomicAcknowledge,
            imm: matches!(opcode, SendLastImm | SendOnlyImm | WriteLastImm | WriteOnlyImm),
        }
    }
}

/// Appends the packet, from the Ethernet header to the ICRC. No FCS: captures of real devices have none either.
pub(super) fn push(out: &mut Vec<u8>, packet: &PacketView<'_>) {
    out.extend_from_slice(&mac(packet.to_node));
    out.extend_from_slice(&mac(packet.from_node));
    out.extend_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
    let ip_at = out.len();
    ipv4(out, packet);
    let udp_at = out.len();
    out.extend_from_slice(&source_port(packet.from_qpn, packet.to_qpn).to_be_bytes());
    out.extend_from_slice(&UDP_PORT.to_be_bytes());
    out.extend_from_slice(&[0; 4]); // length, later; no checksum (annex A17.9.2)
    transport(out, packet);
    out.extend_from_slice(packet.payload);
    out.extend(std::iter::repeat_n(0, pad(packet)));

    // A packet has at most 4 KiB of payload, so lengths fit 16 bits.
    const ICRC_BYTES: usize = 4;
    let ip_len = (out.len() + ICRC_BYTES - ip_at) as u16;
    let udp_len = (out.len() + ICRC_BYTES - udp_at) as u16;
    out[ip_at + 2..ip_at + 4].copy_from_slice(&ip_len.to_be_bytes());
    out[udp_at + 4..udp_at + 6].copy_from_slice(&udp_len.to_be_bytes());
    let checksum = header_checksum(&out[ip_at..udp_at]);
    out[ip_at + 10..ip_at + 12].copy_from_slice(&checksum.to_be_bytes());
    let icrc = icrc(&out[ip_at..]);
    out.extend_from_slice(&icrc);
}

/// IPv4 without length and checksum.
fn ipv4(out: &mut Vec<u8>, packet: &PacketView<'_>) {
    // Version 4, 5 words, no identification, "don't fragment", 64 hops, as rxe has it.
    out.extend_from_slice(&[0x45, TOS, 0, 0, 0, 0, 0x40, 0, 64, PROTOCOL_UDP, 0, 0]);
    out.extend_from_slice(&ip(packet.from_node));
    out.extend_from_slice(&ip(packet.to_node));
}

/// The BTH and what comes behind it.
fn transport(out: &mut Vec<u8>, packet: &PacketView<'_>) {
    let ack = if packet.ack_requested { ACK_REQUESTED } else { 0 };
    out.push(packet.opcode as u8);
    out.push(MIGRATED | (pad(packet) as u8) << 4);
    out.extend_from_slice(&PKEY.to_be_bytes());
    out.extend_from_slice(&packet.to_qpn.to_be_bytes());
    out.extend_from_slice(&(ack | packet.psn).to_be_bytes());

    let has = Extensions::of(packet.opcode);
    if has.reth || has.atomic {
        out.extend_from_slice(&packet.remote_addr.to_be_bytes());
        out.extend_from_slice(&packet.rkey.to_be_bytes());
    }
    if has.reth {
        out.extend_from_slice(&packet.message_len.to_be_bytes());
    }
    if has.atomic {
        out.extend_from_slice(&packet.operand.to_be_bytes());
        out.extend_from_slice(&packet.compare.to_be_bytes());
    }
    if has.aeth {
        out.extend_from_slice(&(u32::from(packet.syndrome) << 24 | packet.msn).to_be_bytes());
    }
    if has.atomic_ack {
        out.extend_from_slice(&packet.compare.to_be_bytes());
    }
    if has.imm {
        out.extend_from_slice(&packet.imm.to_be_bytes());
    }
}

/// Bytes between the payload and the ICRC, which begins at a multiple of 4.
fn pad(packet: &PacketView<'_>) -> usize {
    packet.payload.len().wrapping_neg() % 4
}

/// The internet checksum (RFC 1071) of a header whose checksum is still 0.
fn header_checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
