//! The address of an endpoint, and the hello that two endpoints exchange.

use std::net::{IpAddr, SocketAddr};

use wavetank_contract::{Access, EndpointAddress};

use crate::config::Transport;
use crate::frame::{self, Reader};

const MAGIC: [u8; 8] = *b"WTUCXEP1";
const HELLO: [u8; 8] = *b"WTUCXHI1";

/// What an address looks like, for whoever offered something else.
pub(crate) const EXPECTED: &str = "a UCX endpoint address: WTUCXEP1, a CRC32-C, and what it covers";

/// Where a worker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// By its own address.
    Worker(Vec<u8>),
    /// Through its listener.
    Listener(SocketAddr),
}

/// Where an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) transport: Transport,
    /// The worker, by a number drawn when it was made.
    pub(crate) nonce: u64,
    /// The endpoint, by its owner's number.
    pub(crate) ep: u32,
    pub(crate) process: Process,
    pub(crate) place: Place,
}

/// A process of some machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number in its namespace.
    pub(crate) pid: u32,
    /// The namespace (`/proc/self/ns/pid`), which only processes of one machine can have in common.
    pub(crate) namespace: u64,
    /// The machine's boot (`/proc/sys/kernel/random/boot_id`), hashed: namespaces of two machines may have one number.
    pub(crate) boot: u32,
}

impl Address {
    pub(crate) fn encode(&self) -> Option<EndpointAddress> {
        let mut body = Vec::with_capacity(512);
        body.push(self.transport as u8);
        body.extend_from_slice(&self.nonce.to_le_bytes());
        body.extend_from_slice(&self.ep.to_le_bytes());
        body.extend_from_slice(&self.process.pid.to_le_bytes());
        body.extend_from_slice(&self.process.namespace.to_le_bytes());
        body.extend_from_slice(&self.process.boot.to_le_bytes());
        match &self.place {
            Place::Worker(bytes) => {
                body.push(0);
                frame::put_bytes(&mut body, bytes);
            }
            Place::Listener(at) => {
                body.push(1);
                match at.ip() {
                    IpAddr::V4(ip) => frame::put_bytes(&mut body, &ip.octets()),
                    IpAddr::V6(ip) => frame::put_bytes(&mut body, &ip.octets()),
                }
                body.extend_from_slice(&at.port().to_le_bytes());
            }
        }
        EndpointAddress::from_bytes(&frame::seal(MAGIC, &body))
    }

    pub(crate) fn decode(address: &EndpointAddress) -> Option<Address> {
        let mut body = frame::open(MAGIC, address.as_bytes())?;
        let transport = body.u8()?;
        let transport = Transport::ALL.into_iter().find(|known| *known as u8 == transport)?;
        let (nonce, ep) = (body.u64()?, body.u32()?);
        let process = Process { pid: body.u32()?, namespace: body.u64()?, boot: body.u32()? };
        let place = match body.u8()? {
            0 => Place::Worker(body.bytes().filter(|bytes| !bytes.is_empty())?.to_vec()),
            1 => {
                let ip = body.bytes()?;
                let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
                    (Ok(v4), _) => IpAddr::from(v4),
                    (_, Ok(v6)) => IpAddr::from(v6),
                    _ => return None,
                };
                Place::Listener(SocketAddr::new(ip, body.u16()?))
            }
            _ => return None,
        };
        body.end()?;
        Some(Address { transport, nonce, ep, process, place })
    }
}

/// What one endpoint tells the other before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The worker that speaks, and the endpoint.
    pub(crate) nonce: u64,
    pub(crate) ep: u32,
    /// Which life of it. Never 0.
    pub(crate) life: u32,
    /// What it knows of the other's life; 0: nothing yet.
    pub(crate) echo: u32,
    /// What its peers may do.
    pub(crate) access: Access,
    pub(crate) pd: u16,
    /// How often it asks again when there is no receive; 7: for ever.
    pub(crate) rnr_retry: u8,
    /// How long it waits for a sign of life, in nanoseconds; `u64::MAX`: for ever.
    pub(crate) patience_ns: u64,
    /// Where its control words are, and what opens them; empty where peers cannot map them.
    pub(crate) control_addr: u64,
    pub(crate) control_rkey: Vec<u8>,
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(&self.nonce.to_le_bytes());
        for word in [self.ep, self.life, self.echo] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.push(access_bits(self.access));
        body.extend_from_slice(&self.pd.to_le_bytes());
        body.push(self.rnr_retry);
        body.extend_from_slice(&self.patience_ns.to_le_bytes());
        body.extend_from_slice(&self.control_addr.to_le_bytes());
        frame::put_bytes(&mut body, &self.control_rkey);
        frame::seal(HELLO, &body)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Hello> {
        let mut body: Reader<'_> = frame::open(HELLO, bytes)?;
        let hello = Hello {
            nonce: body.u64()?,
            ep: body.u32()?,
            life: body.u32()?,
            echo: body.u32()?,
            access: access_of(body.u8()?)?,
            pd: body.u16()?,
            rnr_retry: body.u8()?,
            patience_ns: body.u64()?,
            control_addr: body.u64()?,
            control_rkey: body.bytes()?.to_vec(),
        };
        body.end()?;
        (hello.life != 0).then_some(hello)
    }
}

pub(crate) fn access_bits(access: Access) -> u8 {
    u8::from(access.local_write)
        | u8::from(access.remote_read) << 1
        | u8::from(access.remote_write) << 2
        | u8::from(access.remote_atomic) << 3
}

pub(crate) fn access_of(bits: u8) -> Option<Access> {
    let has = |bit: u8| bits & 1 << bit != 0;
    (bits < 16).then(|| Access {
        local_write: has(0),
        remote_read: has(1),
        remote_write: has(2),
        remote_atomic: has(3),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(place: Place) -> Address {
        let process = Process { pid: 7, namespace: 4_026_531_836, boot: 99 };
        Address { transport: Transport::Tcp, nonce: 5, ep: 6, process, place }
    }

    #[test]
    fn addresses_are_read_back_and_nothing_else_is() {
        let places = [
            Place::Worker(vec![1, 2, 3]),
            Place::Listener("127.0.0.1:7".parse().expect("an address")),
            Place::Listener("[::1]:65535".parse().expect("an address")),
        ];
        for place in places {
            let one = address(place);
            let encoded = one.encode().expect("short");
            assert_eq!(Address::decode(&encoded), Some(one));
            let cut = EndpointAddress::from_bytes(&encoded.as_bytes()[1..]).expect("short");
            assert_eq!(Address::decode(&cut), None);
        }
        let empty = address(Place::Worker(Vec::new())).encode().expect("short");
        assert_eq!(Address::decode(&empty), None, "UCX would read past an empty address");
        let long = address(Place::Worker(vec![0; 5000]));
        assert_eq!(long.encode(), None);
    }

    #[test]
    fn hellos_are_read_back() {
        let hello = Hello {
            nonce: 1,
            ep: 2,
            life: 3,
            echo: 0,
            access: Access::REMOTE_READ,
            pd: 4,
            rnr_retry: 7,
            patience_ns: u64::MAX,
            control_addr: 1 << 40,
            control_rkey: vec![9; 100],
        };
        assert_eq!(Hello::decode(&hello.encode()), Some(hello.clone()));
        assert_eq!(Hello::decode(&Hello { life: 0, ..hello }.encode()), None);
        assert_eq!(Hello::decode(b""), None);
    }
}
