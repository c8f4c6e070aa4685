//! What a peer refuses: keys, ranges, rights, domains, receives; and what is left standing.

use wavetank_contract::{Access, Backend, OpKind, QpState, RemoteAddr, RnrTimer, Sge, Status};

use super::bench::{A, B, Bench, End, MS, PLAIN, Tune};
use super::case::{Case, raw};
use super::stop::{Ended, OrFail, Stop, ensure};
use super::work::{W, add, read, recv, send, swap, write};
use crate::lab::Lab;

const FLUSHED: Status = Status::WrFlushErr;

/// Peers may WRITE and nothing else.
const WRITE_ONLY: Access =
    Access { local_write: true, remote_read: false, remote_write: true, remote_atomic: false };

/// Peers may READ and nothing else.
const READ_ONLY: Access =
    Access { local_write: true, remote_read: true, remote_write: false, remote_atomic: false };

pub(super) fn cases<L: Lab>() -> Vec<Case<L>> {
    vec![
        raw!(Errors, a_write_with_a_key_that_nobody_gave_out_is_refused),
        raw!(Errors, a_read_with_a_key_that_nobody_gave_out_is_refused, Reads),
        raw!(Errors, a_key_of_an_ended_registration_is_refused),
        raw!(Errors, a_write_one_byte_past_a_region_is_refused),
        raw!(Errors, a_read_one_byte_past_a_region_is_refused, Reads),
        raw!(Errors, a_write_one_byte_before_a_region_is_refused),
        raw!(Errors, a_write_that_a_registration_does_not_allow_is_an_access_error),
        raw!(Errors, a_read_that_a_registration_does_not_allow_is_an_access_error, Reads),
        raw!(Errors, an_atomic_that_a_registration_does_not_allow_is_an_access_error, Atomics),
        raw!(Errors, a_region_of_another_domain_is_refused),
        raw!(Errors, a_write_that_an_endpoint_does_not_allow_is_an_invalid_request),
        raw!(Errors, a_read_that_an_endpoint_does_not_allow_is_an_invalid_request, Reads),
        raw!(Errors, a_misaligned_atomic_is_refused, Atomics),
        raw!(Errors, a_message_longer_than_its_receive_fails_at_both_ends),
        raw!(Errors, a_receive_without_local_write_fails_at_both_ends),
        raw!(Errors, a_message_without_a_receive_uses_up_its_retries),
        raw!(Errors, a_receive_posted_in_time_saves_the_message),
    ]
}

/// A bad work with others before and behind it: the one before is done, the bad one ends as it must, those behind are
/// flushed, and no byte changes that should not.
fn refused<L: Lab>(
    b: &mut Bench<'_, L>,
    of_b: Tune<'_>,
    status: Status,
    bad: impl FnOnce(&mut Bench<'_, L>, End) -> Result<W, Stop>,
) -> Ended {
    let (x, y) = b.pair_with(PLAIN, of_b)?;
    let (here, there) = (b.piece(A, 5000, 100), b.at(x, 7777));
    let mut spec = b.spec(B);
    of_b(&mut spec);
    if spec.access.remote_write {
        b.go(x, &[write(1, &[here], there)])?;
        b.good(x, [1])?;
        b.copied((A, 5000), (B, 7777), 100);
    }
    let bad = bad(b, x)?;
    // A SEND behind it would be refused for a reason of its own: it has no receive.
    let behind = [bad, write(3, &[here], b.at(x, 9999)), write(4, &[here], b.at(x, 9999)).silent()];
    b.go(x, &behind)?;
    b.sends(x, &[(2, status), (3, FLUSHED), (4, FLUSHED)])?;
    b.becomes_dead(x)?;
    b.becomes_dead(y)?;
    b.check()
}

/// What most bad works move.
fn piece<L: Lab>(b: &Bench<'_, L>) -> [Sge; 1] {
    [b.piece(A, 20_000, 64)]
}

fn a_write_with_a_key_that_nobody_gave_out_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    refused(b, PLAIN, Status::RemAccessErr, |b, x| Ok(write(2, &piece(b), b.forged(x, 64))))
}

fn a_read_with_a_key_that_nobody_gave_out_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    refused(b, PLAIN, Status::RemAccessErr, |b, x| Ok(read(2, &piece(b), b.forged(x, 64))))
}

fn a_key_of_an_ended_registration_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    refused(b, PLAIN, Status::RemAccessErr, |b, x| {
        let gone = b.extra(B, 8192, 0, Access::ALL)?;
        let to = b.to(x, &gone)?;
        b.device(B).deregister(gone.mr).or_fail("b: deregistering")?;
        Ok(write(2, &piece(b), to))
    })
}

/// A work on another region of the peer, registered like this; it is refused and changes nothing there.
fn on_region<L: Lab>(
    b: &mut Bench<'_, L>,
    pd: u16,
    access: Access,
    bad: impl FnOnce(&Bench<'_, L>, RemoteAddr) -> W,
) -> Ended {
    let mut region = None;
    refused(b, PLAIN, Status::RemAccessErr, |b, x| {
        let there = b.extra(B, 8192, pd, access)?;
        let to = b.to(x, &there)?;
        region = Some(there);
        Ok(bad(b, to))
    })?;
    let untouched = region.is_some_and(|there| there.is_untouched());
    ensure!(untouched, "a refused work changed memory all the same");
    Ok(())
}

/// An address in a region of 8192 bytes where 64 do not fit.
fn beside(to: RemoteAddr, offset: u64) -> RemoteAddr {
    RemoteAddr { addr: to.addr.wrapping_add(offset), ..to }
}

fn a_write_one_byte_past_a_region_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    on_region(b, 0, Access::ALL, |b, to| write(2, &piece(b), beside(to, 8192 - 63)))
}

