//! Transfers on their way: submitted, cut into orders, posted, settled, ended.

use std::task::Waker;

use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Buggify, EpId, Instant, OpKind, Status};

use super::{Driver, Lane};
use crate::context::RdmaOps;
use crate::port::{Batch, NO_ENDPOINT, Outcome};
use crate::session::{Holding, SessionError};
use crate::slab::Key;
use crate::transfer::{
    Finished, SubmitError, SubmitReason, Transfer, TransferError, TransferId, TransferSpec,
};

impl<C: RdmaOps> Driver<C> {
    /// Begins a transfer. Its works are posted with the next turn.
    ///
    /// # Errors
    /// Everything that can be told now; the lease comes back.
    pub fn submit(&mut self, now: Instant, spec: TransferSpec) -> Result<TransferId, SubmitError> {
        if let Err(reason) = self.check(now, &spec) {
            return Err(SubmitError { reason, lease: Box::new(spec.lease) });
        }
        let TransferSpec { ep, op, lease, mr, len, deadline, session, tag } = spec;
        let cut = matches!(op.kind(), OpKind::Read | OpKind::Write | OpKind::WriteImm);
        let chunk_bytes = if cut { self.config.chunk_bytes } else { u32::MAX };
        let make = || Transfer {
            ep,
            op,
            lease: Some(lease),
            mr,
            len,
            chunk_bytes,
            ordered: 0,
            begun: false,
            done: 0,
            in_flight: 0,
            in_line: true,
            failed: None,
            abandoned: false,
            received: None,
            imm: None,
            deadline,
            submitted_at: now,
            tag,
            session: None,
            awaited: false,
            waker: None,
            kept: None,
        };
        // `check` left room.
        let Some(key) = self.transfers.insert_with(make) else { unreachable!("transfers_max fits the slab") };
        let id = TransferId(key);
        if let Some(session) = session
            && let Ok(holding) = self.sessions.hold(session, Holding::Transfer(key.to_u64()))
            && let Some(transfer) = self.transfers.get_mut(key)
        {
            transfer.session = Some((session, holding));
        }
        self.deadlines.set(key.index, deadline);
        let lane = self.lane(ep);
        lane.waiting.push_back(key.index);
        self.mark(ep);
        Ok(id)
    }

    fn check(&self, now: Instant, spec: &TransferSpec) -> Result<(), SubmitReason> {
        let (len, kind) = (spec.len, spec.op.kind());
        if len > spec.lease.len() {
            return Err(SubmitReason::LeaseTooShort { len, lease_len: spec.lease.len() });
        }
        let max_bytes = self.context.caps().message_bytes_max;
        let cut = matches!(kind, OpKind::Read | OpKind::Write | OpKind::WriteImm);
        if !cut && len > u64::from(max_bytes) {
            return Err(SubmitReason::MessageTooLong { kind, len, max_bytes });
        }
        if let Some(remote) = spec.op.remote()
            && remote.addr.checked_add(len).is_none()
        {
            return Err(SubmitReason::RemoteWraps { addr: remote.addr, len });
        }
        if !self.context.is_open(spec.ep) {
            return Err(SubmitReason::UnknownEndpoint(spec.ep));
        }
        if self.transfers.len() >= self.config.transfers_max {
            return Err(SubmitReason::TooMany(self.config.transfers_max));
        }
        if spec.deadline <= now {
            return Err(SubmitReason::DeadlinePassed { deadline: spec.deadline, now });
        }
        if let Some(key) = spec.session {
            let deadline = self.sessions.deadline(key)?;
            if deadline <= now {
                return Err(SessionError::Expired { key, deadline, now }.into());
            }
        }
        Ok(())
    }

    /// Gives a transfer up. It ends as cancelled; its memory comes back when the device is done with it.
    /// False when it has ended already.
    pub fn cancel(&mut self, id: TransferId, now: Instant) -> bool {
        self.abandon(id.0, TransferError::Cancelled, now)
    }

    /// When a work of a transfer last succeeded on an endpoint, this one or an earlier one of its number: for whoever tells slow
    /// transfers from stuck ones.
    pub fn progressed_at(&self, ep: EpId) -> Instant {
        self.lanes.get(ep.0 as usize).map_or(Instant::ZERO, |lane| lane.progressed_at)
    }

