//! Sleeping: whatever comes after the last poll wakes whoever sleeps, and nothing else does.

use wavetank_contract::{Completion, Status};

use super::lab::{config, pair};

fn good(completion: Completion, id: u64) {
    assert_eq!((completion.id.0, completion.status, completion.vendor), (id, Status::Success, 0));
}

/// Each message has no other to wake its receiver by.
fn ping_pong(name: &str, rounds: u64, spin_ns: u64) {
    let mut config = config(name);
    config.spin_ns = spin_ns;
    // Patience beyond the five seconds after which a sleep is one too long.
    let (mut a, mut b) = pair(&config, |spec| spec.timeout = 18);
    for round in 0..rounds {
        let bytes = a.fill(0, 64, round as u8);
        b.recv(2 * round, 4096, 64);
        a.recv(2 * round, 4096, 64);
        a.send(2 * round + 1, 0, 64);
        good(b.woken(), 2 * round);
        assert_eq!(b.bytes(4096, 64), bytes);
        good(a.woken(), 2 * round + 1);
        b.send(2 * round + 1, 4096, 64);
        good(a.woken(), 2 * round);
        assert_eq!(a.bytes(4096, 64), bytes);
        good(b.woken(), 2 * round + 1);
    }
}

#[test]
fn no_wake_up_is_lost_over_tcp_when_the_thread_sleeps_at_once() {
    ping_pong("tcp/lo", 1000, 0);
}

#[test]
fn no_wake_up_is_lost_over_shared_memory_when_the_thread_sleeps_at_once() {
    ping_pong("shm", 1000, 0);
}

#[test]
fn no_wake_up_is_lost_while_the_thread_polls() {
    ping_pong("tcp/lo", 200, 200_000);
    ping_pong("shm", 200, 200_000);
    ping_pong("self", 200, 200_000);
}

#[test]
fn a_listener_is_as_good_as_an_address() {
    ping_pong("tcp/lo@127.0.0.1", 50, 0);
}
