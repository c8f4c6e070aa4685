//! Connecting and closing: once each, with whom it was agreed, and nothing afterwards.

use wavetank_contract::error::{ConnectError, ModifyError, PostError};
use wavetank_contract::{Access, Backend, EndpointAddress, EpId, OpKind, QpState};

use super::bench::{A, B, Bench, End, MS, PLAIN, bytes};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, ensure};
use super::work::{W, read, recv, send, write};
use crate::lab::Lab;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Teardown, bytes_that_are_no_address_are_refused),
        raw!(Teardown, an_endpoint_connects_once),
        raw!(Teardown, an_endpoint_that_is_not_open_is_refused_everywhere),
        raw!(Teardown, a_closed_endpoint_takes_its_completions_along),
        raw!(Teardown, memory_is_free_once_its_endpoint_is_closed, Reads),
        raw!(Teardown, receives_are_free_once_their_endpoint_is_closed),
        raw!(Teardown, closing_leaves_the_other_endpoints_of_a_queue),
        raw!(Teardown, endpoints_come_and_go_on_one_device),
        raw!(Teardown, what_is_promised_makes_sense),
    ]
}

fn bytes_that_are_no_address_are_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = (b.open(A, PLAIN)?, b.open(B, PLAIN)?);
    let own = b.device(B).address(y.ep).or_fail("the address of an open endpoint")?.as_bytes().to_vec();
    let longer = [&own[..], &[0]].concat();
    let garbled: Vec<u8> = own.iter().map(|byte| !byte).collect();
    for (what, wrong) in [
        ("no bytes", &[][..]),
        ("one byte", &own[..1]),
        ("all but the last byte of an address", &own[..own.len() - 1]),
        ("an address and a byte", &longer),
        ("the complement of an address", &garbled),
    ] {
        let address = EndpointAddress::from_bytes(wrong).or_fail("a short address")?;
        let refused = b.device(A).connect(x.ep, &address);
        let rightly =
            matches!(refused, Err(ConnectError::Malformed { len_bytes, .. }) if len_bytes == wrong.len());
        ensure!(rightly, "connecting to {what}: {refused:?}; expected Malformed");
    }
    // A refused call changes nothing.
    b.connect(x, y)?;
    b.go(y, &[recv(1, &[b.piece(B, 4096, 64)])])?;
    b.go(x, &[send(1, &[b.piece(A, 0, 64)])])?;
    b.good(x, [1])?;
    b.meets(y, 1, OpKind::Send, 64, None)?;
    b.copied((A, 0), (B, 4096), 64);
    b.check()
}

fn an_endpoint_connects_once<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    let address = b.device(B).address(y.ep).or_fail("the address of an open endpoint")?;
    let again = b.device(A).connect(x.ep, &address);
    let rightly = matches!(again, Err(ConnectError::WrongState { .. }));
    ensure!(rightly, "connecting twice: {again:?}; expected WrongState");
    // The connection it had is as it was.
    b.go(x, &[write(1, &[b.piece(A, 0, 64)], b.at(x, 4096))])?;
    b.good(x, [1])?;
    b.copied((A, 0), (B, 4096), 64);
    b.check()
}

fn an_endpoint_that_is_not_open_is_refused_everywhere<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    let address = b.device(B).address(y.ep).or_fail("the address of an open endpoint")?;
    b.close(x);
    for ep in [x.ep, EpId(0x7fff)] {
        let end = End { side: A, ep };
        let device = b.device(A);
        ensure!(device.state(ep).is_none(), "an endpoint that is not open has a state");
        ensure!(device.address(ep).is_none(), "an endpoint that is not open has an address");
        let connected = device.connect(ep, &address);
        ensure!(connected == Err(ConnectError::Unknown(ep)), "connecting it: {connected:?}");
        let moved = device.modify(ep, QpState::Err);
        let rightly = matches!(moved, Err(ModifyError::Unknown(_) | ModifyError::Unsupported));
        ensure!(rightly, "moving it: {moved:?}");
        // Closing what is closed is nothing.
        device.close(ep);
        let unknown = |error: &PostError| *error == PostError::Unknown(ep);
        b.is_refused(end, &send(1, &[]), unknown)?;
        b.is_refused(end, &recv(2, &[]), unknown)?;
    }
    b.check()
}