    #[inline]
    pub(super) fn settle(&mut self, outcome: &Outcome, now: Instant) {
        let key = Key::from_u64(outcome.tag);
        let ep = outcome.ep;
        // A place in a shared queue came free, perhaps.
        self.shared_dirty |= self.shared.iter().any(|(_, orders)| !orders.is_empty());
        if ep == NO_ENDPOINT {
            self.direct.push(*outcome);
            return;
        }
        let lane = self.lane(ep);
        // Slots came free: orders that wait may go.
        let stalled = !lane.sends.is_empty() || !lane.receives.is_empty();
        if outcome.status != Status::Success && outcome.status != Status::WrFlushErr {
            lane.first_cause.get_or_insert(outcome.status);
        }
        let first_cause = lane.first_cause.filter(|_| outcome.status == Status::WrFlushErr);
        let had_failed = lane.first_cause.is_some();
        if stalled {
            self.mark(ep);
        }
        if Self::is_direct(outcome.tag) {
            self.direct.push(*outcome);
            return;
        }
        let Some(transfer) = self.transfers.get_mut(key) else {
            return;
        };
        transfer.in_flight -= 1;
        if outcome.status == Status::Success {
            transfer.done += u64::from(outcome.len);
            // Asked for by `lane` above, it is there.
            self.lanes[ep.0 as usize].progressed_at = now;
            if transfer.op.kind() == OpKind::Recv {
                transfer.received = Some(outcome.kind);
                transfer.imm = outcome.imm;
            } else if had_failed {
                // A send succeeds only in another life of the endpoint than the one that failed.
                self.lanes[ep.0 as usize].first_cause = None;
            }
            if transfer.has_more() && !transfer.in_line {
                transfer.in_line = true;
                let index = key.index;
                self.lane(ep).waiting.push_back(index);
                self.mark(ep);
                return;
            }
        } else if transfer.failed.is_none() && !transfer.abandoned {
            let (status, vendor, kind) = (outcome.status, outcome.vendor, transfer.op.kind());
            transfer.failed = Some(TransferError::Failed { status, vendor, ep, kind, first_cause });
            if transfer.in_flight > 0 {
                self.recall(key);
            }
        }
        if self.transfers.get(key).is_some_and(Transfer::is_over) {
            self.finish(key, now);
        }
    }

    /// Takes back the orders of a failed transfer that the device has not taken.
    fn recall(&mut self, key: Key) {
        let Some(transfer) = self.transfers.get_mut(key) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(transfer.ep.0 as usize) else {
            return;
        };
        let batch = if transfer.op.kind() == OpKind::Recv { &mut lane.receives } else { &mut lane.sends };
        let before = batch.len();
        batch.retain(|order| order.tag != key.to_u64());
        transfer.in_flight -= (before - batch.len()) as u32;
    }

    /// Ends a transfer of which the device has nothing any more.
    fn finish(&mut self, key: Key, now: Instant) {
        self.deadlines.remove(key.index);
        let Some(transfer) = self.transfers.get_mut(key) else {
            return;
        };
        if transfer.abandoned {
            // Reported long ago; now its memory goes back too.
            transfer.lease = None;
            if transfer.kept.is_none() {
                self.transfers.discard(key);
            }
            return;
        }
        let result = match transfer.failed.take() {
            Some(error) => Err(error),
            None => Ok(transfer.done),
        };
        let finished = report(key, transfer, result, now);
        if let Some((session, holding)) = transfer.session.take() {
            // The session may have ended first and taken its list of holdings along.
            let _ = self.sessions.take(session, holding);
        }
        if transfer.awaited {
            self.wakers.extend(keep(transfer, finished));
        } else {
            self.transfers.discard(key);
            self.finished.push_back(finished);
        }
    }

