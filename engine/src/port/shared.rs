//! Receives that endpoints share: posted to a queue of their own, completed on whichever endpoint takes them.

use wavetank_contract::error::{ModifyError, OpenError, PostError};
use wavetank_contract::{
    Backend, Buggify, Completion, Data, EpId, Op, OpKind, PdId, QpState, SrqId, Status, Work,
};

use super::{Batch, NO_ENDPOINT, Order, Outcome, Port, Refused};
use crate::ledger::{Anomaly, Entry, Home, Queue};

/// A shared receive queue. Its receives form no list: they complete in any order.
#[derive(Debug)]
pub(super) struct SharedQueue {
    queue: Queue,
    depth: u32,
}

impl<B: Backend> Port<B> {
    pub(super) fn make_shared(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        let srq = self.backend.open_srq(pd, depth)?;
        let index = srq.0 as usize;
        if self.shared.len() <= index {
            self.shared.resize_with(index + 1, || None);
        }
        self.shared[index] = Some(SharedQueue { queue: Queue::default(), depth });
        Ok(srq)
    }

    pub(super) fn post_receives(&mut self, srq: SrqId, batch: &mut Batch) -> Result<usize, Box<Refused>> {
        let mut posted = 0;
        let refuse = |index, order, error| Err(Box::new(Refused { index, order, error }));
        let Some(Some(shared)) = self.shared.get_mut(srq.0 as usize) else {
            let error = match self.backend.caps().shared_receive_depth_max {
                0 => PostError::NotPromised("shared receive queues"),
                _ => PostError::Gone("the shared receive queue"),
            };
            return batch.pop_front().map_or(Ok(0), |order| refuse(0, order, error));
        };
        while shared.queue.len < shared.depth {
            if shared.queue.len > 0 && self.backend.buggify(Buggify::EarlyFull) {
                break;
            }
            let Some(mut order) = batch.pop_front() else { break };
            if order.op.kind() != OpKind::Recv {
                let error = PostError::NotPromised("anything but receives on a shared receive queue");
                return refuse(posted, order, error);
            }
            let hold = order.hold.take();
            let len = u32::try_from(order.len_bytes()).unwrap_or(u32::MAX);
            let entry = Entry::new(order.tag, Home::Shared(srq), OpKind::Recv, len, true, hold);
            let Some(id) = self.ledger.enter_shared(&mut shared.queue, entry) else {
                unreachable!("queues are far shorter than 2^32")
            };
            let data = Data::Pieces(order.pieces());
            let work = Work { id, op: Op::Recv, data, signalled: true, fence: false };
            if let Err(error) = self.backend.post_shared(srq, &work) {
                let hold = self.ledger.retire_shared(&mut shared.queue, id).and_then(|entry| entry.hold);
                return refuse(posted, Order { hold, ..order }, error);
            }
            posted += 1;
        }
        Ok(posted)
    }

    /// Settles a receive of a shared queue: itself alone.
    pub(super) fn settle_shared(
        &mut self,
        srq: SrqId,
        seq: u64,
        completion: &Completion,
        out: &mut Vec<Outcome>,
    ) {
        let ep = completion.ep;
        let shares = |endpoint: &super::Endpoint| endpoint.shared == Some(srq);
        if !matches!(self.endpoints.get(ep.0 as usize), Some(Some(endpoint)) if shares(endpoint)) {
            return self.anomaly(Anomaly::NotSharing { srq, completed: ep, seq });
        }
        let Some(Some(shared)) = self.shared.get_mut(srq.0 as usize) else { return };
        let Some(entry) = self.ledger.retire_shared(&mut shared.queue, completion.id) else { return };
        let success = completion.status == Status::Success;
        out.push(Outcome {
            tag: entry.tag,
            ep,
            // A WRITE with an immediate takes one as well.
            kind: if success { completion.kind } else { OpKind::Recv },
            status: completion.status,
            vendor: if success { 0 } else { completion.vendor },
            len: if success { completion.len } else { 0 },
            imm: completion.imm.filter(|_| success),
        });
    }

    /// Takes out what an endpoint took from its shared queue, before the device forgets the endpoint: nobody could tell afterwards
    /// which receives those were. In ERR a message that is half here gives its receive back (IBA 10.3.1). An adapter
    /// may be a moment later with that one; it then stays on the ledger until its queue ends.
    pub(super) fn drain_shared(&mut self, ep: EpId) {
        let Some(Some(endpoint)) = self.endpoints.get(ep.0 as usize) else { return };
        if endpoint.shared.is_none() {
            return;
        }
        let cq = endpoint.recv_cq;
        // One in RESET has taken nothing, and cannot go there.
        let _ = self.backend.modify(ep, QpState::Err);
        let mut out = Vec::new();
        self.poll_queue(cq, &mut out);
        self.flushed.extend(out);
    }

    /// Ends a shared queue, and everything that is still in it.
    pub(super) fn end_shared(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        self.backend.close_srq(srq)?;
        let Some(shared) = self.shared.get_mut(srq.0 as usize) else { return Ok(()) };
        let ids: Vec<_> = self.ledger.shared(srq).collect();
        if let Some(mut shared) = shared.take() {
            for id in ids {
                let Some(Entry { tag, kind, .. }) = self.ledger.retire_shared(&mut shared.queue, id) else {
                    continue;
                };
                let (ep, status) = (NO_ENDPOINT, Status::WrFlushErr);
                self.flushed.push_back(Outcome { tag, ep, kind, status, vendor: 0, len: 0, imm: None });
            }
        }
        Ok(())
    }
}
