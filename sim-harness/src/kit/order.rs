//! What comes before what: completions, messages, fences, bytes.

use wavetank_contract::{Backend, OpKind, Status};

use super::bench::{A, B, Bench, DEADLINE_NS, MS, PLAIN};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, ensure, fail};
use super::work::{W, read, recv, send, write};
use crate::lab::Lab;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Order, completions_come_in_post_order_whatever_the_verbs, Reads),
        raw!(Order, messages_meet_receives_in_post_order),
        raw!(Order, a_message_behind_a_write_finds_it_placed),
        raw!(Order, a_read_behind_a_write_sees_it, Reads),
        raw!(Order, a_fenced_write_waits_for_the_reads_before_it, Reads),
        raw!(Order, bytes_of_a_message_are_placed_in_order, DataInOrder),
        raw!(Order, unsignalled_works_are_silent_and_done),
        raw!(Order, a_signalled_work_frees_the_slots_before_it),
        raw!(Order, endpoints_share_a_completion_queue_and_keep_their_own_order, Reads),
        raw!(Order, sends_and_receives_complete_where_they_were_told),
    ]
}

fn completions_come_in_post_order_whatever_the_verbs<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    let receives: Vec<W> = (0..20).map(|id| recv(id, &[b.piece(B, 250_000, 64)])).collect();
    b.go(y, &receives)?;
    let works: Vec<W> = (0..60u64)
        .map(|id| match id % 3 {
            0 => read(id, &[b.piece(A, 131_072, 20_000)], b.at(x, 131_072)),
            1 => write(id, &[b.piece(A, 0, 8)], b.at(x, 64)),
            _ => send(id, &[b.piece(A, 0, 16)]),
        })
        .collect();
    b.go(x, &works)?;
    b.good(x, 0..60)?;
    let expected: Vec<_> = (0..20).map(|id| (id, Status::Success)).collect();
    b.receives(y, &expected)?;
    b.copied((B, 131_072), (A, 131_072), 20_000);
    b.copied((A, 0), (B, 64), 8);
    b.copied((A, 0), (B, 250_000), 16);
    b.check()
}

fn messages_meet_receives_in_post_order<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    let receives: Vec<W> = (0..32).map(|id| recv(id, &[b.piece(B, 4096 * id, 4096)])).collect();
    b.go(y, &receives)?;
    let sends: Vec<W> = (0..32).map(|id| send(id, &[b.piece(A, 5003 * id, 100 + id as u32)])).collect();
    b.go(x, &sends)?;
    b.good(x, 0..32)?;
    for id in 0..32u64 {
        b.meets(y, id, OpKind::Send, 100 + id as u32, None)?;
        b.copied((A, 5003 * id as usize), (B, 4096 * id as usize), 100 + id as u32);
    }
    b.check()
}

fn a_message_behind_a_write_finds_it_placed<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    for id in 0..8u64 {
        b.go(y, &[recv(id, &[b.piece(B, 0, 8)])])?;
        let from = 8192 * id;
        let works = [
            write(2 * id, &[b.piece(A, from, 60_000)], b.at(x, 131_072)),
            send(2 * id + 1, &[b.piece(A, 8, 8)]),
        ];
        b.go(x, &works)?;
        b.copied((A, from as usize), (B, 131_072), 60_000);
        b.copied((A, 8), (B, 0), 8);
        // The message is here: so is what was written before it, whatever the sender knows by now.
        b.meets(y, id, OpKind::Send, 8, None)?;
        b.check()?;
        b.good(x, [2 * id, 2 * id + 1])?;
    }
    Ok(())
}

fn a_read_behind_a_write_sees_it<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    for id in 0..8u64 {
        let from = 8192 * id;
        let works = [
            write(2 * id, &[b.piece(A, from, 30_000)], b.at(x, 131_072)),
            read(2 * id + 1, &[b.piece(A, 200_000, 30_000)], b.at(x, 131_072)),
        ];
        b.go(x, &works)?;
        b.good(x, [2 * id, 2 * id + 1])?;
        b.copied((A, from as usize), (B, 131_072), 30_000);
        b.copied((A, from as usize), (A, 200_000), 30_000);
        b.check()?;
    }
    Ok(())
}

fn a_fenced_write_waits_for_the_reads_before_it<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let works = [
        read(1, &[b.piece(A, 131_072, 100_000)], b.at(x, 0)),
        write(2, &[b.piece(A, 250_000, 8)], b.at(x, 99_992)).fenced(),
    ];
    b.go(x, &works)?;
    b.good(x, [1, 2])?;
    // The READ brought what was there before the WRITE.
    b.copied((B, 0), (A, 131_072), 100_000);
    b.copied((A, 250_000), (B, 99_992), 8);
    b.check()
}

