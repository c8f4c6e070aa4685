//! Names that cross the wire: opaque bytes outside, a backend's own token inside.
//!
//! A verbs rkey is 4 bytes, a packed UCX rkey is a blob whose length the transport decides. So what travels is
//! bytes ([`RemoteKey`], [`EndpointAddress`]), and what the data path uses is the token that
//! [`Backend::import`](crate::Backend::import) makes of them once: no work pays for parsing a key.

use core::fmt;

macro_rules! opaque_bytes {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Box<[u8]>);

        impl $name {
            /// Longest encoding, in bytes; checked before anything is copied.
            pub const MAX_BYTES: usize = $max;

            /// Wraps bytes that came from a peer. `None` when they are longer than [`Self::MAX_BYTES`].
            pub fn from_bytes(bytes: &[u8]) -> Option<$name> {
                (bytes.len() <= Self::MAX_BYTES).then(|| $name(bytes.into()))
            }

            /// What to send to a peer.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    };
}

opaque_bytes!(
    /// The right to reach a registered region from afar, as the owner exports it. Carries base address, length and
    /// the device's key; its inside is the backend's business.
    RemoteKey,
    1024
);

opaque_bytes!(
    /// Where an endpoint is reached, as its owner announces it over any out-of-band channel.
    EndpointAddress,
    4096
);

/// A remote key as the data path uses it: the rkey itself on verbs, a table index on UCX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RkeyId(pub u64);

/// A region of a peer, imported and ready for use in works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteRegion {
    /// The key to put in works.
    pub rkey: RkeyId,
    /// The remote address of the region's first byte.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl RemoteRegion {
    /// The address of `len` bytes at `offset`, or `None` if they are not all inside the region.
    pub fn at(&self, offset: u64, len: u64) -> Option<RemoteAddr> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| RemoteAddr { rkey: self.rkey, addr: self.addr + offset })
    }
}

/// One place in a peer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddr {
    /// The key that allows the access.
    pub rkey: RkeyId,
    /// The remote address, in the peer's terms.
    pub addr: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversized_bytes_of_a_peer_are_refused() {
        assert!(RemoteKey::from_bytes(&[0; RemoteKey::MAX_BYTES]).is_some());
        assert!(RemoteKey::from_bytes(&[0; RemoteKey::MAX_BYTES + 1]).is_none());
    }

    #[test]
    fn a_range_past_the_region_has_no_address() {
        let r = RemoteRegion { rkey: RkeyId(1), addr: 4096, len: 100 };
        assert_eq!(r.at(90, 10).map(|a| a.addr), Some(4186));
        assert!(r.at(90, 11).is_none());
        assert!(r.at(u64::MAX, 1).is_none());
    }
}
