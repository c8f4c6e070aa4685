//! Receives that endpoints share, lined up for a layer above as its other orders are.

use wavetank_contract::error::ModifyError;
use wavetank_contract::{SrqId, Status};

use super::Driver;
use crate::context::RdmaOps;
use crate::port::{Batch, NO_ENDPOINT, Order, Outcome};

impl<C: RdmaOps> Driver<C> {
    /// Lines up a receive that any endpoint of a shared queue may take. It is posted with the next turn or push, once the queue
    /// has a place for it, and its end comes out of [`take_outcomes`](Self::take_outcomes) with the endpoint that took it;
    /// with [`NO_ENDPOINT`] as `LOC_QP_OP_ERR` where the device refuses it, and as flushed where its queue is gone.
    ///
    /// # Panics
    /// When the tag is not below 2^32: larger ones name transfers.
    #[inline]
    pub fn order_shared(&mut self, srq: SrqId, order: Order) {
        assert!(Self::is_direct(order.tag), "tag {:#x} of an order is not below 2^32", order.tag);
        match self.shared.iter_mut().find(|(known, _)| *known == srq) {
            Some((_, orders)) => orders.push_back(order),
            None => self.shared.push((srq, Batch::from([order]))),
        }
        self.shared_dirty = true;
    }

    /// Posts what has places.
    pub(super) fn serve_shared(&mut self) {
        self.shared_dirty = false;
        for (srq, orders) in &mut self.shared {
            while !orders.is_empty() {
                let Err(refused) = self.context.post_shared(*srq, orders) else { break };
                let (tag, kind) = (refused.order.tag, refused.order.op.kind());
                let gone = matches!(refused.error, wavetank_contract::error::PostError::Gone(_));
                let (ep, status) = (NO_ENDPOINT, if gone { Status::WrFlushErr } else { Status::LocQpOpErr });
                self.direct.push(Outcome { tag, ep, kind, status, vendor: 0, len: 0, imm: None });
            }
        }
    }

    /// Bytes that keep account of endpoints, works and transfers, those of the port included, used or not.
    pub fn bytes_in_use(&self) -> usize {
        let lane = |lane: &super::Lane| {
            (lane.sends.capacity() + lane.receives.capacity()) * size_of::<Order>()
                + lane.waiting.capacity() * size_of::<u32>()
        };
        self.context.bytes_in_use()
            + self.lanes.capacity() * size_of::<super::Lane>()
            + self.lanes.iter().map(lane).sum::<usize>()
            + self.shared.iter().map(|(_, orders)| orders.capacity() * size_of::<Order>()).sum::<usize>()
            + self.transfers.bytes_in_use()
            + (self.outcomes.capacity() + self.direct.capacity()) * size_of::<Outcome>()
    }

    /// Ends a shared queue that no endpoint uses any more. Its receives come out of [`take_outcomes`](Self::take_outcomes) as
    /// flushed, those that were lined up included.
    ///
    /// # Errors
    /// See [`RdmaOps::close_srq`]; nothing has changed then.
    pub fn close_srq(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        self.context.close_srq(srq)?;
        let Some(at) = self.shared.iter().position(|(known, _)| *known == srq) else { return Ok(()) };
        let (_, orders) = self.shared.swap_remove(at);
        let flushed = |order: Order| Outcome {
            tag: order.tag,
            ep: NO_ENDPOINT,
            kind: order.op.kind(),
            status: Status::WrFlushErr,
            vendor: 0,
            len: 0,
            imm: None,
        };
        self.direct.extend(orders.into_iter().map(flushed));
        Ok(())
    }

    /// Ends the shared queues that orders were made for and no endpoint uses any more.
    pub(super) fn close_shared(&mut self) {
        let all: Vec<SrqId> = self.shared.iter().map(|(srq, _)| *srq).collect();
        for srq in all {
            // One that endpoints still use stays, and shows as works that are left.
            let _ = self.close_srq(srq);
        }
    }
}
