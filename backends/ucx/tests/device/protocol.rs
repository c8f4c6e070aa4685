//! How messages travel: the same bytes whichever way.

use wavetank_contract::{Backend, Op, Status};
use wavetank_ucx::Protocol;

use super::lab::{config, pair};

#[test]
fn every_protocol_carries_messages_of_any_length() {
    for name in ["tcp/lo", "shm", "self"] {
        for protocol in Protocol::ALL {
            let mut config = config(name);
            config.protocol = protocol;
            let (mut a, mut b) = pair(&config, |_| {});
            for (id, len) in (0u64..).zip([0, 1, 8, 4096, 9000, 65_536, 300_000, 1 << 20]) {
                let bytes = a.fill(7, len as usize, id as u8);
                b.recv(id, 11, 1 << 20);
                a.send(id, 7, len);
                assert_eq!(b.good(id).len, len, "{name} {protocol:?}");
                a.good(id);
                assert!(b.bytes(11, len as usize) == bytes, "{name} {protocol:?} {len}");
                let (read, write) = (a.at(11), a.at(2 << 20));
                let pieces = [a.piece(3 << 20, len), a.piece(7, len)];
                let used = if len == 0 { [&pieces[..0], &pieces[..0]] } else { [&pieces[..1], &pieces[1..]] };
                a.post(100 + id, Op::Read { remote: read }, used[0]);
                a.post(200 + id, Op::Write { remote: write, imm: None }, used[1]);
                a.good(100 + id);
                a.good(200 + id);
                assert!(a.bytes(3 << 20, len as usize) == bytes, "{name} {protocol:?} {len}: a READ");
                assert!(b.bytes(2 << 20, len as usize) == bytes, "{name} {protocol:?} {len}: a WRITE");
            }
        }
    }
}

#[test]
fn messages_of_all_lengths_arrive_in_their_order_and_none_waits_for_its_receive_in_vain() {
    for name in ["tcp/lo", "shm"] {
        let (mut a, mut b) = pair(&config(name), |spec| spec.rnr_retry = 7);
        let lens: Vec<u32> = (0..60).map(|n| [8, 200_000, 64, 9000, 30_000][n % 5] + n as u32).collect();
        let bytes = a.fill(0, 300_000, 9);
        for (id, len) in (0u64..).zip(&lens) {
            a.send(id, 0, *len);
        }
        // Only now is there room for them, a few at a time.
        for (id, len) in (0u64..).zip(&lens) {
            b.recv(id, 0, 300_000);
            assert_eq!(b.good(id).len, *len, "{name}");
            assert!(b.bytes(0, *len as usize) == bytes[..*len as usize], "{name}: message {id}");
        }
        for id in 0..60 {
            a.good(id);
        }
    }
}

#[test]
fn closing_in_the_middle_of_a_rendezvous_lets_go_of_the_memory_of_both() {
    for name in ["tcp/lo", "shm"] {
        let mut config = config(name);
        config.protocol = Protocol::Rendezvous;
        for closes_first in [true, false] {
            let (mut a, mut b) = pair(&config, |spec| (spec.timeout, spec.retry_cnt) = (14, 1));
            for id in 0..8 {
                b.recv(id, 0, 1 << 20);
                a.send(id, 0, 1 << 20);
            }
            b.pump();
            let (ep_a, ep_b) = (a.ep, b.ep);
            if closes_first {
                a.device.close(ep_a);
                // Nothing is written here once its endpoint is closed either.
                b.device.close(ep_b);
            } else {
                b.device.close(ep_b);
                a.device.close(ep_a);
            }
            let before = b.fill(0, 1 << 20, 77);
            for _ in 0..1000 {
                a.pump();
                b.pump();
            }
            assert!(b.bytes(0, 1 << 20) == before, "{name}: written after closing");
            a.device.deregister(a.mr).expect("a's registration ends");
            b.device.deregister(b.mr).expect("b's registration ends");
        }
    }
}

#[test]
fn a_message_that_nobody_receives_ends_as_the_receiver_is_not_ready() {
    for name in ["tcp/lo", "shm"] {
        for protocol in [Protocol::Eager, Protocol::Rendezvous] {
            let mut config = config(name);
            config.protocol = protocol;
            let (mut a, mut b) = pair(&config, |spec| spec.rnr_retry = 2);
            a.send(1, 0, 100_000);
            b.pump();
            assert_eq!(a.next().status, Status::RnrRetryExcErr, "{name} {protocol:?}");
            a.device.deregister(a.mr).expect("nothing uses it");
        }
    }
}

#[test]
fn a_message_that_does_not_fit_waits_for_all_that_is_on_its_way_before_it() {
    let mut config = config("tcp/lo");
    config.protocol = Protocol::Rendezvous;
    let (mut a, mut b) = pair(&config, |_| {});
    let bytes = a.fill(0, 1 << 20, 5);
    b.recv(9, 3 << 20, 10);
    let (pieces, first, second) = ([a.piece(0, 1 << 20)], a.at(0), a.at(1 << 20));
    a.post(1, Op::Write { remote: first, imm: None }, &pieces);
    a.post(2, Op::Write { remote: second, imm: None }, &pieces);
    a.send(3, 0, 100);
    assert_eq!(b.next().status, Status::LocLenErr);
    a.good(1);
    a.good(2);
    assert_eq!(a.next().status, Status::RemInvReqErr);
    assert!(
        b.bytes(0, 1 << 20) == bytes && b.bytes(1 << 20, 1 << 20) == bytes,
        "a WRITE before it is not whole"
    );
}
