//! The invariant CRC of RoCE v2 (IBA annex A17.3.3): over everything that no router may change.

use crc32fast::Hasher;

const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

/// The ICRC of a RoCE v2 packet, as it stands on the wire behind the padded payload.
///
/// `packet` begins with its IPv4 header, which has no options, and ends before the ICRC.
///
/// What routers may change counts as ones: type of service, time to live and checksum of IPv4, the checksum of UDP, and the byte
/// of the BTH with FECN and BECN. Eight bytes of ones stand for the local route header that Ethernet has not.
// rxe: rxe_icrc.c, rxe_icrc_hdr
pub fn icrc(packet: &[u8]) -> [u8; 4] {
    const MASKED: [usize; 7] = [1, 8, 10, 11, IPV4_BYTES + 6, IPV4_BYTES + 7, IPV4_BYTES + UDP_BYTES + 4];
    const HEAD_BYTES: usize = IPV4_BYTES + UDP_BYTES + 5;
    let mut head = [0xff; 8 + HEAD_BYTES];
    let (first, rest) = packet.split_at(packet.len().min(HEAD_BYTES));
    let head = &mut head[..8 + first.len()];
    head[8..].copy_from_slice(first);
    for at in MASKED {
        if let Some(byte) = head.get_mut(8 + at) {
            *byte = 0xff;
        }
    }
    let mut crc = Hasher::new();
    crc.update(head);
    crc.update(rest);
    crc.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A congestion notification that a ConnectX-4 Lx sent, without its Ethernet header; from scapy's `roce.uts`.
    const CONNECTX4_CNP: [u8; 60] = [
        0x45, 0xc2, 0x00, 0x3c, 0x71, 0x8c, 0x40, 0x00, 0x40, 0x11, 0x91, 0x61, 0x0a, 0x00, 0x11, 0x01, 0x0a,
        0x00, 0x12, 0x01, 0x00, 0x00, 0x12, 0xb7, 0x00, 0x28, 0x00, 0x00, 0x81, 0x00, 0xff, 0xff, 0x40, 0x00,
        0x01, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x82, 0xfd, 0x00, 0x2a,
    ];

    #[test]
    fn an_adapters_packet_has_the_crc_that_it_came_with() {
        let (packet, crc) = CONNECTX4_CNP.split_at(56);
        assert_eq!(icrc(packet), crc);
    }

    #[test]
    fn what_routers_change_does_not_count_and_everything_else_does() {
        let (packet, crc) = CONNECTX4_CNP.split_at(56);
        let counting: Vec<usize> = (0..packet.len())
            .filter(|at| {
                let mut changed = packet.to_vec();
                changed[*at] ^= 0x10;
                icrc(&changed) != crc
            })
            .collect();
        let expected: Vec<usize> =
            (0..packet.len()).filter(|at| ![1, 8, 10, 11, 26, 27, 32].contains(at)).collect();
        assert_eq!(counting, expected);
    }
}
