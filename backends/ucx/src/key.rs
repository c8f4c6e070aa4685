//! The key of a registration, as peers are given it.

use wavetank_contract::{Access, RemoteKey};

use crate::address::{access_bits, access_of};
use crate::frame;

const MAGIC: [u8; 8] = *b"WTUCXRK1";

/// What a key looks like, for whoever offered something else.
pub(crate) const EXPECTED: &str = "a UCX key: WTUCXRK1, a CRC32-C, and what it covers";

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) addr: u64,
    pub(crate) len: u64,
    /// The registration, by its owner's number.
    pub(crate) mr: u32,
    pub(crate) pd: u16,
    pub(crate) access: Access,
    /// UCX's own key; empty where one-sided works are served by the owner.
    pub(crate) packed: Vec<u8>,
}

impl Key {
    pub(crate) fn encode(&self) -> Option<RemoteKey> {
        let mut body = Vec::with_capacity(64 + self.packed.len());
        body.extend_from_slice(&self.addr.to_le_bytes());
        body.extend_from_slice(&self.len.to_le_bytes());
        body.extend_from_slice(&self.mr.to_le_bytes());
        body.extend_from_slice(&self.pd.to_le_bytes());
        body.push(access_bits(self.access));
        frame::put_bytes(&mut body, &self.packed);
        RemoteKey::from_bytes(&frame::seal(MAGIC, &body))
    }

    pub(crate) fn decode(key: &RemoteKey) -> Option<Key> {
        let mut body = frame::open(MAGIC, key.as_bytes())?;
        let key = Key {
            addr: body.u64()?,
            len: body.u64()?,
            mr: body.u32()?,
            pd: body.u16()?,
            access: access_of(body.u8()?)?,
            packed: body.bytes()?.to_vec(),
        };
        body.end()?;
        // No region ends beyond the last address.
        key.addr.checked_add(key.len)?;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_impossible_ones_are_not() {
        let key =
            Key { addr: 4096, len: 8192, mr: 3, pd: 1, access: Access::REMOTE_READ, packed: vec![1, 2, 3] };
        assert_eq!(key.encode().as_ref().and_then(Key::decode), Some(key.clone()));
        let beyond = Key { addr: u64::MAX, len: 2, ..key.clone() }.encode().expect("short");
        assert_eq!(Key::decode(&beyond), None);
        assert_eq!(Key { packed: vec![0; 2000], ..key }.encode(), None);
    }
}
