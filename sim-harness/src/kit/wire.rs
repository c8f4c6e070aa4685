//! What happens when the wire is disturbed: repaired in silence, or told.

use wavetank_contract::{AsyncEvent, EndpointSpec, OpKind, Status};

use super::bench::{A, B, Bench, MS, PLAIN};
use super::case::{Case, raw};
use super::stop::{Ended, ensure};
use super::work::{add, read, recv, send, write};
use crate::lab::{Cause, DeviceFault, Lab, LinkFault};

/// The nodes of the two sides.
const AT_A: u16 = A as u16;
const AT_B: u16 = B as u16;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Errors, a_wire_that_is_cut_on_the_way_there_uses_up_the_retries),
        raw!(Errors, a_wire_that_is_cut_on_the_way_back_uses_up_the_retries),
        raw!(Errors, a_short_outage_costs_time_and_nothing_else),
        raw!(Errors, lost_packets_are_sent_again, Reads),
        raw!(Errors, a_lost_request_is_sent_again),
        raw!(Errors, a_lost_answer_does_nothing_twice, Atomics),
        raw!(Events, a_link_that_goes_down_and_up_is_told, AsyncEvents),
    ]
}

/// Gives up after three times 4 ms.
fn impatient(spec: &mut EndpointSpec) {
    (spec.timeout, spec.retry_cnt) = (10, 2);
}

fn cut<L: Lab>(b: &mut Bench<'_, L>, from: u16, to: u16) -> Ended {
    let (x, _) = b.pair_with(&impatient, PLAIN)?;
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], b.at(x, 4096))])?;
    b.good(x, [1])?;
    b.copied((A, 0), (B, 4096), 64);
    b.inject(Cause::Link { from, to, fault: LinkFault::Cut })?;
    let here = b.piece(A, 64, 64);
    b.go(x, &[write(2, &[here], b.at(x, 8192)), write(3, &[here], b.at(x, 8192))])?;
    b.sends(x, &[(2, Status::RetryExcErr), (3, Status::WrFlushErr)])?;
    b.becomes_dead(x)
}

fn a_wire_that_is_cut_on_the_way_there_uses_up_the_retries<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    cut(b, AT_A, AT_B)?;
    b.check()
}

fn a_wire_that_is_cut_on_the_way_back_uses_up_the_retries<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    cut(b, AT_B, AT_A)?;
    // The request may have been carried out, whatever became of its answer.
    b.forgive(B, 8192, 64);
    b.check()
}

fn a_short_outage_costs_time_and_nothing_else<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    // Mending a wire takes a while on a real machine: patience for two seconds.
    let (x, y) = b.pair_with(&|spec| spec.timeout = 16, PLAIN)?;
    b.go(y, &[recv(9, &[b.piece(B, 131_072, 9000)])])?;
    b.inject(Cause::Link { from: AT_A, to: AT_B, fault: LinkFault::Cut })?;
    b.inject(Cause::Link { from: AT_B, to: AT_A, fault: LinkFault::Cut })?;
    b.go(x, &[send(1, &[b.piece(A, 0, 9000)]), write(2, &[b.piece(A, 9000, 9000)], b.at(x, 200_000))])?;
    let soon = b.now() + 100 * MS;
    b.look_until(soon)?;
    ensure!(!b.is_idle(), "works were done over a wire that was cut");
    b.check()?;
    b.inject(Cause::Mend { from: AT_A, to: AT_B })?;
    b.inject(Cause::Mend { from: AT_B, to: AT_A })?;
    b.good(x, [1, 2])?;
    b.meets(y, 9, OpKind::Send, 9000, None)?;
    b.copied((A, 0), (B, 131_072), 9000);
    b.copied((A, 9000), (B, 200_000), 9000);
    b.check()
}

fn lost_packets_are_sent_again<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let tune = |spec: &mut EndpointSpec| spec.timeout = 8;
    let (x, y) = b.pair_with(&tune, &tune)?;
    b.inject(Cause::Link { from: AT_A, to: AT_B, fault: LinkFault::LoseOneIn { n: 20, burst: 1 } })?;
    b.inject(Cause::Link { from: AT_B, to: AT_A, fault: LinkFault::LoseOneIn { n: 20, burst: 1 } })?;
    for id in 0..30u64 {
        let (at, len) = (2048 * id, 1500 + id as u32);
        b.go(y, &[recv(id, &[b.piece(B, 4096 * id, 4096)])])?;
        let works = [
            send(3 * id, &[b.piece(A, at, len)]),
            write(3 * id + 1, &[b.piece(A, at + 7, len)], b.at(x, 131_072 + at)),
            read(3 * id + 2, &[b.piece(A, 131_072 + at, len)], b.at(x, 200_000 + 64 * id)),
        ];
        b.go(x, &works)?;
        b.good(x, 3 * id..3 * id + 3)?;
        b.meets(y, id, OpKind::Send, len, None)?;
        let (id, at) = (id as usize, at as usize);
        b.copied((A, at), (B, 4096 * id), len);
        b.copied((A, at + 7), (B, 131_072 + at), len);
        b.copied((B, 200_000 + 64 * id), (A, 131_072 + at), len);
        b.check()?;
    }
    Ok(())
}

fn a_lost_request_is_sent_again<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair_with(&|spec| spec.timeout = 8, PLAIN)?;
    for nth in 0..4u64 {
        let at = 20_000 * nth;
        b.go(y, &[recv(nth, &[b.piece(B, at, 20_000)])])?;
        b.inject(Cause::Link { from: AT_A, to: AT_B, fault: LinkFault::LoseNth { nth } })?;
        b.go(x, &[send(nth, &[b.piece(A, at + 11, 20_000)])])?;
        b.good(x, [nth])?;
        b.meets(y, nth, OpKind::Send, 20_000, None)?;
        b.copied((A, at as usize + 11), (B, at as usize), 20_000);
        b.check()?;
    }
    Ok(())
}

fn a_lost_answer_does_nothing_twice<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair_with(&|spec| spec.timeout = 8, PLAIN)?;
    b.put(B, 1024, &7u64.to_le_bytes());
    for nth in 0..3u64 {
        b.inject(Cause::Link { from: AT_B, to: AT_A, fault: LinkFault::LoseNth { nth: 0 } })?;
        b.go(x, &[add(nth, b.piece(A, 512, 8), b.at(x, 1024), 100)])?;
        b.good(x, [nth])?;
        b.announce(A, 512, &(7 + 100 * nth).to_le_bytes());
        b.announce(B, 1024, &(107 + 100 * nth).to_le_bytes());
        b.check()?;
    }
    Ok(())
}

fn a_link_that_goes_down_and_up_is_told<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    b.inject(Cause::Device { node: AT_A, fault: DeviceFault::PortDown })?;
    b.event(A, AsyncEvent::PortErr)?;
    b.inject(Cause::Device { node: AT_A, fault: DeviceFault::PortUp })?;
    b.event(A, AsyncEvent::PortActive)
}
