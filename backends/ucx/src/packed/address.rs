//! Addresses of workers: version 1, not unified, as `src/ucp/wireup/address.c` of UCX 1.12 to 1.22 packs them. The device asks UCX for that
//! version.
//!
//! A header, the worker's number, then devices: where each is, and its interfaces, with what they can do and where they are.

use super::Bytes;
use super::segment::{self, Owner};
use crate::config::Transport;

/// `UCP_ADDRESS_HEADER_FLAG_*`, above the version's four bits.
const HAS_DEBUG_INFO: u8 = 1 << 4;
const HAS_CLIENT_ID: u8 = 1 << 6;
/// The last device, or the last interface of one.
const LAST: u8 = 1 << 7;
/// A device without interfaces: newer versions put their number there.
const EMPTY: u8 = 1 << 7;
const HAS_PATHS: u8 = 1 << 6;
const HAS_SYSTEM_DEVICE: u8 = 1 << 5;
/// Addresses of endpoints follow. Those of workers have none.
const HAS_ENDPOINTS: u8 = 1 << 6;
/// No device at all.
const NOTHING: u8 = 0xff;

/// The checksum of the name `self`.
const SELF: u16 = 0x7563;

/// More than any worker has; UCX has room for 128.
const INTERFACES_MAX: usize = 64;

/// Bytes per second of an interface, more than there are.
const BANDWIDTH_MAX: f32 = 1e15;

/// An interface of a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interface<'a> {
    /// Of the transport's name.
    checksum: u16,
    capabilities: u32,
    device: &'a [u8],
    place: &'a [u8],
}

/// The address of this process's worker: what those of others have to look like.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    bytes: Vec<u8>,
    transport: Transport,
}

impl Own {
    pub(crate) fn new(bytes: Vec<u8>, transport: Transport) -> Own {
        Own { bytes, transport }
    }

    /// Whether there is anything but the worker itself that can be reached: `self` comes with RDMA devices, and stays where there is none.
    pub(crate) fn leaves(&self) -> bool {
        read(&self.bytes).is_none_or(|found| found.iter().any(|interface| interface.checksum != SELF))
    }

    /// Whether this UCX packs addresses as we read them. If not, those of peers cannot be looked through.
    pub(crate) fn is_understood(&self) -> bool {
        read(&self.bytes).is_some_and(|found| !found.is_empty())
    }
}

/// Looks through an address. `None`: UCX must not see it.
pub(crate) fn check(own: &Own, theirs: &[u8], owner: Option<Owner>) -> Option<()> {
    if own.transport == Transport::Loopback {
        // There is no other worker to reach.
        return (own.bytes == theirs).then_some(());
    }
    if !own.is_understood() {
        return (own.bytes.first() == theirs.first() && own.bytes.len() == theirs.len()).then_some(());
    }
    let (ours, found) = (read(&own.bytes)?, read(theirs)?);
    let fits = |interface: &Interface<'_>| {
        let mut same = ours.iter().filter(|our| our.checksum == interface.checksum);
        match own.transport {
            Transport::Rc => same.next().is_some(),
            Transport::Tcp => same.any(|our| alike(our, interface)) && is_socket(interface.device),
            _ => same.any(|our| alike(our, interface) && segment::place(our.place, interface.place, owner)),
        }
    };
    (!found.is_empty() && found.iter().all(fits)).then_some(())
}

fn alike(ours: &Interface<'_>, theirs: &Interface<'_>) -> bool {
    ours.capabilities == theirs.capabilities && ours.place.len() == theirs.place.len()
}

