//! How works end: in their order, and all of them.

use wavetank_contract::{AsyncEvent, Completion, CqId, QpState, Status};

use super::State;
use super::requester::end;
use crate::endpoint::{Endpoint, Phase, Received};
use crate::queue::Item;
use crate::sys::Worker;

impl State {
    /// Puts a completion where it belongs.
    #[inline]
    pub(super) fn complete(&mut self, cq: CqId, item: Item) {
        let Some(queue) = self.queues.get_mut(cq.0 as usize) else { return };
        let (owner, was_dead) = (queue.owner, queue.dead);
        if queue.push(item) {
            self.owners[owner].pending += 1;
        } else if !was_dead {
            self.owners[owner].tell(AsyncEvent::CqErr(cq));
            self.overrun = true;
        }
    }

    /// Endpoints of a queue that overran are dead.
    pub(crate) fn mend(&mut self, worker: &Worker) {
        if !std::mem::take(&mut self.overrun) {
            return;
        }
        self.each(|state, ep| {
            let hit = [ep.spec.send_cq, ep.spec.recv_cq].iter().any(|cq| state.queues[cq.0 as usize].dead);
            if hit && ep.state != QpState::Err {
                state.die(worker, ep);
            }
        });
    }

    /// A completion was polled: its place, and those before it, are free.
    #[inline]
    pub(crate) fn polled(&mut self, item: &Item) {
        self.with(item.completion.ep, |_, ep| {
            let freed = item.number.wrapping_add(1);
            match item.receive {
                true => ep.receives.freed = freed,
                false => ep.sends.freed = freed,
            }
        });
    }

    pub(crate) fn tell(&mut self, owner: usize, event: AsyncEvent) {
        self.owners[owner].tell(event);
    }

    /// Completes what ended, in its order. The first failure ends the endpoint.
    pub(crate) fn settle(&mut self, worker: &Worker, ep: &mut Endpoint) {
        while ep.sends.head != ep.sends.tail {
            let slot = ep.sends.at(ep.sends.head);
            let Phase::Ended(status, vendor) = slot.phase else { break };
            if slot.ucx > 0 || slot.unplaced && status == Status::Success {
                break;
            }
            let (kind, signalled, id, len) = (slot.op.kind(), slot.signalled, slot.id, slot.len as u32);
            if slot.counted {
                slot.counted = false;
                let (pieces, count) = (slot.pieces, slot.piece_count);
                self.mrs.uses(pieces[..count].iter().map(|piece| piece.mr.0), false);
            }
            // One work says why. Those after it were flushed for that, however UCX ended them.
            let (status, vendor) = if ep.sends.told { (Status::WrFlushErr, 0) } else { (status, vendor) };
            ep.sends.told |= status != Status::Success;
            let number = ep.sends.head;
            ep.sends.head = number.wrapping_add(1);
            if signalled || status != Status::Success {
                let completion = Completion { id, ep: ep.id, status, vendor, kind, len, imm: None };
                self.complete(ep.spec.send_cq, Item { completion, number, receive: false });
            }
            if status != Status::Success && ep.state != QpState::Err {
                self.die(worker, ep);
            }
        }
        self.settle_receives(ep);
        if ep.draining && ep.state == QpState::Sqd && !ep.sends.waits() {
            ep.draining = false;
            self.tell(ep.owner, AsyncEvent::SqDrained(ep.id));
        }
    }

    pub(crate) fn settle_receives(&mut self, ep: &mut Endpoint) {
        while let Some(receive) = ep.receives.queue.front() {
            let free = !receive.filling && !receive.gated;
            let Some(Received { status, kind, len, imm }) = receive.ended.filter(|_| free) else { break };
            let id = receive.id;
            ep.receives.queue.pop_front();
            ep.receives.met = ep.receives.met.saturating_sub(1);
            let number = ep.receives.first;
            ep.receives.first = number.wrapping_add(1);
            let completion = Completion { id, ep: ep.id, status, vendor: 0, kind, len, imm };
            self.complete(ep.spec.recv_cq, Item { completion, number, receive: true });
        }
    }

    /// The endpoint is in ERR from now on, and what it has is flushed as soon as UCX lets it go.
    pub(crate) fn die(&mut self, worker: &Worker, ep: &mut Endpoint) {
        ep.state = QpState::Err;
        self.mrs.announce(ep.id, 0);
        ep.sends.failed = true;
        ep.responder.dead = true;
        ep.deadline_ns = 0;
        self.drop_held(worker, ep);
        for number in ep.sends.numbers() {
            if !matches!(ep.sends.look(number).phase, Phase::Ended(..)) {
                end(ep, number, Status::WrFlushErr, 0);
            }
        }
        (ep.sends.next, ep.sends.rung) = (ep.sends.tail, ep.sends.tail);
        for receive in &mut ep.receives.queue {
            receive.ended.get_or_insert(Received::failed(Status::WrFlushErr));
            if std::mem::take(&mut receive.gated) {
                receive.ended = Some(Received::failed(Status::WrFlushErr));
            }
        }
        ep.receives.met = ep.receives.queue.len();
        self.settle(worker, ep);
        self.next_tick_ns = 0;
    }

    /// Works that UCX has under way are failed, not waited for: it tells when each is free.
    pub(super) fn fail_oldest(&mut self, worker: &Worker, ep: &mut Endpoint, status: Status, vendor: u32) {
        let oldest = ep.sends.numbers().find(|n| ep.sends.look(*n).phase == Phase::Sent);
        if let Some(number) = oldest {
            end(ep, number, status, vendor);
        }
        self.settle(worker, ep);
    }
}
