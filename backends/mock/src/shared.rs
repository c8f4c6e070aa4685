//! Shared receive queues: receives that any endpoint of the queue may take (IBA 10.2.9).

use wavetank_contract::error::{ModifyError, OpenError, PostError, SystemError};
use wavetank_contract::{AsyncEvent, Caps, Data, OpKind, PdId, Sge, SrqId, Work, WorkId};

use crate::endpoint::RecvQueue;
use crate::queue::Reports;

/// Shared receive queues of one NIC, at most.
const SRQ_MAX: usize = 65_536;

const EINVAL: i32 = 22;
const ENOMEM: i32 = 12;

/// One shared receive queue. A slot is free again when the completion of its receive was polled, as on adapters; rxe
/// frees it as soon as the receive is taken.
#[derive(Debug)]
pub(crate) struct SharedQueue {
    id: SrqId,
    pub(crate) pd: PdId,
    queue: RecvQueue,
    /// Tell once when fewer are left. 0: nobody asked.
    limit: u32,
}

impl SharedQueue {
    pub(crate) fn open(
        open: usize,
        number: u32,
        pd: PdId,
        depth: u32,
        caps: &Caps,
    ) -> Result<(SrqId, SharedQueue), OpenError> {
        let max = caps.shared_receive_depth_max;
        if depth == 0 || depth > max {
            let (asked, max) = (depth.into(), max.into());
            return Err(OpenError::OutOfRange { field: "shared receive queue depth", asked, min: 1, max });
        }
        if open >= SRQ_MAX {
            return Err(OpenError::TooMany { what: "shared receive queues", limit: SRQ_MAX as u32 });
        }
        let id = SrqId(number);
        Ok((id, SharedQueue { id, pd, queue: RecvQueue::new(depth, caps), limit: 0 }))
    }

    pub(crate) fn post(&mut self, work: &Work<'_>, caps: &Caps) -> Result<(), PostError> {
        if work.op.kind() != OpKind::Recv {
            return Err(PostError::NotPromised("anything but receives on a shared receive queue"));
        }
        let Data::Pieces(pieces) = work.data else {
            return Err(PostError::InlineNotSending);
        };
        if pieces.len() > caps.sge_max as usize {
            return Err(PostError::TooManyPieces { asked: pieces.len(), max: caps.sge_max });
        }
        let (asked_bytes, max_bytes) = (work.data.len_bytes(), caps.message_bytes_max);
        if asked_bytes > u64::from(max_bytes) {
            return Err(PostError::MessageTooLong { asked_bytes, max_bytes });
        }
        if self.queue.is_full() {
            return Err(PostError::System(SystemError {
                call: "ibv_post_srq_recv(3)",
                errno: ENOMEM,
                advice: "the shared receive queue is full: poll for completions, then post again",
            }));
        }
        self.queue.post(work.id, pieces, asked_bytes as u32);
        Ok(())
    }

    /// Hands out the oldest receive.
    // rxe: rxe_resp.c get_srq_wqe. The limit is told once, and only when a receive is taken.
    pub(crate) fn take(&mut self, reports: &mut Reports) -> Option<(WorkId, u32, &[Sge])> {
        if self.queue.left() == 0 {
            return None;
        }
        if self.queue.left() - 1 < u64::from(self.limit) {
            self.limit = 0;
            reports.event(AsyncEvent::SrqLimitReached(self.id));
        }
        self.queue.take()
    }

    /// The completions of this many of its receives were polled, or will never be.
    pub(crate) fn free(&mut self, receives: u64) {
        self.queue.freed += receives;
    }

    pub(crate) fn arm(&mut self, limit: u32) -> Result<(), ModifyError> {
        if limit > self.queue.depth {
            return Err(ModifyError::System(SystemError {
                call: "ibv_modify_srq(3)",
                errno: EINVAL,
                advice: "a limit is at most the depth of its shared receive queue",
            }));
        }
        self.limit = limit;
        Ok(())
    }
}