/// Where a TCP device is: flags, address family, and an IP address or, of loopback, two numbers of the machine, the second of which newer
/// versions pack shorter (`tcp_iface.c`).
fn is_socket(device: &[u8]) -> bool {
    match device {
        [0, 2, rest @ ..] => rest.len() == 4,
        [0, 10, rest @ ..] => rest.len() == 16,
        [1, 2 | 10, rest @ ..] => matches!(rest.len(), 12 | 16),
        _ => false,
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Interface<'_>>> {
    let mut bytes = Bytes(bytes);
    let header = bytes.u8()?;
    if header & 0x0f != 0 || header & HAS_DEBUG_INFO != 0 {
        return None;
    }
    bytes.take(8)?;
    if header & HAS_CLIENT_ID != 0 {
        bytes.take(8)?;
    }
    let mut found = Vec::new();
    loop {
        let domain = bytes.u8()?;
        if domain == NOTHING {
            return None;
        }
        let flags = bytes.u8()?;
        if flags & HAS_PATHS != 0 && !(1..=16).contains(&bytes.u8()?) {
            return None;
        }
        if flags & HAS_SYSTEM_DEVICE != 0 {
            bytes.u8()?;
        }
        let device = bytes.take(usize::from(flags & !(LAST | HAS_PATHS | HAS_SYSTEM_DEVICE)))?;
        let mut last = domain & EMPTY != 0;
        while !last {
            let (interface, ends) = interface(&mut bytes, device)?;
            found.push(interface);
            last = ends;
            if found.len() > INTERFACES_MAX {
                return None;
            }
        }
        if flags & LAST != 0 {
            break;
        }
    }
    bytes.0.is_empty().then_some(found)
}

/// An interface, and whether it is the last of its device.
fn interface<'a>(bytes: &mut Bytes<'a>, device: &'a [u8]) -> Option<(Interface<'a>, bool)> {
    let checksum = u16::from_le_bytes(bytes.array()?);
    let mut number = || bytes.array().map(f32::from_le_bytes);
    let (overhead, bandwidth, latency) = (number()?, number()?, number()?);
    // UCX makes scores of them, and asserts that scores are not negative. A negative bandwidth is one that is shared.
    let sane = (0.0..=1.0).contains(&overhead)
        && (0.0..=1.0).contains(&latency)
        && (1.0..=BANDWIDTH_MAX).contains(&bandwidth.abs());
    // The low byte is a priority.
    let capabilities = u32::from_le_bytes(bytes.array()?) >> 8;
    let flags = bytes.u8()?;
    let place = bytes.take(usize::from(flags & !(LAST | HAS_ENDPOINTS)))?;
    let interface = Interface { checksum, capabilities, device, place };
    (sane && flags & HAS_ENDPOINTS == 0).then_some((interface, flags & LAST != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two workers of UCX 1.13.1, and one of 1.22.0, over TCP on eth0 and lo; one of each over shared memory, and of `self`.
    const TCP: &str = "20c9a8c7cdf551241e2006000 2c0000202cf1917b751389763344bd7e037370013230082c80f20920102b29a467ec3b10efef9ffffef00000000cf1917b75138539e3e4bd7e03737011323 0082aa83";
    const TCP_NEWER: &str = "20ab9faeae990b3dce00060002c0000202cf1917b751389763344bd7e037370013230082 84a3000e0102b29a467ec3b10efef9ffffefcf1917b75138539e3e4bd7e03737011323 0082c77d8680";
    const SHM: &str =
        "200a68e8fb477b8ac5408 8b29a467ec3b10e7ea7d377cc2b32004c3e5077ccab33004f23c0889d5300c0020000c0";
    const SHM_NEWER: &str =
        "2048c1064f1710f9c70008b29a467ec3b10e7ea7d377cc2b320000705077ccab33004f23c088af5a00c0020000c08680";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    #[test]
    fn addresses_of_two_versions_of_ucx_are_read_whole() {
        for (hex, count) in [(TCP, 2), (TCP_NEWER, 2), (SHM, 1), (SHM_NEWER, 1)] {
            let bytes = bytes(hex);
            let found = read(&bytes).unwrap_or_else(|| panic!("{hex} is not understood"));
            assert_eq!(found.len(), count, "{hex}");
            for len in 0..bytes.len() {
                assert_eq!(read(&bytes[..len]), None, "{len} bytes of {hex}");
            }
            assert_eq!(read(&[&bytes[..], &[0]].concat()), None, "a byte more than {hex}");
        }
    }

    #[test]
    fn an_address_of_another_version_passes_and_one_of_another_transport_does_not() {
        let own = Own::new(bytes(TCP), Transport::Tcp);
        assert_eq!(check(&own, &bytes(TCP), None), Some(()));
        assert_eq!(check(&own, &bytes(TCP_NEWER), None), Some(()));
        assert_eq!(check(&own, &bytes(SHM), None), None);
        let own = Own::new(bytes(SHM), Transport::Shm);
        assert_eq!(check(&own, &bytes(SHM_NEWER), None), Some(()));
        assert_eq!(check(&own, &bytes(TCP), None), None);
    }

    #[test]
    fn a_worker_that_reaches_itself_only_is_told_from_one_that_leaves() {
        let itself = "2092d7a0ed36798c9f2080637577cc2b3200f8d74f00000000004f03c08810caaed7f2e8d88e";
        assert!(!Own::new(bytes(itself), Transport::Rc).leaves());
        assert!(Own::new(bytes(TCP), Transport::Tcp).leaves());
    }

    #[test]
    fn what_brought_ucx_down_is_not_shown_to_it() {
        let own = bytes(TCP);
        let wrong = |at: usize, byte: u8| {
            let mut address = own.clone();
            address[at] = byte;
            check(&Own::new(own.clone(), Transport::Tcp), &address, None)
        };
        // Version, flags, lengths, a number that is none, capabilities.
        for (at, byte) in
            [(0, 0x21), (0, 0x60), (0, 0x30), (9, 0xa0), (10, 7), (22, 0xff), (35, 3), (39, 0x1f)]
        {
            assert_eq!(wrong(at, byte), None, "byte {at} is {byte:#x}");
        }
        assert_eq!(wrong(73, 0x12), None, "capabilities");
        assert_eq!(wrong(37, 0), Some(()), "another port is another's");
    }
}
