//! Giving up, through the engine: whatever ends a transfer, its memory comes back when the device is done with it, and not
//! before.

use wavetank_contract::{Op, OpKind, RemoteAddr, RkeyId, Status};
use wavetank_engine::session::SessionSpec;
use wavetank_engine::{RdmaOps, TransferError};

use super::bench::{A, B, MS};
use super::case::{Case, driven};
use super::engines::{BYTES, Engines};
use super::stop::{Ended, OrFail, ensure, fail};
use crate::lab::Lab;

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        driven!(Cancel, a_transfer_of_many_works_brings_every_byte, Reads),
        driven!(Cancel, a_cancelled_receive_keeps_its_memory_until_its_message_came),
        driven!(Cancel, a_cancelled_read_never_writes_memory_that_came_back, Reads),
        driven!(Cancel, a_passed_deadline_ends_the_transfer_and_keeps_its_memory),
        driven!(Cancel, a_dropped_future_keeps_its_memory),
        driven!(Cancel, closing_an_endpoint_returns_everything_at_once, Reads),
        driven!(Cancel, a_session_that_ends_returns_what_it_held),
        driven!(Cancel, a_refused_transfer_returns_its_memory_and_says_why),
    ]
}

fn a_transfer_of_many_works_brings_every_byte<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    let lease = e.lease(A, 4096, 300_003)?;
    let spec = e.spec(A, Op::Read { remote: e.at(A, 12_345) }, lease);
    e.submit(A, spec)?;
    let end = e.next_end(A)?;
    ensure!(end.result == Ok(300_003), "a transfer of many READs: {:?}", end.result);
    ensure!(e.brought(A, 4096, 12_345, 300_003), "a transfer of many READs brought wrong bytes");
    drop(end);
    ensure!(e.leases_out(A) == 0, "memory of a transfer that is done is still out");
    Ok(())
}

/// A receive that is still waiting, given up by `give_up`; then a message comes after all.
fn waits<L: Lab>(
    e: &mut Engines<'_, L>,
    why: &str,
    give_up: impl FnOnce(&mut Engines<'_, L>) -> Ended,
) -> Ended {
    e.turn()?;
    ensure!(e.leases_out(A) == 1, "a receive was posted without its memory");
    give_up(e)?;
    e.pass(5 * MS)?;
    e.pass(5 * MS)?;
    ensure!(e.leases_out(A) == 1, "{why}, and its memory came back while the device had it");
    let again = e.parties[A].own.lease(0, 4096);
    ensure!(again.is_none(), "memory that the device has was leased again");
    let message = e.lease(B, 0, 4096)?;
    message.write(0, &[0xc3; 4096]);
    let spec = e.spec(B, Op::Send { imm: None }, message);
    e.submit(B, spec)?;
    let sent = e.next_end(B)?;
    ensure!(sent.result == Ok(4096), "a message for a receive that was given up: {:?}", sent.result);
    e.until("the memory of a receive that was given up comes back", |e| e.leases_out(A) == 0)?;
    let mut landed = [0; 4096];
    e.parties[A].own.read(0, &mut landed);
    ensure!(landed == [0xc3; 4096], "the message did not land where its receive was");
    Ok(())
}

fn a_cancelled_receive_keeps_its_memory_until_its_message_came<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    let lease = e.lease(A, 0, 4096)?;
    let spec = e.spec(A, Op::Recv, lease);
    let id = e.submit(A, spec)?;
    waits(e, "a receive was cancelled", |e| {
        let now = e.now();
        ensure!(e.on(A, |driver, _| driver.cancel(id, now)), "a receive that waits could not be cancelled");
        let end = e.next_end(A)?;
        ensure!(end.result == Err(TransferError::Cancelled), "a cancelled receive: {:?}", end.result);
        ensure!(end.lease.is_none(), "a cancelled receive came with its memory");
        Ok(())
    })
}

fn a_passed_deadline_ends_the_transfer_and_keeps_its_memory<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    let lease = e.lease(A, 0, 4096)?;
    let mut spec = e.spec(A, Op::Recv, lease);
    let deadline = e.now() + 20 * MS;
    spec.deadline = deadline;
    e.submit(A, spec)?;
    waits(e, "a deadline passed", |e| {
        let end = e.next_end(A)?;
        let passed = matches!(end.result, Err(TransferError::DeadlinePassed { .. }));
        ensure!(passed, "a receive whose deadline passed: {:?}", end.result);
        ensure!(end.finished_at >= deadline, "a transfer ended before its deadline");
        ensure!(end.lease.is_none(), "a receive whose deadline passed came with its memory");
        Ok(())
    })
}

fn a_dropped_future_keeps_its_memory<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    let lease = e.lease(A, 0, 4096)?;
    let spec = e.spec(A, Op::Recv, lease);
    let now = e.now();
    let future = e.parties[A].engine.transfer(now, spec).or_fail("a transfer")?;
    waits(e, "a future was dropped", |_| {
        drop(future);
        Ok(())
    })
}

