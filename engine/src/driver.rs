//! The driver: turns the crank. One call of [`Driver::turn`] polls the device, moves transfers on, sweeps deadlines and
//! posts what has become possible. The simulator and an async runtime turn the same crank.

use std::collections::VecDeque;
use std::task::Waker;

use wavetank_contract::error::DeregisterError;
use wavetank_contract::{AsyncEvent, EpId, Instant, MrId, OpKind, Status, Wake};

use crate::context::{RdmaContext, RdmaOps};
use crate::deadline::Deadlines;
use crate::port::{Batch, Outcome};
use crate::session::{Ended, Holding, SessionError, SessionKey, SessionSpec, Sessions};
use crate::slab::{Key, Slab};
use crate::transfer::{
    Finished, SubmitError, SubmitReason, Transfer, TransferError, TransferId, TransferSpec,
};

/// Asynchronous events kept for whoever asks.
const EVENTS_KEPT: usize = 1024;

/// Policy of a driver.
#[derive(Clone, Copy, Debug)]
pub struct DriverConfig {
    /// READs and WRITEs are cut into pieces of this many bytes.
    pub chunk_bytes: u32,
    /// Chunks of one transfer in flight.
    pub window: u32,
    /// Transfers under way at a time.
    pub transfers_max: u32,
    /// Sessions open at a time.
    pub sessions_max: u32,
}

impl Default for DriverConfig {
    fn default() -> DriverConfig {
        DriverConfig { chunk_bytes: 256 << 10, window: 8, transfers_max: 1 << 16, sessions_max: 1 << 20 }
    }
}

/// What one endpoint has to do.
#[derive(Debug, Default)]
struct Lane {
    /// Orders made and not taken by the device yet. Sends and receives have credits of their own: a full receive
    /// queue empties only when the peer sends, and may not keep us from sending.
    sends: Batch,
    receives: Batch,
    /// Transfers with something to order, each in turn.
    waiting: VecDeque<u32>,
    /// In the driver's list of lanes to serve.
    dirty: bool,
    /// What first went wrong here.
    first_cause: Option<Status>,
}

/// One engine's state machine over a device. Time is an argument; nothing in here waits.
#[derive(Debug)]
pub struct Driver<C = RdmaContext> {
    context: C,
    config: DriverConfig,
    sessions: Sessions,
    transfers: Slab<Transfer>,
    deadlines: Deadlines,
    /// By endpoint number.
    lanes: Vec<Lane>,
    dirty: Vec<EpId>,
    outcomes: Vec<Outcome>,
    finished: VecDeque<Finished>,
    /// Registrations of ended sessions that works still use.
    retiring: Vec<MrId>,
    events: VecDeque<AsyncEvent>,
    /// To be called once nobody is inside the driver any more: what they wake may come straight back in.
    wakers: Vec<Waker>,
}

impl<C: RdmaOps> Driver<C> {
    /// A driver over a device.
    pub fn new(context: C, config: DriverConfig) -> Driver<C> {
        let message_bytes_max = context.caps().message_bytes_max.max(1);
        Driver {
            context,
            sessions: Sessions::with_limit(config.sessions_max),
            config: DriverConfig {
                chunk_bytes: config.chunk_bytes.clamp(1, message_bytes_max),
                window: config.window.max(1),
                ..config
            },
            transfers: Slab::new(),
            deadlines: Deadlines::new(),
            lanes: Vec::new(),
            dirty: Vec::new(),
            outcomes: Vec::new(),
            finished: VecDeque::new(),
            retiring: Vec::new(),
            events: VecDeque::new(),
            wakers: Vec::new(),
        }
    }

    /// The device, for its control plane.
    pub fn context(&mut self) -> &mut C {
        &mut self.context
    }

    /// The sessions, to look at.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Transfers that have not ended, and ended ones whose memory the device still has.
    pub fn transfers_len(&self) -> u32 {
        self.transfers.len()
    }

    /// The next transfer that ended.
    #[inline]
    pub fn take_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// The next asynchronous event. The oldest are dropped when nobody asks.
    pub fn take_event(&mut self) -> Option<AsyncEvent> {
        self.events.pop_front()
    }

