//! Memory and keys: what is reached without its owner's CPU, and what is not.

use wavetank_contract::error::{ConnectError, KeyError};
use wavetank_contract::{
    Access, Backend, EndpointAddress, Op, PdId, Region, RegionSpec, RemoteAddr, RemoteKey, Status,
};

use super::lab::{config, pair};

#[test]
fn memory_that_ucx_did_not_allocate_is_served_over_shared_memory() {
    let (mut a, mut b) = pair(&config("shm"), |_| {});
    let heap = Region::allocate(&RegionSpec::new(100_000)).expect("memory");
    heap.write(0, &[7; 1000]);
    let mr = b.device.register(&heap, PdId(0), Access::ALL).expect("a registration");
    let own = b.device.export(b.mr).expect("a key");
    let key = b.device.export(mr).expect("a key");
    assert!(key.as_bytes().len() < own.as_bytes().len(), "only one of them has a key of UCX in it");
    let remote = a.device.import(a.ep, &key).expect("a key");
    let piece = [a.piece(0, 1000)];
    a.post(1, Op::Read { remote: RemoteAddr { rkey: remote.rkey, addr: remote.addr } }, &piece);
    a.good(1);
    assert_eq!(a.bytes(0, 1000), [7; 1000]);
}

#[test]
fn a_registration_that_ended_is_not_reached_in_shared_memory() {
    let (mut a, mut b) = pair(&config("shm"), |_| {});
    let (piece, from) = ([a.piece(0, 64)], a.at(0));
    b.fill(0, 64, 3);
    a.post(1, Op::Read { remote: from }, &piece);
    a.good(1);
    b.device.deregister(b.mr).expect("nothing uses it");
    a.post(2, Op::Read { remote: from }, &piece);
    assert_eq!(a.next().status, Status::RemAccessErr);
}

#[test]
fn keys_and_addresses_with_any_byte_changed_are_refused() {
    for name in ["tcp/lo", "shm"] {
        let (mut a, b) = pair(&config(name), |_| {});
        let key = b.device.export(b.mr).expect("a key").as_bytes().to_vec();
        let address = b.device.address(b.ep).expect("open").as_bytes().to_vec();
        for at in 0..key.len() {
            let mut wrong = key.clone();
            wrong[at] ^= 0x10;
            let wrong = RemoteKey::from_bytes(&wrong).expect("short");
            let refused = a.device.import(a.ep, &wrong);
            assert!(matches!(refused, Err(KeyError::Malformed { .. })), "{name}: {refused:?}");
        }
        let spec = wavetank_contract::EndpointSpec::new(a.cq);
        let ep = a.device.open(&spec).expect("an endpoint");
        for at in 0..address.len() {
            let mut wrong = address.clone();
            wrong[at] ^= 0x10;
            let wrong = EndpointAddress::from_bytes(&wrong).expect("short");
            let refused = a.device.connect(ep, &wrong);
            assert!(matches!(refused, Err(ConnectError::Malformed { .. })), "{name}: {refused:?}");
        }
    }
}

#[test]
fn an_address_of_another_transport_is_not_connected_to() {
    let (mut a, _) = pair(&config("tcp/lo"), |_| {});
    let (b, _) = pair(&config("shm"), |_| {});
    let address = b.device.address(b.ep).expect("open");
    let spec = wavetank_contract::EndpointSpec::new(a.cq);
    let ep = a.device.open(&spec).expect("an endpoint");
    let refused = a.device.connect(ep, &address).expect_err("refused").to_string();
    assert!(refused.contains("another UCX transport"), "{refused}");
}

/// Ports and drivers have a place for every name up to the highest: with a generation in the upper bits each reconnection cost them
/// 12 MiB, for ever.
#[test]
fn names_of_endpoints_count_up_without_gaps_and_none_is_used_twice() {
    let (mut a, _) = pair(&config("shm"), |_| {});
    let spec = wavetank_contract::EndpointSpec::new(a.cq);
    let mut last = a.device.open(&spec).expect("an endpoint");
    for _ in 0..100 {
        a.device.close(last);
        let next = a.device.open(&spec).expect("an endpoint");
        assert_eq!(next.0, last.0 + 1);
        last = next;
    }
}