fn a_read_one_byte_past_a_region_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    on_region(b, 0, Access::ALL, |b, to| read(2, &piece(b), beside(to, 8192 - 63)))
}

fn a_write_one_byte_before_a_region_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    on_region(b, 0, Access::ALL, |b, to| write(2, &piece(b), beside(to, u64::MAX)))
}

fn a_write_that_a_registration_does_not_allow_is_an_access_error<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    on_region(b, 0, READ_ONLY, |b, to| write(2, &piece(b), to))
}

fn a_read_that_a_registration_does_not_allow_is_an_access_error<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    on_region(b, 0, WRITE_ONLY, |b, to| read(2, &piece(b), to))
}

fn an_atomic_that_a_registration_does_not_allow_is_an_access_error<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let rights = Access { remote_read: true, ..WRITE_ONLY };
    on_region(b, 0, rights, |b, to| add(2, b.piece(A, 20_000, 8), to, 1))
}

fn a_region_of_another_domain_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    on_region(b, 1, Access::ALL, |b, to| write(2, &piece(b), to))
}

fn a_write_that_an_endpoint_does_not_allow_is_an_invalid_request<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let tune: Tune<'_> = &|spec| spec.access = READ_ONLY;
    refused(b, tune, Status::RemInvReqErr, |b, x| Ok(write(2, &piece(b), b.at(x, 64))))
}

fn a_read_that_an_endpoint_does_not_allow_is_an_invalid_request<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let tune: Tune<'_> = &|spec| spec.access = WRITE_ONLY;
    refused(b, tune, Status::RemInvReqErr, |b, x| Ok(read(2, &piece(b), b.at(x, 64))))
}

fn a_misaligned_atomic_is_refused<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    for (id, off) in (0u64..).zip([1, 4, 7]) {
        let (x, _) = b.pair()?;
        let (piece, to) = (b.piece(A, 512, 8), b.at(x, 1024 + off));
        let work = if id == 1 { swap(id, piece, to, 1, 2) } else { add(id, piece, to, 1) };
        b.is_refused_or_fails(x, &work, Status::RemInvReqErr)?;
        b.check()?;
    }
    Ok(())
}

fn a_message_longer_than_its_receive_fails_at_both_ends<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    b.go(y, &[recv(9, &[b.piece(B, 131_072, 60)]), recv(10, &[])])?;
    b.go(x, &[send(2, &[b.piece(A, 0, 64)]), send(3, &[])])?;
    b.sends(x, &[(2, Status::RemInvReqErr), (3, FLUSHED)])?;
    b.receives(y, &[(9, Status::LocLenErr), (10, FLUSHED)])?;
    b.becomes_dead(x)?;
    b.becomes_dead(y)?;
    // What fitted may have landed.
    b.forgive(B, 131_072, 60);
    b.check()
}

fn a_receive_without_local_write_fails_at_both_ends<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair()?;
    let guarded = b.extra(B, 8192, 0, Access::REMOTE_READ)?;
    b.go(y, &[recv(9, &[guarded.piece(0, 64)]), recv(10, &[])])?;
    b.go(x, &[send(2, &[b.piece(A, 0, 60)])])?;
    b.sends(x, &[(2, Status::RemOpErr)])?;
    b.receives(y, &[(9, Status::LocProtErr), (10, FLUSHED)])?;
    ensure!(guarded.is_untouched(), "a message was placed where the device may not write");
    b.check()
}

fn a_message_without_a_receive_uses_up_its_retries<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    let (x, y) = b.pair_with(&|spec| spec.rnr_retry = 1, PLAIN)?;
    b.go(x, &[send(1, &[b.piece(A, 0, 64)]), send(2, &[])])?;
    b.sends(x, &[(1, Status::RnrRetryExcErr), (2, FLUSHED)])?;
    b.becomes_dead(x)?;
    ensure!(b.state(y) == Some(QpState::Rts), "the side that had no receive is in {:?}", b.state(y));
    b.check()
}

fn a_receive_posted_in_time_saves_the_message<L: Lab>(b: &mut Bench<'_, L>) -> Ended {
    // Code 20 is 10.24 ms, and that six times.
    let timer = RnrTimer::new(20).unwrap_or(RnrTimer::DEFAULT);
    let (x, y) = b.pair_with(PLAIN, &|spec| spec.min_rnr_timer = timer)?;
    b.go(x, &[send(1, &[b.piece(A, 0, 9000)])])?;
    let soon = b.now() + 3 * MS;
    b.look_until(soon)?;
    ensure!(!b.is_idle(), "a message that waits for a receive ended at once");
    b.go(y, &[recv(9, &[b.piece(B, 131_072, 9000)])])?;
    b.good(x, [1])?;
    b.meets(y, 9, OpKind::Send, 9000, None)?;
    b.copied((A, 0), (B, 131_072), 9000);
    b.check()
}