    /// Opens a session.
    ///
    /// # Errors
    /// See [`Sessions::create`].
    pub fn create_session(&mut self, now: Instant, spec: SessionSpec) -> Result<SessionKey, SessionError> {
        self.sessions.create(now, spec)
    }

    /// Pushes a session's expiry out.
    ///
    /// # Errors
    /// See [`Sessions::touch`].
    pub fn touch_session(&mut self, key: SessionKey, now: Instant) -> Result<(), SessionError> {
        self.sessions.touch(key, now)
    }

    /// Lets a session keep something; it is returned when the session ends.
    ///
    /// # Errors
    /// See [`Sessions::hold`].
    pub fn hold(
        &mut self,
        key: SessionKey,
        holding: Holding,
    ) -> Result<crate::session::HoldingId, SessionError> {
        self.sessions.hold(key, holding)
    }

    /// Ends a session now and returns everything it held.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn close_session(&mut self, key: SessionKey, now: Instant) -> Result<(), SessionError> {
        let held = unpack(self.sessions.close(key)?);
        self.release(held, now);
        Ok(())
    }

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
        let transfer = Transfer {
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
        let Some(key) = self.transfers.insert(transfer) else { unreachable!("transfers_max fits the slab") };
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
        if self.context.state(spec.ep).is_none() {
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

    /// Polls, moves on, sweeps, posts. Says when to be turned again.
    #[inline]
    pub fn turn(&mut self, now: Instant) -> Wake {
        // What is done by now is done, also at its deadline and after it.
        self.poll(now);
        if self.sweep(now) {
            // Endpoints were closed: what they had comes back at once.
            self.poll(now);
        }
        self.flush(now)
    }

    /// Posts what was submitted since, without looking for what ended. Says when to be turned again.
    #[inline]
    pub fn flush(&mut self, now: Instant) -> Wake {
        while let Some(ep) = self.dirty.pop() {
            self.serve(ep, now);
        }
        self.wake()
    }

    /// When to be turned next.
    #[inline]
    pub fn wake(&self) -> Wake {
        let device = self.context.wake();
        if device == Wake::Now || !self.dirty.is_empty() {
            return Wake::Now;
        }
        let transfer = self.deadlines.first().map(|(at, _)| at);
        let ours =
            [transfer, self.sessions.next_deadline()].into_iter().flatten().min().unwrap_or(Instant::FAR);
        match device {
            Wake::Fd { fd, until } => Wake::Fd { fd, until: until.min(ours) },
            Wake::At(at) => Wake::At(at.min(ours)),
            Wake::Idle if ours < Instant::FAR => Wake::At(ours),
            Wake::Idle | Wake::Now => device,
        }
    }

    fn poll(&mut self, now: Instant) {
        while let Some(event) = self.context.poll_event() {
            if self.events.len() == EVENTS_KEPT {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.context.poll(&mut outcomes);
        for outcome in outcomes.drain(..) {
            self.settle(&outcome, now);
        }
        self.outcomes = outcomes;
        self.retire();
    }

    /// Ends the registrations that nothing uses any more.
    #[inline]
    fn retire(&mut self) {
        if !self.retiring.is_empty() {
            let context = &mut self.context;
            self.retiring
                .retain(|mr| matches!(context.deregister(*mr), Err(DeregisterError::LeasesLive { .. })));
        }
    }

    #[inline]
    fn settle(&mut self, outcome: &Outcome, now: Instant) {
        let key = Key::from_u64(outcome.tag);
        let ep = outcome.ep;
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
        let Some(transfer) = self.transfers.get_mut(key) else {
            return;
        };
        transfer.in_flight -= 1;
        if outcome.status == Status::Success {
            transfer.done += u64::from(outcome.len);
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
                self.transfers.remove(key);
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
    fn abandon(&mut self, key: Key, error: TransferError, now: Instant) -> bool {
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
        transfer.lease = lease;
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

    /// Ends what is past its deadline. True when endpoints were closed on the way.
    #[inline]
    fn sweep(&mut self, now: Instant) -> bool {
        while let Some(index) = self.deadlines.pop_due(now) {
            let Some(key) = self.transfers.key_at(index) else {
                continue;
            };
            let Some(t) = self.transfers.get(key) else {
                continue;
            };
            let (deadline, ep, kind, done, len) = (t.deadline, t.ep, t.op.kind(), t.done, t.len);
            self.abandon(key, TransferError::DeadlinePassed { deadline, ep, kind, done, len }, now);
        }
        let mut closed = false;
        while let Some(held) = self.sessions.expire_due(now).map(unpack) {
            closed |= held.0.is_some();
            self.release(held, now);
        }
        closed
    }

    /// Returns what an ended session held. Its endpoint goes first, so that its works come back at once.
    fn release(&mut self, (ep, holdings): (Option<EpId>, Vec<Holding>), now: Instant) {
        if let Some(ep) = ep {
            self.context.close(ep);
        }
        for holding in holdings {
            match holding {
                Holding::Transfer(id) => {
                    self.abandon(Key::from_u64(id), TransferError::SessionEnded, now);
                }
                Holding::Registration(mr) => self.retiring.push(mr),
                // Works that still use it hold it.
                Holding::Lease(lease) => drop(lease),
            }
        }
        self.retire();
        // Orders that wait there are to be refused. There is no lane where nothing was ever submitted.
        if let Some(ep) = ep
            && (ep.0 as usize) < self.lanes.len()
        {
            self.mark(ep);
        }
    }

    /// Makes orders of the endpoint's waiting transfers and posts them.
    fn serve(&mut self, ep: EpId, now: Instant) {
        let Some(lane) = self.lanes.get_mut(ep.0 as usize) else {
            return;
        };
        lane.dirty = false;
        let window = self.config.window;
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

    #[inline]
    fn lane(&mut self, ep: EpId) -> &mut Lane {
        let index = ep.0 as usize;
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, Lane::default);
        }
        &mut self.lanes[index]
    }

    #[inline]
    fn mark(&mut self, ep: EpId) {
        let lane = &mut self.lanes[ep.0 as usize];
        if !lane.dirty {
            lane.dirty = true;
            self.dirty.push(ep);
        }
    }

    /// Somebody will await this transfer: its end waits for them.
    pub(crate) fn await_transfer(&mut self, id: TransferId) {
        if let Some(transfer) = self.transfers.get_mut(id.0) {
            transfer.awaited = true;
        }
    }

    /// The end of an awaited transfer, or the waker is kept for it, and the one kept before comes back: dropping
    /// a waker may drop a task, which may come back in here.
    pub(crate) fn poll_transfer(&mut self, id: TransferId, waker: &Waker) -> Result<Finished, Option<Waker>> {
        let Some(transfer) = self.transfers.get_mut(id.0) else {
            return Err(None);
        };
        let Some(finished) = transfer.kept.take() else {
            let kept = transfer.waker.as_ref().is_some_and(|kept| kept.will_wake(waker));
            return Err(if kept { None } else { transfer.waker.replace(waker.clone()) });
        };
        if transfer.in_flight == 0 {
            self.transfers.remove(id.0);
        }
        Ok(*finished)
    }

    /// Nobody awaits this transfer any more. Its waker comes back, to be dropped outside.
    pub(crate) fn forget_transfer(&mut self, id: TransferId, now: Instant) -> Option<Waker> {
        let transfer = self.transfers.get_mut(id.0)?;
        transfer.awaited = false;
        let waker = transfer.waker.take();
        if transfer.kept.take().is_some() {
            if transfer.in_flight == 0 {
                self.transfers.remove(id.0);
            }
        } else if self.abandon(id.0, TransferError::Cancelled, now) {
            // Nobody is left to be told: what was just queued goes again.
            self.finished.pop_back();
        }
        waker
    }

    /// Whom to wake, once nobody is inside any more.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }
}

fn unpack(ended: Ended<'_>) -> (Option<EpId>, Vec<Holding>) {
    (ended.spec.ep, ended.holdings.collect())
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