fn a_cancelled_read_never_writes_memory_that_came_back<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    const LEN: u64 = BYTES / 2;
    let lease = e.lease(A, 0, LEN)?;
    let spec = e.spec(A, Op::Read { remote: e.at(A, 0) }, lease);
    let id = e.submit(A, spec)?;
    e.turn()?;
    let now = e.now();
    ensure!(e.on(A, |driver, _| driver.cancel(id, now)), "a READ under way could not be cancelled");
    let end = e.next_end(A)?;
    ensure!(end.result == Err(TransferError::Cancelled), "a cancelled READ: {:?}", end.result);
    drop(end);
    e.until("the memory of a cancelled READ comes back", |e| e.leases_out(A) == 0)?;
    let ours = vec![0xa5; LEN as usize];
    e.parties[A].own.write(0, &ours);
    e.pass(50 * MS)?;
    let mut now = vec![0; LEN as usize];
    e.parties[A].own.read(0, &mut now);
    ensure!(now == ours, "a cancelled READ wrote memory that had come back");
    Ok(())
}

fn closing_an_endpoint_returns_everything_at_once<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    for n in 0..4 {
        let lease = e.lease(A, 65_536 * n, 65_536)?;
        let spec = e.spec(A, Op::Read { remote: e.at(A, 0) }, lease);
        e.submit(A, spec)?;
        let lease = e.lease(A, 524_288 + 4096 * n, 4096)?;
        let spec = e.spec(A, Op::Recv, lease);
        e.submit(A, spec)?;
    }
    let now = e.now();
    // Posted, and not looked after.
    e.on(A, |driver, _| driver.flush(now));
    ensure!(e.leases_out(A) == 8, "works were posted without their memory");
    e.on(A, |driver, ep| driver.context().close(ep));
    for _ in 0..8 {
        let end = e.next_end(A)?;
        let flushed = match &end.result {
            Err(TransferError::Failed { status, .. }) => *status == Status::WrFlushErr,
            Err(TransferError::Refused { .. }) => true,
            _ => false,
        };
        ensure!(flushed, "a transfer of an endpoint that was closed: {:?}", end.result);
        ensure!(end.lease.is_some(), "a transfer of an endpoint that was closed kept its memory");
    }
    ensure!(e.leases_out(A) == 0, "memory of an endpoint that was closed is still out");
    let ours = vec![0xa5; BYTES as usize];
    e.parties[A].own.write(0, &ours);
    e.pass(50 * MS)?;
    let mut now = vec![0; BYTES as usize];
    e.parties[A].own.read(0, &mut now);
    ensure!(now == ours, "an endpoint that was closed wrote memory that had come back");
    Ok(())
}

fn a_session_that_ends_returns_what_it_held<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    let now = e.now();
    let ttl_ns = 20 * MS;
    let session =
        e.on(A, |driver, ep| driver.create_session(now, SessionSpec { peer: 0, ep: Some(ep), ttl_ns }));
    let session = session.or_fail("a session")?;
    let lease = e.lease(A, 0, 4096)?;
    let mut spec = e.spec(A, Op::Recv, lease);
    spec.session = Some(session);
    e.submit(A, spec)?;
    e.turn()?;
    ensure!(e.leases_out(A) == 1, "a receive was posted without its memory");
    let end = e.next_end(A)?;
    let over = matches!(end.result, Err(TransferError::SessionEnded | TransferError::Failed { .. }));
    ensure!(over, "a receive of a session that expired: {:?}", end.result);
    ensure!(e.now() >= now + ttl_ns, "a session ended before its time");
    drop(end);
    e.until("the memory of a session that ended comes back", |e| e.leases_out(A) == 0)?;
    let state = e.on(A, |driver, ep| driver.context().state(ep));
    ensure!(state.is_none(), "the endpoint of a session that ended is in {state:?}");
    Ok(())
}

fn a_refused_transfer_returns_its_memory_and_says_why<L: Lab>(e: &mut Engines<'_, L>) -> Ended {
    let lease = e.lease(A, 0, 100_000)?;
    let RemoteAddr { rkey, addr } = e.at(A, 0);
    let forged = RemoteAddr { rkey: RkeyId(rkey.0 ^ 0x5a), addr };
    let spec = e.spec(A, Op::Write { remote: forged, imm: None }, lease);
    e.submit(A, spec)?;
    let end = e.next_end(A)?;
    match &end.result {
        Err(TransferError::Failed { status: Status::RemAccessErr, kind: OpKind::Write, .. }) => {}
        other => fail!("a transfer with a key that nobody gave out: {other:?}"),
    }
    ensure!(end.lease.is_some(), "a transfer that failed came without its memory");
    drop(end);
    ensure!(e.leases_out(A) == 0, "memory of a transfer that failed is still out");
    Ok(())
}
