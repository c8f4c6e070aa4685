//! A side that nobody polls serves its peer all the same, and notices what happens to it.

use wavetank_contract::{Op, QpState, Status};

use super::lab::{Deadline, config, pair};

#[test]
fn a_target_that_nobody_polls_serves_reads_writes_and_atomics() {
    for name in ["tcp/lo", "shm", "self"] {
        let (mut a, b) = pair(&config(name), |_| {});
        let theirs = b.fill(0, 300_000, 1);
        let ours = a.fill(1 << 20, 300_000, 2);
        b.mem.write(2 << 20, &41u64.to_ne_bytes());
        let (read, write, word) = (a.at(0), a.at(1 << 20), a.at(2 << 20));
        let pieces = [a.piece(0, 300_000), a.piece(1 << 20, 300_000), a.piece(3 << 20, 8)];
        a.post(1, Op::Read { remote: read }, &pieces[..1]);
        a.post(2, Op::Write { remote: write, imm: None }, &pieces[1..2]);
        a.post(3, Op::FetchAdd { remote: word, add: 1 }, &pieces[2..]);
        for id in 1..4 {
            a.good(id);
        }
        assert!(a.bytes(0, 300_000) == theirs, "{name}: a READ");
        assert!(b.bytes(1 << 20, 300_000) == ours, "{name}: a WRITE");
        assert_eq!(a.bytes(3 << 20, 8), 41u64.to_ne_bytes(), "{name}");
        assert_eq!(b.bytes(2 << 20, 8), 42u64.to_ne_bytes(), "{name}");
    }
}

#[test]
fn a_device_that_goes_away_is_noticed_by_whoever_asks_it_for_something() {
    for name in ["tcp/lo", "shm"] {
        let (mut a, b) = pair(&config(name), |spec| (spec.timeout, spec.retry_cnt) = (14, 1));
        drop(b.device);
        let (piece, to) = ([a.piece(0, 64)], a.at(0));
        a.post(1, Op::Read { remote: to }, &piece);
        assert_eq!(a.next().status, Status::RetryExcErr, "{name}");
        let deadline = Deadline::start();
        while a.device_state() != Some(QpState::Err) {
            deadline.check("the endpoint is dead");
        }
    }
}
