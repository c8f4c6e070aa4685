//! Polling: completions, events, and when to come again.

use wavetank_contract::{
    AsyncEvent, Completion, Completions, CqId, EpId, Instant, OpKind, QpState, Status, Wake,
};

use super::VerbsDevice;
use crate::endpoint::{Posted, WorkName};
use crate::event::{self, Meaning};
use crate::status;
use crate::sys::RawCompletion;

/// `IBV_WC_RECV_RDMA_WITH_IMM`.
const RECV_RDMA_WITH_IMM: u32 = 129;

impl VerbsDevice {
    #[inline]
    pub(crate) fn poll_queue(&mut self, cq: CqId, out: &mut Completions) -> usize {
        if self.cm.as_ref().is_some_and(|cm| cm.pending > 0) {
            self.shake_hands();
        }
        let Some(queue) = self.queues.get_mut(cq.0 as usize) else { return 0 };
        let before = out.room();
        while out.room() > 0
            && let Some(completion) = queue.stash.pop_front()
        {
            out.push(completion);
        }
        let mut has_more = true;
        while out.room() > 0 && has_more {
            has_more = self.poll_device(cq, out.room(), |completion| out.push(completion));
        }
        if let Some(queue) = self.queues.get_mut(cq.0 as usize) {
            while !has_more
                && out.room() > 0
                && let Some(completion) = queue.late.pop_front()
            {
                out.push(completion);
            }
            queue.has_more.set(has_more || !queue.stash.is_empty() || !queue.late.is_empty());
        }
        let polled = before - out.room();
        if polled > 0 {
            self.busy.set(true);
            self.notified.set(true);
        }
        polled
    }

    /// Asks the device once, for at most `max`. Whether there may be more.
    #[inline]
    fn poll_device(&mut self, cq: CqId, max: usize, mut each: impl FnMut(Completion)) -> bool {
        let Some(queue) = self.queues.get_mut(cq.0 as usize) else { return false };
        let max = max.min(self.polled.len());
        let count = match queue.cq.poll(&mut self.polled, max) {
            Ok(count) => count,
            Err(_) => {
                queue.broken = true;
                return false;
            }
        };
        for index in 0..count {
            let raw = self.polled.at(index);
            if let Some(completion) = self.translate(&raw) {
                each(completion);
            }
        }
        count == max
    }

    /// Takes everything out of the device's queue, to be polled later.
    pub(crate) fn stash_queue(&mut self, cq: CqId) {
        let Some(queue) = self.queues.get_mut(cq.0 as usize) else { return };
        let mut stash = std::mem::take(&mut queue.stash);
        while self.poll_device(cq, usize::MAX, |completion| stash.push_back(completion)) {}
        if let Some(queue) = self.queues.get_mut(cq.0 as usize) {
            queue.has_more.set(!stash.is_empty());
            queue.stash = stash;
        }
    }

    #[inline]
    fn translate(&mut self, raw: &RawCompletion) -> Option<Completion> {
        let (ep, posted) = match WorkName::decode(raw.wr_id) {
            WorkName::Send(ep, seq) => {
                let found = self.endpoint_mut(ep).and_then(|endpoint| endpoint.sends.complete(seq));
                self.strays += u64::from(found.is_none());
                (ep, found?)
            }
            WorkName::Recv(ep, seq) => {
                let found = self.endpoint_mut(ep).and_then(|endpoint| endpoint.receives.complete(seq));
                self.strays += u64::from(found.is_none());
                (ep, found?)
            }
            WorkName::Shared(srq, place) => {
                let id = self.shared.get_mut(srq as usize)?.as_mut()?.complete(place)?;
                let ep = self.sharers.iter().find(|(number, _)| *number == raw.qp_num)?.1;
                (ep, Posted { id, kind: OpKind::Recv, len: 0 })
            }
            WorkName::Hello(ep) => {
                self.greeted(ep, raw.status == 0);
                return None;
            }
        };
        Some(completion(ep, posted, raw))
    }

