//! Works of a layer above that does its own bookkeeping: no transfer, no deadline, no cutting.

use wavetank_contract::{EpId, Status};

use super::Driver;
use crate::context::RdmaOps;
use crate::port::{Order, Outcome};
use crate::slab::Key;

impl<C: RdmaOps> Driver<C> {
    /// Whether a tag is a layer's own: those of transfers have a generation.
    #[inline]
    pub(super) const fn is_direct(tag: u64) -> bool {
        Key::from_u64(tag).generation == 0
    }

    /// Lines a work up. It is posted with the next turn or push, once there is a credit for it, and its end comes out of
    /// [`take_outcomes`](Self::take_outcomes): as flushed where the endpoint is not open, as `LOC_QP_OP_ERR` where the device
    /// refuses it.
    ///
    /// # Panics
    /// When the tag is not below 2^32: larger ones name transfers.
    #[inline]
    pub fn order(&mut self, ep: EpId, order: Order) {
        assert!(Self::is_direct(order.tag), "tag {:#x} of an order is not below 2^32", order.tag);
        let receives = order.op.kind() == wavetank_contract::OpKind::Recv;
        let lane = self.lane(ep);
        if receives {
            lane.receives.push_back(order)
        } else {
            lane.sends.push_back(order)
        }
        self.mark(ep);
    }

    /// How works ended that were lined up by [`order`](Self::order), in the order of their ends per endpoint. What is in `out`
    /// is dropped; its memory is used again.
    #[inline]
    pub fn take_outcomes(&mut self, out: &mut Vec<Outcome>) {
        out.clear();
        std::mem::swap(&mut self.direct, out);
    }

    /// An order that the device did not take.
    pub(super) fn refuse_direct(&mut self, ep: EpId, order: &Order) {
        let status = if self.context.is_open(ep) { Status::LocQpOpErr } else { Status::WrFlushErr };
        let kind = order.op.kind();
        self.direct.push(Outcome { tag: order.tag, ep, kind, status, vendor: 0, len: 0, imm: None });
    }
}
