//! What was sent, remembered for as long as it is likely to be sent again.

/// Packets remembered. A power of two.
const PACKETS: usize = 32;

/// The digests of the latest packets, by PSN. A packet that is sent again is read from memory again: with other bytes, if its
/// source was touched before its work completed.
#[derive(Debug, Default)]
pub(crate) struct Sent(Vec<(u32, u64)>);

impl Sent {
    /// Notes a packet. True when it was sent before with other bytes.
    #[inline]
    pub(crate) fn changes(&mut self, psn: u32, digest: u64) -> bool {
        if self.0.is_empty() {
            // With no packet in it: PSNs have 24 bits.
            self.0.resize(PACKETS, (u32::MAX, 0));
        }
        let place = &mut self.0[psn as usize & (PACKETS - 1)];
        let changed = place.0 == psn && place.1 != digest;
        *place = (psn, digest);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_packet_with_other_bytes_has_changed() {
        let mut sent = Sent::default();
        assert!(!sent.changes(5, 1), "sent first");
        assert!(!sent.changes(5, 1), "sent again");
        assert!(sent.changes(5, 2), "with other bytes");
        assert!(!sent.changes(5, 2));
        assert!(!sent.changes(5 + PACKETS as u32, 3), "another one");
    }
}