    /// Reports a transfer as failed while the device may still have works of it.
    pub(super) fn abandon(&mut self, key: Key, error: TransferError, now: Instant) -> bool {
        match self.transfers.get_mut(key) {
            // One that has failed already only waits for its flushed works, and keeps its own reason.
            Some(transfer) if !transfer.abandoned && transfer.kept.is_none() => {
                transfer.failed.get_or_insert(error);
            }
            _ => return false,
        }
        self.recall(key);
        let Some(transfer) = self.transfers.get_mut(key) else {
            return false;
        };
        if transfer.in_line {
            transfer.in_line = false;
            let (ep, index) = (transfer.ep, key.index);
            self.lane(ep).waiting.retain(|waiting| *waiting != index);
        }
        let Some(transfer) = self.transfers.get_mut(key) else {
            return false;
        };
        if transfer.is_over() {
            self.finish(key, now);
            return true;
        }
        let lease = transfer.lease.take();
        let error = transfer.failed.take().unwrap_or(TransferError::Cancelled);
        let finished = report(key, transfer, Err(error), now);
        transfer.lease = lease.filter(|_| !planted::is(Bug::ReturnLeaseEarly));
        transfer.abandoned = true;
        if let Some((session, holding)) = transfer.session.take() {
            let _ = self.sessions.take(session, holding);
        }
        self.deadlines.remove(key.index);
        if transfer.awaited {
            self.wakers.extend(keep(transfer, finished));
        } else {
            self.finished.push_back(finished);
        }
        true
    }

    /// Makes orders of the endpoint's waiting transfers and posts them.
    pub(super) fn serve(&mut self, ep: EpId, now: Instant) {
        let Some(lane) = self.lanes.get_mut(ep.0 as usize) else {
            return;
        };
        lane.dirty = false;
        let small = lane.waiting.front().is_some() && self.context.buggify(Buggify::ShrinkWindow);
        let window = if small { 1 } else { self.config.window };
        while let Some(index) = lane.waiting.pop_front() {
            let Some(key) = self.transfers.key_at(index) else {
                continue;
            };
            let Some(transfer) = self.transfers.get_mut(key) else {
                continue;
            };
            let batch = if transfer.op.kind() == OpKind::Recv { &mut lane.receives } else { &mut lane.sends };
            while transfer.in_flight < window && transfer.has_more() {
                match transfer.next_order(key.to_u64()) {
                    Some(order) => batch.push_back(order),
                    None => break,
                }
            }
            transfer.in_line = false;
        }
        // Receives first: what our sends ask of the peer may come back as a message.
        self.post(ep, |lane| &mut lane.receives, now);
        self.post(ep, |lane| &mut lane.sends, now);
    }

    /// Posts what has credits. A refused order ends its transfer, the others go on.
    #[inline]
    fn post(&mut self, ep: EpId, batch_of: impl Fn(&mut Lane) -> &mut Batch, now: Instant) {
        while let Some(lane) = self.lanes.get_mut(ep.0 as usize) {
            let batch = batch_of(lane);
            if batch.is_empty() {
                return;
            }
            let Err(refused) = self.context.post(ep, batch) else { return };
            if Self::is_direct(refused.order.tag) {
                self.refuse_direct(ep, &refused.order);
                continue;
            }
            let key = Key::from_u64(refused.order.tag);
            if let Some(transfer) = self.transfers.get_mut(key) {
                let kind = transfer.op.kind();
                transfer.in_flight -= 1;
                transfer.failed.get_or_insert(TransferError::Refused { error: refused.error, ep, kind });
            }
            self.recall(key);
            if self.transfers.get(key).is_some_and(Transfer::is_over) {
                self.finish(key, now);
            }
        }
    }
}

fn report(key: Key, transfer: &mut Transfer, result: Result<u64, TransferError>, now: Instant) -> Finished {
    Finished {
        id: TransferId(key),
        tag: transfer.tag,
        kind: transfer.received.unwrap_or(transfer.op.kind()),
        ep: transfer.ep,
        result,
        imm: transfer.imm,
        lease: transfer.lease.take(),
        submitted_at: transfer.submitted_at,
        finished_at: now,
    }
}

fn keep(transfer: &mut Transfer, finished: Finished) -> Option<Waker> {
    transfer.kept = Some(Box::new(finished));
    transfer.waker.take()
}
