//! Taking works.

use wavetank_contract::error::PostError;
use wavetank_contract::{Data, MrId, QpState, Sge, Status, Work};

use super::State;
use crate::endpoint::{Endpoint, Phase, Receive, Received};
use crate::frames::SGE_MAX;
use crate::sys::Worker;

fn pieces(data: &Data<'_>) -> ([Sge; SGE_MAX], usize) {
    let mut pieces = [Sge { mr: MrId(0), len: 0, offset: 0 }; SGE_MAX];
    let Data::Pieces(given) = data else { return (pieces, 0) };
    let count = given.len().min(SGE_MAX);
    pieces[..count].copy_from_slice(&given[..count]);
    (pieces, count)
}

impl State {
    /// Takes a send. It starts with the next doorbell.
    #[inline]
    pub(crate) fn post_send(&mut self, ep: &mut Endpoint, work: &Work<'_>) -> Result<(), PostError> {
        if !ep.state.accepts_sends() {
            return Err(PostError::WrongState { ep: ep.id, state: ep.state });
        }
        if ep.sends.tail.wrapping_sub(ep.sends.freed) >= ep.spec.send_depth {
            return Err(PostError::QueueFull { ep: ep.id, depth: ep.spec.send_depth });
        }
        let number = ep.sends.tail;
        let slot = ep.sends.at(number);
        (slot.id, slot.op, slot.signalled, slot.fence) = (work.id, work.op, work.signalled, work.fence);
        (slot.pieces, slot.piece_count) = pieces(&work.data);
        slot.inline_len = None;
        if let Data::Inline(bytes) = work.data {
            slot.inline_len = Some(bytes.len());
            slot.inline[..bytes.len()].copy_from_slice(bytes);
        }
        slot.len = work.data.len_bytes();
        (slot.phase, slot.ucx, slot.seq, slot.acked) = (Phase::Queued, 0, None, false);
        (slot.serves, slot.unplaced, slot.flushes, slot.counted) = (false, false, false, false);
        ep.sends.tail = number.wrapping_add(1);
        Ok(())
    }

    /// Takes a receive. Whatever waits for one may go on.
    pub(crate) fn post_receive(
        &mut self,
        worker: &Worker,
        ep: &mut Endpoint,
        work: &Work<'_>,
    ) -> Result<(), PostError> {
        if !ep.state.accepts_receives() {
            return Err(PostError::WrongState { ep: ep.id, state: ep.state });
        }
        if ep.receives.outstanding() >= ep.spec.recv_depth {
            return Err(PostError::QueueFull { ep: ep.id, depth: ep.spec.recv_depth });
        }
        let (pieces, piece_count) = pieces(&work.data);
        let dead = ep.state == QpState::Err;
        let ended = dead.then(|| Received::failed(Status::WrFlushErr));
        ep.receives.queue.push_back(Receive {
            id: work.id,
            pieces,
            piece_count,
            ended,
            filling: false,
            gated: false,
        });
        if dead {
            ep.receives.met += 1;
            self.settle_receives(ep);
        } else if !ep.responder.held.is_empty() {
            self.run_held(worker, ep);
        }
        Ok(())
    }

    /// The doorbell.
    #[inline]
    pub(crate) fn ring(&mut self, worker: &Worker, ep: &mut Endpoint) {
        ep.sends.rung = ep.sends.tail;
        if ep.state != QpState::Err {
            self.start(worker, ep);
            return;
        }
        for number in ep.sends.numbers() {
            if ep.sends.look(number).phase == Phase::Queued {
                super::end(ep, number, Status::WrFlushErr, 0);
            }
        }
        ep.sends.next = ep.sends.tail;
        self.settle(worker, ep);
    }
}