fn bytes_of_a_message_are_placed_in_order<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    const LEN: usize = 100_000;
    const TO: usize = 131_072;
    let (x, _) = b.pair()?;
    // On a real machine, looking takes a CPU that others need too.
    let step_ns = if b.caps(A).simulated { 100 } else { 50_000 };
    let (new, old) = (b.get(A, 0, LEN), b.must_hold(B, TO, LEN).to_vec());
    b.go(x, &[write(1, &[b.piece(A, 0, LEN as u32)], b.at(x, TO as u64))])?;
    let deadline = b.now() + DEADLINE_NS;
    loop {
        let now = b.get(B, TO, LEN);
        let placed = now.iter().zip(&new).take_while(|(now, new)| now == new).count();
        // The first byte may have changed between the two looks of one copy: a word's width is let go.
        let beyond = now[placed..].iter().zip(&old[placed..]).position(|(now, old)| now != old);
        if beyond.is_some_and(|beyond| beyond >= 8) {
            fail!("a byte was placed before one that comes before it");
        }
        if placed == LEN {
            break;
        }
        ensure!(b.now() < deadline, "a WRITE never arrived");
        b.pass(step_ns);
    }
    b.good(x, [1])?;
    b.copied((A, 0), (B, TO), LEN as u32);
    b.check()
}

fn unsignalled_works_are_silent_and_done<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    b.go(y, &[recv(1, &[b.piece(B, 100_000, 100)])])?;
    let works = [
        write(1, &[b.piece(A, 0, 5000)], b.at(x, 131_072)).silent(),
        send(2, &[b.piece(A, 6000, 100)]).silent(),
        write(3, &[b.piece(A, 7000, 100)], b.at(x, 150_000)),
        write(4, &[b.piece(A, 8000, 100)], b.at(x, 160_000)).silent(),
        write(5, &[b.piece(A, 9000, 100)], b.at(x, 170_000)),
    ];
    b.go(x, &works)?;
    b.good(x, [3, 5])?;
    b.meets(y, 1, OpKind::Send, 100, None)?;
    b.copied((A, 0), (B, 131_072), 5000);
    b.copied((A, 6000), (B, 100_000), 100);
    for (from, to) in [(7000, 150_000), (8000, 160_000), (9000, 170_000)] {
        b.copied((A, from), (B, to), 100);
    }
    b.check()
}

fn a_signalled_work_frees_the_slots_before_it<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    const DEPTH: u64 = 8;
    let (x, _) = b.pair_with(&|spec| spec.send_depth = DEPTH as u32, PLAIN)?;
    for round in 0..5 {
        let last = DEPTH * (round + 1) - 1;
        let works: Vec<W> = (DEPTH * round..=last)
            .map(|id| {
                let work = write(id, &[b.piece(A, 64 * id, 64)], b.at(x, 131_072 + 64 * id));
                if id == last { work } else { work.silent() }
            })
            .collect();
        b.go(x, &works)?;
        b.good(x, [last])?;
    }
    b.copied((A, 0), (B, 131_072), 64 * 5 * DEPTH as u32);
    b.check()
}

fn endpoints_share_a_completion_queue_and_keep_their_own_order<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    const LENS: [u32; 4] = [9000, 8, 3000, 500];
    let mut ends = Vec::new();
    for _ in LENS {
        ends.push(b.pair()?.0);
    }
    for round in 0..20 {
        for (n, x) in (0u64..).zip(&ends) {
            let id = 1000 * n + round;
            b.go(*x, &[read(id, &[b.piece(A, 9000 * n, LENS[n as usize])], b.at(*x, 65_536))])?;
        }
    }
    for (n, x) in (0u64..).zip(&ends) {
        b.good(*x, 1000 * n..1000 * n + 20)?;
    }
    for (n, len) in LENS.into_iter().enumerate() {
        b.copied((B, 65_536), (A, 9000 * n), len);
    }
    b.check()
}

fn sends_and_receives_complete_where_they_were_told<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let other = b.device(B).open_cq(16).or_fail("b: a completion queue")?;
    // Where devices shake hands, what they say of it comes there, too.
    b.poll_too(B, other);
    let (x, y) = b.pair_with(PLAIN, &|spec| spec.recv_cq = other)?;
    b.poll_no_more(B, other);
    b.go(y, &[recv(1, &[b.piece(B, 0, 8)]), write(2, &[b.piece(B, 64, 8)], b.at(y, 64))])?;
    b.good(y, [2])?;
    // Nobody polls at B until both are surely there.
    b.leave_alone(B);
    b.go(x, &[send(3, &[b.piece(A, 0, 8)])])?;
    b.good(x, [3])?;
    b.pass(20 * MS);
    b.attend(B);
    let main = b.cq(B);
    ensure!(b.poll(B, main)? == 0, "b: the queue for sends holds a receive");
    ensure!(b.poll(B, other)? == 1, "b: the queue for receives does not hold the one receive");
    b.meets(y, 1, OpKind::Send, 8, None)?;
    b.copied((A, 0), (B, 0), 8);
    b.copied((B, 64), (A, 64), 8);
    b.check()
}
