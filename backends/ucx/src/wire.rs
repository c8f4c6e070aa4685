//! The header of a message between two endpoints: what a packet's headers are to an adapter.
//!
//! 24 bytes, little-endian: kind, flags, two spare bytes, then five words. One-sided requests have 32 more.

/// Bytes of a plain header.
pub(crate) const HEAD_BYTES: usize = 24;

/// Bytes of the header of a one-sided request or an atomic's answer.
pub(crate) const LONG_BYTES: usize = HEAD_BYTES + 32;

/// The immediate counts.
const HAS_IMM: u8 = 1;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Who wants to be connected; the data says more (`hello.rs`).
    Hello = 1,
    /// A message that meets a receive.
    Send,
    /// Data to be placed.
    Write,
    /// Data is wanted.
    Read,
    CompareSwap,
    FetchAdd,
    /// A WRITE that was placed already: its immediate meets a receive.
    Notice,
    /// Requests before `ack` are done.
    Ack,
    /// Request `seq` is refused; `imm` is the status.
    Nak,
    /// The data that request `seq` wanted.
    ReadReply,
    /// The former value that request `seq` wanted, in `a`.
    AtomicReply,
    /// Still here, and request `seq` waits for a receive.
    Wait,
}

impl Kind {
    const ALL: [Kind; 12] = [
        Kind::Hello,
        Kind::Send,
        Kind::Write,
        Kind::Read,
        Kind::CompareSwap,
        Kind::FetchAdd,
        Kind::Notice,
        Kind::Ack,
        Kind::Nak,
        Kind::ReadReply,
        Kind::AtomicReply,
        Kind::Wait,
    ];

    /// Whether it is a request: numbered, and answered.
    pub(crate) const fn is_request(self) -> bool {
        matches!(
            self,
            Kind::Send | Kind::Write | Kind::Read | Kind::CompareSwap | Kind::FetchAdd | Kind::Notice
        )
    }

    const fn is_long(self) -> bool {
        matches!(
            self,
            Kind::Write | Kind::Read | Kind::CompareSwap | Kind::FetchAdd | Kind::AtomicReply | Kind::Notice
        )
    }
}

/// A header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// The endpoint it is for, by its owner's number.
    pub(crate) to: u32,
    /// Which life of that endpoint: what was meant for an earlier one is not for this one.
    pub(crate) life: u32,
    /// The number of the request.
    pub(crate) seq: u32,
    /// Requests of the receiver before this one are done.
    pub(crate) ack: u32,
    pub(crate) imm: Option<u32>,
    /// One-sided requests: where. Zero elsewhere, as all that follows.
    pub(crate) addr: u64,
    /// The registration.
    pub(crate) mr: u32,
    /// Bytes.
    pub(crate) len: u32,
    /// Comparand, addend, or former value.
    pub(crate) a: u64,
    /// What to swap in.
    pub(crate) b: u64,
}

impl Head {
    pub(crate) fn new(kind: Kind, to: u32, life: u32) -> Head {
        Head { kind, to, life, seq: 0, ack: 0, imm: None, addr: 0, mr: 0, len: 0, a: 0, b: 0 }
    }

    /// Writes it, and says how many bytes it takes.
    #[inline]
    pub(crate) fn write(&self, out: &mut [u8; LONG_BYTES]) -> usize {
        out[0] = self.kind as u8;
        out[1] = if self.imm.is_some() { HAS_IMM } else { 0 };
        out[2..4].fill(0);
        let words = [self.to, self.life, self.seq, self.ack, self.imm.unwrap_or(0)];
        for (place, word) in out[4..HEAD_BYTES].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if !self.kind.is_long() {
            return HEAD_BYTES;
        }
        out[24..32].copy_from_slice(&self.addr.to_le_bytes());
        out[32..36].copy_from_slice(&self.mr.to_le_bytes());
        out[36..40].copy_from_slice(&self.len.to_le_bytes());
        out[40..48].copy_from_slice(&self.a.to_le_bytes());
        out[48..56].copy_from_slice(&self.b.to_le_bytes());
        LONG_BYTES
    }

    /// Reads one. `None`: no header of ours.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Option<Head> {
        let kind = *Kind::ALL.get(usize::from(*bytes.first()?).checked_sub(1)?)?;
        let expected = if kind.is_long() { LONG_BYTES } else { HEAD_BYTES };
        if bytes.len() != expected || bytes[1] > HAS_IMM || bytes[2..4] != [0, 0] {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| {
            if expected == LONG_BYTES { u64::from(word(at)) | u64::from(word(at + 4)) << 32 } else { 0 }
        };
        let size = long(32);
        Some(Head {
            kind,
            to: word(4),
            life: word(8),
            seq: word(12),
            ack: word(16),
            imm: (bytes[1] == HAS_IMM).then(|| word(20)),
            addr: long(24),
            mr: size as u32,
            len: (size >> 32) as u32,
            a: long(40),
            b: long(48),
        })
    }
}

/// Whether request number `a` comes before `b`, on the circle of numbers.
#[inline]
pub(crate) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_read_back_whatever_is_in_it() {
        for kind in Kind::ALL {
            let long = kind.is_long();
            let head = Head {
                seq: 3,
                ack: u32::MAX,
                imm: Some(0xfeed),
                addr: if long { 1 << 40 } else { 0 },
                mr: if long { 7 } else { 0 },
                len: if long { u32::MAX } else { 0 },
                a: if long { u64::MAX } else { 0 },
                b: if long { 9 } else { 0 },
                ..Head::new(kind, 1, 2)
            };
            let mut bytes = [0; LONG_BYTES];
            let len = head.write(&mut bytes);
            assert_eq!(Head::read(&bytes[..len]), Some(head));
            assert_eq!(Head::read(&bytes[..len - 1]), None, "a byte less");
        }
    }

    #[test]
    fn numbers_go_round() {
        assert!(before(1, 2) && !before(2, 2) && !before(3, 2));
        assert!(before(u32::MAX, 0) && before(u32::MAX - 5, 7) && !before(7, u32::MAX - 5));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut again = [0; LONG_BYTES];
            if let Some(head) = Head::read(&bytes) {
                let len = head.write(&mut again);
                prop_assert!(len == bytes.len());
            }
        }
    }
}
