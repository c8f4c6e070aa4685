//! Why one side ends a handshake, in a number that the other understands.

/// Why one side ends a handshake, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// Bytes that are no message.
    Garbage,
    /// A message out of order.
    Unexpected,
    /// No common version.
    Version,
    /// Another backend.
    Backend,
    /// The peer is this very process, or both sides dialled.
    WrongPeer,
    /// An offer that cannot be met: another number of endpoints, keys that are none.
    Offer,
    /// An endpoint could not be connected.
    NotConnected,
    /// The time was up.
    Timeout,
    /// The application's own reason.
    Application,
    /// A reason that this version does not know.
    Other(u16),
}

impl RefusalCode {
    const KNOWN: [RefusalCode; 9] = [
        RefusalCode::Garbage,
        RefusalCode::Unexpected,
        RefusalCode::Version,
        RefusalCode::Backend,
        RefusalCode::WrongPeer,
        RefusalCode::Offer,
        RefusalCode::NotConnected,
        RefusalCode::Timeout,
        RefusalCode::Application,
    ];

    /// Its number on the wire.
    pub fn to_u16(self) -> u16 {
        match self {
            RefusalCode::Other(number) => number,
            known => (1..).zip(RefusalCode::KNOWN).find(|(_, c)| *c == known).map_or(0, |(number, _)| number),
        }
    }

    /// From its number on the wire. Any number will do.
    pub fn from_u16(number: u16) -> RefusalCode {
        let known = usize::from(number).checked_sub(1).and_then(|index| RefusalCode::KNOWN.get(index));
        known.copied().unwrap_or(RefusalCode::Other(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_code_and_gives_the_same_number_back() {
        assert!((0..=u16::MAX).all(|number| RefusalCode::from_u16(number).to_u16() == number));
        assert_eq!(RefusalCode::from_u16(1), RefusalCode::Garbage);
        assert_eq!(RefusalCode::from_u16(9), RefusalCode::Application);
        assert_eq!(RefusalCode::from_u16(10), RefusalCode::Other(10));
        assert_eq!(RefusalCode::from_u16(0), RefusalCode::Other(0));
    }
}
