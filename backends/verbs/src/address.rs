//! What an endpoint announces to its peer. The bytes come from a peer: nothing in them is trusted before it was checked.

use std::net::{Ipv6Addr, SocketAddrV6};

use wavetank_contract::{EndpointAddress, Mtu};

use crate::gid::Gid;
use crate::status;

const MAGIC: &[u8; 4] = b"WTV1";

/// What an address looks like, for errors.
pub(crate) const FORMAT: &str = "44 bytes that begin with WTV1, as a verbs device announces them";

const LEN_BYTES: usize = 44;

/// Queue pair numbers and packet sequence numbers have 24 bits.
pub(crate) const MASK_24: u32 = 0xff_ffff;

/// Where an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// InfiniBand and RoCE: both sides know each other's numbers and move their queue pairs themselves.
    Rc(RcAddress),
    /// iWARP: a connection is made by a handshake.
    Iwarp(IwarpAddress),
}

/// Numbers of a reliable-connected queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RcAddress {
    pub(crate) qpn: u32,
    /// The first PSN it sends.
    pub(crate) psn: u32,
    pub(crate) gid: Gid,
    pub(crate) lid: u16,
    pub(crate) mtu: Mtu,
    /// Whether its link is Ethernet.
    pub(crate) ethernet: bool,
    /// READs and atomics it serves at a time.
    pub(crate) max_dest_rd_atomic: u8,
}

/// Where an iWARP endpoint listens, and how a caller proves that it means this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IwarpAddress {
    pub(crate) at: SocketAddrV6,
    pub(crate) nonce: u64,
    /// A word that the peer may READ, to learn that what it sent before is placed: address and key.
    pub(crate) witness: (u64, u32),
}

impl Address {
    pub(crate) fn encode(&self) -> Option<EndpointAddress> {
        let mut bytes = Vec::with_capacity(LEN_BYTES);
        bytes.extend_from_slice(MAGIC);
        match self {
            Address::Rc(rc) => {
                bytes.extend_from_slice(&[
                    1,
                    rc.ethernet.into(),
                    status::mtu_number(rc.mtu),
                    rc.max_dest_rd_atomic,
                ]);
                bytes.extend_from_slice(&rc.qpn.to_le_bytes());
                bytes.extend_from_slice(&rc.psn.to_le_bytes());
                bytes.extend_from_slice(&rc.gid.0);
                bytes.extend_from_slice(&rc.lid.to_le_bytes());
                bytes.extend_from_slice(&[0; 10]);
            }
            Address::Iwarp(iwarp) => {
                bytes.extend_from_slice(&[2, 0]);
                bytes.extend_from_slice(&iwarp.at.port().to_le_bytes());
                bytes.extend_from_slice(&iwarp.nonce.to_le_bytes());
                bytes.extend_from_slice(&iwarp.at.ip().octets());
                bytes.extend_from_slice(&iwarp.witness.0.to_le_bytes());
                bytes.extend_from_slice(&iwarp.witness.1.to_le_bytes());
            }
        }
        EndpointAddress::from_bytes(&bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Address> {
        let bytes: &[u8; LEN_BYTES] = bytes.try_into().ok()?;
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        if magic != MAGIC {
            return None;
        }
        let (head, rest) = rest.split_first_chunk::<4>()?;
        match *head {
            [1, ethernet @ 0..=1, mtu, max_dest_rd_atomic] => {
                let (qpn, rest) = rest.split_first_chunk::<4>()?;
                let (psn, rest) = rest.split_first_chunk::<4>()?;
                let (gid, rest) = rest.split_first_chunk::<16>()?;
                let (lid, rest) = rest.split_first_chunk::<2>()?;
                let (qpn, psn) = (u32::from_le_bytes(*qpn), u32::from_le_bytes(*psn));
                let sane = rest == [0; 10] && qpn <= MASK_24 && psn <= MASK_24;
                sane.then_some(Address::Rc(RcAddress {
                    qpn,
                    psn,
                    gid: Gid(*gid),
                    lid: u16::from_le_bytes(*lid),
                    mtu: status::mtu(mtu.into())?,
                    ethernet: ethernet == 1,
                    max_dest_rd_atomic,
                }))
            }
            [2, 0, low, high] => {
                let (nonce, rest) = rest.split_first_chunk::<8>()?;
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                let port = u16::from_le_bytes([low, high]);
                let at = SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, 0);
                let (addr, rest) = rest.split_first_chunk::<8>()?;
                let (rkey, rest) = rest.split_first_chunk::<4>()?;
                let witness = (u64::from_le_bytes(*addr), u32::from_le_bytes(*rkey));
                let sane = rest.is_empty() && port != 0;
                sane.then_some(Address::Iwarp(IwarpAddress {
                    at,
                    nonce: u64::from_le_bytes(*nonce),
                    witness,
                }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rc() -> impl Strategy<Value = Address> {
        (0..=MASK_24, 0..=MASK_24, any::<[u8; 16]>(), any::<u16>(), 1u32..=5, any::<bool>(), any::<u8>())
            .prop_map(|(qpn, psn, gid, lid, mtu, ethernet, max_dest_rd_atomic)| {
                let mtu = status::mtu(mtu).expect("1 to 5");
                Address::Rc(RcAddress { qpn, psn, gid: Gid(gid), lid, mtu, ethernet, max_dest_rd_atomic })
            })
    }

    fn iwarp() -> impl Strategy<Value = Address> {
        (any::<[u8; 16]>(), 1..=u16::MAX, any::<u64>(), any::<(u64, u32)>()).prop_map(
            |(ip, port, nonce, witness)| {
                let at = SocketAddrV6::new(ip.into(), port, 0, 0);
                Address::Iwarp(IwarpAddress { at, nonce, witness })
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(address in prop_oneof![rc(), iwarp()]) {
            let bytes = address.encode().expect("short");
            prop_assert_eq!(bytes.as_bytes().len(), LEN_BYTES);
            prop_assert_eq!(Address::decode(bytes.as_bytes()), Some(address));
        }

        #[test]
        fn garbage_is_refused_or_means_exactly_its_own_bytes(
            head in prop_oneof![Just(b"WTV1\x01".to_vec()), Just(b"WTV1\x02".to_vec()), Just(Vec::new())],
            tail in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..60),
        ) {
            let bytes = [head, tail].concat();
            if let Some(address) = Address::decode(&bytes) {
                let again = address.encode().expect("short");
                prop_assert_eq!(again.as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn a_shortened_address_is_refused(address in prop_oneof![rc(), iwarp()], len in 0..LEN_BYTES) {
            let bytes = address.encode().expect("short");
            prop_assert_eq!(Address::decode(&bytes.as_bytes()[..len]), None);
        }
    }

    #[test]
    fn numbers_past_24_bits_are_refused() {
        let good = RcAddress {
            qpn: 17,
            psn: 5,
            gid: Gid([1; 16]),
            lid: 0,
            mtu: Mtu::B1024,
            ethernet: true,
            max_dest_rd_atomic: 1,
        };
        for bad in [RcAddress { qpn: 1 << 24, ..good }, RcAddress { psn: 1 << 24, ..good }] {
            let bytes = Address::Rc(bad).encode().expect("short");
            assert_eq!(Address::decode(bytes.as_bytes()), None);
        }
    }
}
