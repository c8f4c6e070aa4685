//! What a receiver checks before it looks at anything else: that a packet is whole (ICRC, IBA 7.8.1).
//!
//! Where nothing disturbs a packet the check could not fail, so it is not made. On a disturbed link the digest of
//! header and payload is taken when a packet leaves and once more when it arrives.

use wavetank_contract::chance::mix64;
use wavetank_contract::planted::{self, Bug};

use super::{Opcode, Packet};
use crate::digest;
use crate::marks::Mark;

const PSN_BITS: u64 = 24;
const QPN_BITS: u64 = 24;

impl Packet {
    /// Puts the ICRC to it, as it is now.
    pub(crate) fn seal(&mut self) {
        self.missing_bytes = 0;
        self.icrc = Some(self.computed_icrc(self.digest));
    }

    /// Whether it may be looked at: whole, or the mark that says why not.
    // rxe: rxe_recv.c rxe_rcv drops what rxe_icrc_check (rxe_icrc.c) refuses, without a word.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Mark> {
        match self.icrc {
            None => Ok(()),
            Some(icrc) => self.check_against(icrc),
        }
    }

    #[cold]
    fn check_against(&self, icrc: u64) -> Result<(), Mark> {
        if self.missing_bytes > 0 {
            return Err(Mark::PacketTruncated);
        }
        if self.computed_icrc(digest::digest(self.payload())) == icrc || planted::is(Bug::SkipIcrc) {
            Ok(())
        } else {
            Err(Mark::PacketCorrupted)
        }
    }

    fn computed_icrc(&self, payload: u64) -> u64 {
        let routing = u64::from(self.from_node) << 32 | u64::from(self.to_node);
        let place = u64::from(self.to_qpn) << 32 | u64::from(self.psn);
        let flags = u64::from(self.opcode as u8) << 16
            | u64::from(self.syndrome.wire()) << 8
            | u64::from(self.ack_requested);
        let remote = u64::from(self.rkey) << 32 | u64::from(self.message_len);
        let sizes = u64::from(self.imm) << 32 | u64::from(self.len);
        [routing, place, flags, self.remote_addr, remote, sizes, self.compare, self.operand]
            .into_iter()
            .fold(payload, |sum, word| mix64(sum.rotate_left(17) ^ word).wrapping_add(sum))
    }

    /// Bits of header and payload that [`flip`](Packet::flip) reaches.
    pub(crate) fn bits(&self) -> u64 {
        let remote = if self.opcode.has_remote() { 128 } else { 0 };
        let imm = if self.opcode.has_imm() { 32 } else { 0 };
        let operands = match self.opcode {
            Opcode::AtomicAcknowledge => 64,
            opcode if opcode.is_atomic() => 128,
            _ => 0,
        };
        QPN_BITS + PSN_BITS + 1 + remote + imm + operands + 8 * u64::from(self.len)
    }

    /// Flips a bit: of the BTH's queue pair number, PSN and request for an acknowledgement, of the extension headers the
    /// packet has, or of its payload. The opcode stays: a bit of it would make most packets nothing at all.
    pub(crate) fn flip(&mut self, bit: u64) {
        let mut left = bit;
        // Once found, what is left wraps to a number beyond every field.
        let mut within = |bits: u64| {
            let hit = (left < bits).then_some(left);
            left = left.wrapping_sub(bits);
            hit
        };
        let narrow = |hit: Option<u64>| hit.map_or(0, |n| 1u32 << n);
        let wide = |hit: Option<u64>| hit.map_or(0, |n| 1u64 << n);
        self.to_qpn ^= narrow(within(QPN_BITS));
        self.psn ^= narrow(within(PSN_BITS));
        self.ack_requested ^= within(1).is_some();
        if self.opcode.has_remote() {
            self.remote_addr ^= wide(within(64));
            self.rkey ^= narrow(within(32));
            self.message_len ^= narrow(within(32));
        }
        if self.opcode.has_imm() {
            self.imm ^= narrow(within(32));
        }
        if self.opcode.is_atomic() || self.opcode == Opcode::AtomicAcknowledge {
            self.compare ^= wide(within(64));
        }
        if self.opcode.is_atomic() {
            self.operand ^= wide(within(64));
        }
        let len = self.len;
        if let Some(n) = within(8 * u64::from(len)) {
            self.payload_mut(len)[(n / 8) as usize] ^= 1 << (n % 8);
        }
    }

    /// Cuts off the second half of it, ICRC included.
    pub(crate) fn truncate(&mut self) {
        let gone = self.wire_bytes() / 2;
        self.missing_bytes = gone;
        self.len -= gone.min(self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketPool;

    fn packet(opcode: Opcode, payload: &[u8]) -> Box<Packet> {
        let mut packet = PacketPool::default().take();
        packet.opcode = opcode;
        packet.payload_mut(payload.len() as u32).copy_from_slice(payload);
        packet.digest = digest::digest(payload);
        packet
    }

    #[test]
    fn every_flipped_bit_is_found_out_and_flipped_back_is_whole_again() {
        use Opcode::{Acknowledge, AtomicAcknowledge, CompareSwap, ReadRequest, SendOnlyImm, WriteFirst};
        for opcode in [Acknowledge, AtomicAcknowledge, CompareSwap, ReadRequest, SendOnlyImm, WriteFirst] {
            let mut packet = packet(opcode, b"forty bytes or so of what is to be kept");
            packet.seal();
            assert_eq!(packet.check(), Ok(()));
            for bit in 0..packet.bits() {
                packet.flip(bit);
                assert_eq!(packet.check(), Err(Mark::PacketCorrupted), "bit {bit} of {opcode:?}");
                packet.flip(bit);
                assert_eq!(packet.check(), Ok(()), "bit {bit} of {opcode:?}");
            }
        }
    }

    #[test]
    fn a_missing_tail_is_found_out_even_of_a_packet_without_payload() {
        for (opcode, payload) in [(Opcode::WriteOnly, &[7; 256][..]), (Opcode::Acknowledge, &[])] {
            let mut packet = packet(opcode, payload);
            packet.seal();
            packet.truncate();
            assert_eq!(packet.check(), Err(Mark::PacketTruncated));
            packet.missing_bytes = 0;
            let found = packet.check();
            assert_eq!(found.is_err(), !payload.is_empty(), "a shorter payload has another digest");
        }
    }

    #[test]
    fn a_recycled_packet_has_no_seal() {
        let mut pool = PacketPool::default();
        let mut packet = pool.take();
        packet.seal();
        packet.flip(0);
        pool.give(packet);
        assert_eq!(pool.take().check(), Ok(()));
    }
}