    pub(crate) fn next_event(&mut self) -> Option<AsyncEvent> {
        self.shake_hands();
        while let Some(raw) = self.context.next_event() {
            match event::meaning(raw) {
                Meaning::Told(event) if self.concerns_somebody(&event) => return Some(event),
                Meaning::Told(_) | Meaning::Ignored => {}
                Meaning::Unknown => self.unknown_events += 1,
            }
        }
        None
    }

    /// Empties the completion channel. A notification is good for one queue, once, so no
    /// more are there than queues are armed: that spares the call that would only say so.
    fn take_notifications(&self) {
        let mut armed = self.queues.iter().filter(|queue| queue.armed.get()).count();
        while armed > 0
            && let Some(number) = self.channel.next()
        {
            armed -= 1;
            if let Some(queue) = self.queues.get(number) {
                queue.armed.set(false);
            }
        }
        self.notified.set(false);
    }

    /// Whether what an event is about still exists. Learns from it.
    fn concerns_somebody(&mut self, event: &AsyncEvent) -> bool {
        if let AsyncEvent::CqErr(cq) = event {
            return self.break_queue(*cq);
        }
        let Some(ep) = event::endpoint(event) else { return true };
        let Some(endpoint) = self.endpoint_mut(ep) else { return false };
        if matches!(event, AsyncEvent::QpFatal(_) | AsyncEvent::QpReqErr(_) | AsyncEvent::QpAccessErr(_)) {
            endpoint.state = QpState::Err;
        }
        true
    }

    /// A queue that overran cannot be used again, and its endpoints are dead (`ibv_poll_cq(3)`). Adapters see to that
    /// themselves; rxe loses the completions of sends and goes on (rxe_comp.c, do_complete), which nobody could follow.
    fn break_queue(&mut self, cq: CqId) -> bool {
        let Some(queue) = self.queues.get_mut(cq.0 as usize) else { return false };
        queue.broken = true;
        for endpoint in self.endpoints.iter_mut().flatten() {
            if (endpoint.spec.send_cq == cq || endpoint.spec.recv_cq == cq) && endpoint.state != QpState::Err
            {
                // From every state; where it is refused, the device is gone.
                let _ = endpoint.qp.move_to(status::qp_state_number(QpState::Err));
                endpoint.state = QpState::Err;
            }
        }
        true
    }

    pub(crate) fn when_to_wake(&self) -> Wake {
        // Whoever has much to do is asked again before the device is armed, which is a system call on many.
        if self.busy.replace(false) {
            return Wake::Now;
        }
        // Only what was polled, or slept on, can have been notified of. A notification that is still on its way ends the
        // next sleep.
        if self.notified.get() {
            self.take_notifications();
        }
        let mut come_again = false;
        for queue in &self.queues {
            if !queue.armed.get() && !queue.broken {
                // What came before this call is not notified of; what comes after it is. Hence one more poll.
                // A device that cannot even be armed is dead, and says so by an event.
                let _ = queue.cq.arm();
                queue.armed.set(true);
                come_again = true;
            }
            come_again |= queue.has_more.get();
        }
        if come_again {
            return Wake::Now;
        }
        self.notified.set(true);
        Wake::Notified { until: Instant::FAR }
    }
}

/// What the contract says of a completion.
#[inline]
fn completion(ep: EpId, posted: Posted, raw: &RawCompletion) -> Completion {
    let Posted { id, kind, len } = posted;
    let (status, vendor) = status::status(raw.status, raw.vendor);
    let failed = Completion { id, ep, status, vendor, kind, len: 0, imm: None };
    match (status, kind) {
        (Status::Success, OpKind::Recv) => {
            // What a receive met: a message, or a WRITE with an immediate.
            let kind = if raw.opcode == RECV_RDMA_WITH_IMM { OpKind::WriteImm } else { OpKind::Send };
            Completion { kind, len: raw.len, imm: raw.imm, ..failed }
        }
        (Status::Success, _) => Completion { len, ..failed },
        _ => failed,
    }
}
