//! Latency profiles: `base + size / bandwidth + jitter`, in virtual nanoseconds.

use std::borrow::Cow;

use wavetank_contract::OpKind;

/// How fast the simulated hardware is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// As workloads and tables name it.
    pub name: Cow<'static, str>,
    /// From the last byte leaving one NIC to the packet being handled by the other, without serialisation: both
    /// NICs' pipelines, cable and switch. Nanoseconds.
    pub base_ns: u64,
    /// What a packet costs a port beside its bytes: nothing on adapters, most of the time where software makes packets.
    /// Nanoseconds.
    pub packet_ns: u64,
    /// Serialisation, picoseconds per byte: 80 is 100 Gb/s.
    pub byte_ps: u64,
    /// Largest extra delay of a packet. Nanoseconds.
    pub jitter_ns: u64,
    /// How rare long delays are: 1 draws them evenly, `n` raises the drawn share of `jitter_ns` to its n-th power. The
    /// fabric asks for an even choice; whoever owns `Choices` shapes it.
    pub jitter_shape: u32,
}

impl Profile {
    /// A fast, perfectly regular network: what the protocol itself costs.
    pub const IDEAL: Profile = Profile::even("ideal", 500, 20, 0);
    /// Soft-RoCE over a virtual Ethernet pair: the right order of magnitude, not a calibration.
    pub const RXE: Profile = Profile::even("rxe", 9_000, 800, 6_000);
    /// A ConnectX-6 class adapter at 100 Gb/s behind one switch: the right order of magnitude, not a calibration.
    pub const CX6: Profile = Profile::even("cx6", 850, 80, 120);
    /// All of them.
    pub const ALL: [&'static Profile; 3] = [&Profile::IDEAL, &Profile::RXE, &Profile::CX6];

    /// A profile without costs per packet, whose jitter is drawn evenly.
    const fn even(name: &'static str, base_ns: u64, byte_ps: u64, jitter_ns: u64) -> Profile {
        Profile { name: Cow::Borrowed(name), base_ns, packet_ns: 0, byte_ps, jitter_ns, jitter_shape: 1 }
    }

    /// Time on the wire of a packet of this many bytes, at least 1 ns.
    #[inline]
    pub fn serialise_ns(&self, bytes: u64) -> u64 {
        self.packet_ns + (bytes * self.byte_ps).div_ceil(1000).max(1)
    }

    /// The least time in which an operation of `len` payload bytes can possibly complete: a round trip of the
    /// base latency, a packet each way, and its payload once through the link. Headers and queues only add to it.
    pub fn floor_ns(&self, kind: OpKind, len: u64) -> u64 {
        let trips = if kind == OpKind::Recv { 1 } else { 2 };
        trips * (self.base_ns + self.packet_ns)
            + u64::try_from(u128::from(len) * u128::from(self.byte_ps) / 1000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_gigabits_carry_4_kib_in_a_third_of_a_microsecond() {
        assert_eq!(Profile::CX6.serialise_ns(4096), 328);
        assert_eq!(Profile::CX6.floor_ns(OpKind::Read, 4096), 1700 + 327);
        assert_eq!(Profile::IDEAL.serialise_ns(1), 1);
    }

    #[test]
    fn a_packet_that_costs_time_costs_it_both_ways() {
        let software = Profile { packet_ns: 3_000, ..Profile::CX6 };
        assert_eq!(software.serialise_ns(4096), 3_328);
        assert_eq!(software.floor_ns(OpKind::Write, 4096), 1700 + 6_000 + 327);
    }
}
