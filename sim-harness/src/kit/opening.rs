//! Limits of what is opened: numbers that are taken up to the promise, and refused by name beyond it.

use wavetank_contract::error::OpenError;
use wavetank_contract::{Backend, CqId, EndpointSpec, PdId, SrqId};

use super::bench::{A, Bench};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, ensure, fail};
use crate::lab::Lab;

/// Of anything, as many are opened at most, however many more are promised.
const MANY: u32 = 256;

/// The deepest queue that is really opened.
const DEEP_MAX: u32 = 4096;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Limits, numbers_of_an_endpoint_are_refused_by_name),
        raw!(Limits, endpoints_are_as_deep_as_promised),
        raw!(Limits, completion_queues_are_as_deep_as_promised),
        raw!(Limits, a_completion_queue_deeper_than_promised_is_refused),
        raw!(Limits, queues_that_are_not_open_are_refused),
        raw!(Limits, as_many_endpoints_as_promised_are_open),
        raw!(Limits, as_many_completion_queues_as_promised_are_open),
        raw!(Limits, as_many_registrations_as_promised_are_alive),
    ]
}

fn numbers_of_an_endpoint_are_refused_by_name<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    type Tune = fn(&mut EndpointSpec, u32);
    let caps = b.caps(A).clone();
    let reads = u32::from(caps.rd_atomic_max) + 1;
    let numbers: [(&str, u32, Tune); 8] = [
        ("send_depth", 0, |spec, n| spec.send_depth = n),
        ("send_depth", caps.queue_depth_max + 1, |spec, n| spec.send_depth = n),
        ("recv_depth", caps.queue_depth_max + 1, |spec, n| spec.recv_depth = n),
        ("timeout", 32, |spec, n| spec.timeout = n as u8),
        ("retry_cnt", 8, |spec, n| spec.retry_cnt = n as u8),
        ("rnr_retry", 8, |spec, n| spec.rnr_retry = n as u8),
        ("max_rd_atomic", reads, |spec, n| spec.max_rd_atomic = n as u8),
        ("max_dest_rd_atomic", reads, |spec, n| spec.max_dest_rd_atomic = n as u8),
    ];
    for (name, number, tune) in numbers {
        if name.ends_with("rd_atomic") && number > 255 {
            // Nothing above the limit can be said.
            continue;
        }
        let mut spec = b.spec(A);
        tune(&mut spec, number);
        match b.device(A).open(&spec) {
            Ok(_) => fail!("a {name} that is not promised was taken"),
            Err(OpenError::OutOfRange { field, .. }) if field == name => b.note(format!("{name} refused")),
            Err(error) => fail!("a {name} that is not promised was refused as something else: {error}"),
        }
    }
    b.check()
}

fn endpoints_are_as_deep_as_promised<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let mut spec = b.spec(A);
    let depth = b.caps(A).queue_depth_max.min(DEEP_MAX);
    (spec.send_depth, spec.recv_depth) = (depth, depth);
    (spec.timeout, spec.retry_cnt, spec.rnr_retry) = (31, 6, 7);
    b.device(A).open(&spec).or_fail("an endpoint as deep as promised")?;
    b.check()
}

fn completion_queues_are_as_deep_as_promised<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let depth = b.caps(A).cq_depth_max.min(DEEP_MAX);
    b.device(A).open_cq(depth).or_fail("a completion queue as deep as promised")?;
    b.device(A).open_cq(1).or_fail("a completion queue of depth 1")?;
    b.check()
}

fn a_completion_queue_deeper_than_promised_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let over = b.caps(A).cq_depth_max.saturating_add(1);
    for depth in [0, over] {
        match b.device(A).open_cq(depth) {
            Err(OpenError::OutOfRange { .. }) => {}
            Ok(_) => fail!("a completion queue of a depth that is not promised was opened"),
            Err(error) => fail!("a depth that is not promised was refused as something else: {error}"),
        }
    }
    b.check()
}

fn queues_that_are_not_open_are_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let nowhere = CqId(0x7fff);
    for (of_sends, of_receives) in [(true, false), (false, true)] {
        let mut spec = b.spec(A);
        if of_sends {
            spec.send_cq = nowhere;
        }
        if of_receives {
            spec.recv_cq = nowhere;
        }
        let refused = b.device(A).open(&spec);
        let expected = Err(OpenError::UnknownCq(nowhere));
        ensure!(refused == expected, "an endpoint on an unknown queue: {refused:?}; expected {expected:?}");
    }
    let mut spec = b.spec(A);
    (spec.shared_receive, spec.recv_depth) = (Some(SrqId(0x7fff)), 0);
    let refused = b.device(A).open(&spec);
    let rightly = matches!(refused, Err(OpenError::UnknownSrq(_) | OpenError::NotPromised(_)));
    ensure!(rightly, "an endpoint on an unknown shared receive queue: {refused:?}");
    b.check()
}

fn as_many_endpoints_as_promised_are_open<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let mut spec = b.spec(A);
    (spec.send_depth, spec.recv_depth) = (1, 0);
    let promised = b.caps(A).endpoint_max;
    let mut opened = Vec::new();
    for n in 1..=promised.min(MANY) {
        let ep = b.device(A).open(&spec).or_fail(format!("endpoint {n} of as many as promised"))?;
        ensure!(!opened.contains(&ep), "two open endpoints have one name");
        opened.push(ep);
    }
    if promised <= MANY {
        let refused = b.device(A).open(&spec);
        ensure!(matches!(refused, Err(OpenError::TooMany { .. })), "one endpoint too many: {refused:?}");
    }
    // A place that is free again gets another name.
    b.device(A).close(opened[0]);
    let again = b.device(A).open(&spec).or_fail("an endpoint in the place of a closed one")?;
    ensure!(!opened.contains(&again), "an endpoint has the name of one that was open before");
    b.check()
}

fn as_many_completion_queues_as_promised_are_open<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    // The bench has one already.
    let promised = b.caps(A).cq_max.saturating_sub(1);
    let mut opened = vec![b.cq(A)];
    for n in 1..=promised.min(MANY) {
        let cq = b.device(A).open_cq(4).or_fail(format!("completion queue {n} of as many as promised"))?;
        ensure!(!opened.contains(&cq), "two open completion queues have one name");
        opened.push(cq);
    }
    if promised <= MANY {
        let refused = b.device(A).open_cq(4);
        ensure!(matches!(refused, Err(OpenError::TooMany { .. })), "one queue too many: {refused:?}");
    }
    b.check()
}

fn as_many_registrations_as_promised_are_alive<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    use wavetank_contract::Access;
    use wavetank_contract::error::RegisterError;
    let promised = b.caps(A).region_max.saturating_sub(1);
    let (region, mr) = b.main(A);
    let mut alive = vec![mr];
    for n in 1..=promised.min(MANY) {
        let mr = b.device(A).register(&region, PdId(0), Access::LOCAL);
        let mr = mr.or_fail(format!("registration {n} of as many as promised"))?;
        ensure!(!alive.contains(&mr), "two registrations have one name");
        alive.push(mr);
    }
    if promised <= MANY {
        let refused = b.device(A).register(&region, PdId(0), Access::LOCAL);
        ensure!(matches!(refused, Err(RegisterError::TooMany(_))), "one registration too many: {refused:?}");
    }
    for mr in alive.into_iter().skip(1) {
        b.device(A).deregister(mr).or_fail("ending a registration")?;
    }
    b.check()
}
