//! Sleeping: no wake-up is lost, and none comes for nothing.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wavetank_contract::{Backend, Instant, Op, Status, Wake};

use crate::lab::{Pair, Side};

/// Sleeps on one descriptor; whether it became readable.
fn sleep(side: &Side, ms: i64) -> bool {
    let fd = side.dev.notifier().expect("a device has one");
    let timeout = Timespec { tv_sec: ms / 1000, tv_nsec: (ms % 1000) * 1_000_000 };
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)).expect("poll(2)") == 1
}

/// Turns a device until it can be slept on; how often.
fn settle(side: &mut Side) -> u32 {
    let mut turns = 1;
    side.turn();
    while side.dev.wake() == Wake::Now {
        side.turn();
        turns += 1;
    }
    turns
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn an_idle_device_can_be_slept_on_and_nothing_wakes_it() {
    let Some(mut p) = Pair::open() else { return };
    for side in [&mut p.a, &mut p.b] {
        assert!(settle(side) <= 4);
        assert_eq!(side.dev.wake(), Wake::Notified { until: Instant::FAR });
        assert!(!sleep(side, 100), "nothing happened");
    }
    // After work, too: what woke is taken away.
    for _ in 0..3 {
        let (piece, remote) = (p.a.piece(0, 64), p.remote(0));
        let id = p.a.post(Op::Write { remote, imm: None }, &[piece]);
        assert_eq!(p.finish(id).status, Status::Success);
        assert!(settle(&mut p.a) <= 4);
        assert!(!sleep(&p.a, 100), "its event was taken");
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_completion_that_comes_between_the_poll_and_the_sleep_wakes() {
    let Some(mut p) = Pair::open() else { return };
    for round in 0..200u32 {
        settle(&mut p.a);
        let (piece, remote) = (p.a.piece(0, 64), p.remote(0));
        let id = p.a.post(Op::Write { remote, imm: None }, &[piece]);
        // Sometimes it has come before we look, sometimes it comes while we arm, sometimes while we sleep.
        for _ in 0..round % 7 {
            p.b.turn();
        }
        while p.a.of(id).is_none() {
            if p.a.dev.wake() != Wake::Now {
                assert!(sleep(&p.a, 10_000), "round {round}: a wake-up was lost");
            }
            p.a.turn();
        }
        p.a.done.clear();
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn two_sides_that_only_sleep_pass_messages_to_and_fro() {
    let Some(mut p) = Pair::open() else { return };
    let pieces = [p.a.piece(0, 8), p.b.piece(0, 8)];
    let mut receive = [p.a.post(Op::Recv, &[pieces[0]]), p.b.post(Op::Recv, &[pieces[1]])];
    p.a.post(Op::Send { imm: None }, &[pieces[0]]);
    for round in 0..200 {
        let at = 1 - round % 2;
        let side = if at == 0 { &mut p.a } else { &mut p.b };
        // Nobody turns the other side meanwhile: only this descriptor can tell.
        while side.of(receive[at]).is_none() {
            if side.dev.wake() != Wake::Now {
                assert!(sleep(side, 10_000), "round {round}: a wake-up was lost");
            }
            side.turn();
        }
        side.done.clear();
        receive[at] = side.post(Op::Recv, &[pieces[at]]);
        side.post(Op::Send { imm: None }, &[pieces[at]]);
    }
}
