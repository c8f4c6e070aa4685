//! How endpoints part: broken off, closed, and with everything at the end.

use wavetank_contract::{CqId, EpId, QpState, Status};

use super::{State, Writer};
use crate::endpoint::{Content, Endpoint};
use crate::memory::Imports;
use crate::status;
use crate::sys::{UcsStatus, Worker};

/// How long closing waits for UCX to let go of memory.
const RELEASE_NS_MAX: u64 = 2_000_000_000;

/// How long shutting down waits for connections to close.
const SHUT_DOWN_NS: u64 = 200_000_000;

impl State {
    /// UCX says that the peer is not reached any more.
    pub(crate) fn break_off(&mut self, worker: &Worker, ep: &mut Endpoint, why: UcsStatus) {
        if ep.broken.is_none() {
            ep.broken = Some(why);
        }
        self.unlink(worker, ep, true);
        if ep.state == QpState::Init {
            self.die(worker, ep);
        } else {
            self.fail_oldest(worker, ep, Status::RetryExcErr, status::vendor(why));
        }
    }

    /// Ends the connection of an endpoint as UCX knows it. `force`: whatever is under way ends now.
    pub(super) fn unlink(&mut self, worker: &Worker, ep: &mut Endpoint, force: bool) {
        self.imports.disconnect(ep.id);
        if let Some(peer) = &mut ep.peer {
            peer.control = None;
        }
        if let Some(link) = ep.link.take() {
            ep.unlinked_ns = crate::watch::now_ns();
            let mut closing = worker.close(link, force);
            if !worker.is_closed(&mut closing) {
                self.closings.push(closing);
            }
        }
    }

    /// Looks after connections that are being closed. How many are left.
    pub(crate) fn reap(&mut self, worker: &Worker) -> usize {
        self.closings.retain_mut(|closing| !worker.is_closed(closing));
        self.closings.len()
    }

    pub(super) fn drop_held(&mut self, worker: &Worker, ep: &mut Endpoint) {
        ep.responder.held_bytes = 0;
        ep.responder.rnr = None;
        for held in ep.responder.held.drain(..) {
            if let Content::Desc(desc) = held.content {
                worker.release(desc);
            }
        }
    }

    /// Closes everything. What UCX does not end within a moment ends with its worker.
    pub(crate) fn shut_down(&mut self, worker: &Worker) {
        let open: Vec<EpId> =
            self.slots.iter().filter_map(|slot| slot.endpoint.as_ref()).map(|ep| ep.id).collect();
        for ep in open {
            self.close(worker, ep);
        }
        self.stop_listening(worker);
        let until = crate::watch::now_ns().saturating_add(SHUT_DOWN_NS);
        while self.reap(worker) > 0 && crate::watch::now_ns() < until {
            self.turn(worker);
        }
        self.closings.drain(..).for_each(|closing| worker.abandon(closing));
        self.imports = Imports::default();
    }

    /// Makes UCX let go of the memory of an endpoint.
    pub(super) fn release(&mut self, worker: &Worker, ep: EpId) {
        self.with(ep, |state, ep| {
            state.die(worker, ep);
            if ep.ucx > 0 {
                state.unlink(worker, ep, true);
            }
        });
        let until = crate::watch::now_ns().saturating_add(RELEASE_NS_MAX);
        let busy = |state: &State| state.get(ep).is_some_and(|ep| ep.ucx > 0);
        while busy(self) && crate::watch::now_ns() < until {
            self.turn(worker);
            self.reap(worker);
            self.with(ep, |state, ep| state.disown(worker, ep, crate::watch::now_ns()));
        }
    }

    /// Whether a peer that lives is writing memory here by itself: through an endpoint that is open, or was.
    pub(crate) fn is_written_by_peers(&mut self) -> bool {
        let mut writers = std::mem::take(&mut self.writers);
        writers.retain(|writer| {
            let writes = self.is_written(writer.ep, writer.pid);
            if !writes {
                self.mrs.forget_writer(writer.ep);
                self.free_index(writer.ep);
            }
            writes
        });
        self.writers = writers;
        let open = self.slots.iter().filter_map(|slot| slot.endpoint.as_deref());
        let mut peers = open.filter_map(|ep| ep.peer.as_ref().map(|peer| (ep.id, peer.address.process.pid)));
        !self.writers.is_empty() || peers.any(|(ep, pid)| self.is_written(ep, pid))
    }

    fn is_written(&self, ep: EpId, pid: u32) -> bool {
        self.mrs.is_written_by(ep) && crate::watch::lives(pid)
    }

    /// An endpoint is no more, and its number may be used again, once its peer does not write through it any more.
    pub(super) fn part_from_writer(&mut self, ep: &Endpoint) {
        let pid = ep.peer.as_ref().map_or(0, |peer| peer.address.process.pid);
        if self.is_written(ep.id, pid) {
            self.writers.push(Writer { ep: ep.id, pid });
        } else {
            self.mrs.forget_writer(ep.id);
            self.free_index(ep.id);
        }
    }

    /// Ends an endpoint: when this returns, UCX does not touch its memory any more.
    pub(crate) fn close(&mut self, worker: &Worker, ep: EpId) {
        let Some(cqs) = self.get(ep).map(|ep| [ep.spec.send_cq, ep.spec.recv_cq]) else { return };
        self.release(worker, ep);
        self.forget_completions(ep, cqs);
        self.remove(worker, ep);
    }

    pub(super) fn forget_completions(&mut self, ep: EpId, cqs: [CqId; 2]) {
        for cq in cqs {
            if let Some(queue) = self.queues.get_mut(cq.0 as usize) {
                let forgotten = queue.forget(ep);
                self.owners[queue.owner].pending -= forgotten;
            }
        }
    }
}
