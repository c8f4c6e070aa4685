//! Addresses of simulated nodes, which have none: made from their numbers.

/// The UDP port of RoCE v2 (IANA).
pub const UDP_PORT: u16 = 4791;

/// A node's Ethernet address: locally administered, 02:00:00:00:00:01 for node 0.
pub fn mac(node: u16) -> [u8; 6] {
    let [high, low] = node.wrapping_add(1).to_be_bytes();
    [0x02, 0, 0, 0, high, low]
}

/// A node's IPv4 address: 10.0.0.1 for node 0.
pub fn ip(node: u16) -> [u8; 4] {
    let [high, low] = node.wrapping_add(1).to_be_bytes();
    [10, 0, high, low]
}

/// The UDP source port of a queue pair: from both numbers, so that a switch keeps the packets of a connection on one path.
// Linux: include/rdma/ib_verbs.h, rdma_calc_flow_label and rdma_flow_label_to_udp_sport.
pub fn source_port(from_qpn: u32, to_qpn: u32) -> u16 {
    let mut label = u64::from(from_qpn) * u64::from(to_qpn);
    label ^= label >> 20;
    label ^= label >> 40;
    let (low, high) = ((label & 0x3fff) as u16, ((label & 0xf_c000) >> 14) as u16);
    (low ^ high) | 0xc000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_of_their_own() {
        assert_eq!((ip(0), mac(0)), ([10, 0, 0, 1], [2, 0, 0, 0, 0, 1]));
        assert_eq!((ip(255), mac(255)), ([10, 0, 1, 0], [2, 0, 0, 0, 1, 0]));
    }

    #[test]
    fn source_ports_are_ephemeral_and_follow_the_queue_pairs() {
        assert_eq!(source_port(0x11, 0x12), source_port(0x12, 0x11));
        assert_ne!(source_port(0x11, 0x12), source_port(0x11, 0x13));
        assert!((0..1000).all(|qpn| source_port(qpn * 0x3_0001, 0xff_ffff) >= 0xc000));
    }
}