fn a_closed_endpoint_takes_its_completions_along<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let ((x, _), (other, _)) = (b.pair()?, b.pair()?);
    let works: Vec<W> =
        (0..10).map(|id| write(id, &[b.piece(A, 64 * id, 64)], b.at(x, 4096 + 64 * id))).collect();
    b.go(x, &works)?;
    // They are done, and in the queue.
    b.pass(50 * MS);
    b.copied((A, 0), (B, 4096), 640);
    b.check()?;
    b.close(x);
    b.go(other, &[write(20, &[b.piece(A, 1000, 64)], b.at(other, 8192))])?;
    b.good(other, [20])?;
    b.copied((A, 1000), (B, 8192), 64);
    b.idle(20 * MS)?;
    b.check()
}

fn memory_is_free_once_its_endpoint_is_closed<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, _) = b.pair()?;
    let target = b.extra(A, 1 << 20, 0, Access::LOCAL)?;
    let works: Vec<W> =
        (0..8u64).map(|id| read(id, &[target.piece(100_000 * id, 100_000)], b.at(x, 1000 * id))).collect();
    b.go(x, &works)?;
    b.close(x);
    // Ours again: nothing of the READs comes any more.
    let ours = vec![0xa5; 1 << 20];
    target.mem.write(0, &ours);
    b.idle(100 * MS)?;
    ensure!(bytes(&target.mem, 0, 1 << 20) == ours, "a closed endpoint still wrote memory");
    b.device(A).deregister(target.mr).or_fail("ending the registration")?;
    b.check()
}

fn receives_are_free_once_their_endpoint_is_closed<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair_with(&|spec| (spec.timeout, spec.retry_cnt) = (8, 1), PLAIN)?;
    let target = b.extra(B, 65_536, 0, Access::LOCAL)?;
    b.go(y, &[recv(1, &[target.piece(0, 65_536)])])?;
    b.close(y);
    ensure!(target.is_untouched(), "closing an endpoint changed memory");
    b.go(x, &[send(1, &[b.piece(A, 0, 64)]).silent()])?;
    b.pass(50 * MS);
    ensure!(target.is_untouched(), "a closed endpoint still took a message");
    b.close(x);
    b.device(B).deregister(target.mr).or_fail("ending the registration")?;
    b.check()
}

fn closing_leaves_the_other_endpoints_of_a_queue<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (closing, staying) = (b.pair()?, b.pair()?);
    for round in 0..10u64 {
        for (n, (x, y)) in (0u64..).zip([closing, staying]) {
            let (id, at) = (100 * n + round, 64 * (100 * n + round));
            b.go(y, &[recv(id, &[b.piece(B, 65_536 + at, 64)])])?;
            b.go(x, &[send(id, &[b.piece(A, at, 64)])])?;
            b.copied((A, at as usize), (B, 65_536 + at as usize), 64);
        }
    }
    b.pass(50 * MS);
    b.close(closing.0);
    b.close(closing.1);
    b.good(staying.0, 100..110)?;
    for id in 100..110 {
        b.meets(staying.1, id, OpKind::Send, 64, None)?;
    }
    b.check()
}

fn endpoints_come_and_go_on_one_device<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    for life in 0..20u64 {
        let (x, y) = b.pair()?;
        let at = 100 * life;
        b.go(y, &[recv(life, &[b.piece(B, 65_536 + at, 64)])])?;
        b.go(x, &[send(life, &[b.piece(A, at, 64)])])?;
        b.good(x, [life])?;
        b.meets(y, life, OpKind::Send, 64, None)?;
        b.copied((A, at as usize), (B, 65_536 + at as usize), 64);
        b.close(x);
        b.close(y);
    }
    b.check()
}

fn what_is_promised_makes_sense<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    for side in [A, B] {
        let caps = b.caps(side).clone();
        for (what, number) in [
            ("queue_depth_max", u64::from(caps.queue_depth_max)),
            ("cq_depth_max", caps.cq_depth_max.into()),
            ("cq_max", caps.cq_max.into()),
            ("endpoint_max", caps.endpoint_max.into()),
            ("region_max", caps.region_max.into()),
            ("region_bytes_max", caps.region_bytes_max),
            ("message_bytes_max", caps.message_bytes_max.into()),
            ("sge_max", caps.sge_max.into()),
        ] {
            ensure!(number > 0, "a device with a {what} of 0 can do nothing");
        }
        let named = caps
            .name
            .split_once('/')
            .is_some_and(|(backend, device)| !backend.is_empty() && !device.is_empty());
        ensure!(named, "a device's name is its backend and device, like mock/cx6");
        ensure!(!caps.atomics || caps.rd_atomic_max > 0, "atomics without room for one");
        ensure!(b.device(side).caps() == &caps, "promises changed on the way");
    }
    b.check()
}
