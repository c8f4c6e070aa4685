//! Patience: what is looked at when the clock is.

use wavetank_contract::{QpState, Status};

use super::{State, end};
use crate::config::Transport;
use crate::endpoint::{Endpoint, Phase};
use crate::frames::Use;
use crate::sys::{UcsStatus, Worker};

/// How often the clock is looked at, while anything is waited for.
pub(crate) const TICK_NS: u64 = 5_000_000;

/// How long after its connection was closed UCX may still tell of the end of what was sent there.
const TOLD_NS: u64 = 50_000_000;

/// How long a dead endpoint waits for UCX to let go of its memory by itself.
const GRACE_NS: u64 = 100_000_000;

impl State {
    /// Looks at everything that may have taken too long.
    pub(crate) fn tick(&mut self, worker: &Worker, now: u64) {
        if now < self.next_tick_ns {
            return;
        }
        self.next_tick_ns = u64::MAX;
        for ep in self.watch.dead() {
            self.with(ep, |state, ep| state.break_off(worker, ep, UcsStatus::CONNECTION_RESET));
        }
        self.each(|state, ep| state.look_after(worker, ep, now));
        self.reap(worker);
        // Whatever comes up is looked at before long: deaths and new waits are not announced.
        self.next_tick_ns = self.next_tick_ns.min(now + TICK_NS);
    }

    fn look_after(&mut self, worker: &Worker, ep: &mut Endpoint, now: u64) {
        self.look_after_wait(worker, ep, now);
        self.disown(worker, ep, now);
        match ep.state {
            QpState::Init if ep.peer.is_some() && now >= ep.deadline_ns => self.die(worker, ep),
            QpState::Rts | QpState::Sqd => self.look_after_works(worker, ep, now),
            QpState::Err if ep.ucx > 0 => {
                if ep.deadline_ns == 0 {
                    ep.deadline_ns = now + GRACE_NS;
                } else if now >= ep.deadline_ns {
                    self.unlink(worker, ep, true);
                }
            }
            _ => {}
        }
    }

    fn look_after_works(&mut self, worker: &Worker, ep: &mut Endpoint, now: u64) {
        if !ep.sends.waits() {
            (ep.deadline_ns, ep.heard) = (0, false);
            return;
        }
        if ep.deadline_ns == 0 || std::mem::take(&mut ep.heard) {
            ep.deadline_ns = now.saturating_add(ep.patience_ns());
        } else if now >= ep.deadline_ns {
            // Nothing of it is to be had any more, whatever UCX still hopes for.
            ep.broken.get_or_insert(UcsStatus::TIMED_OUT);
            self.unlink(worker, ep, true);
            self.fail_oldest(worker, ep, Status::RetryExcErr, 0);
        }
    }

    /// Takes back the memory of what UCX lost. Version 1.13 forgets a message whose rendezvous was not announced when its connection
    /// was closed: it stood in a queue of a transport that had no room, is taken out of it, and nobody tells of its end
    /// (`ucp_ep_discard_lanes`). Where the CPU moves the bytes nothing reads them any more; an adapter might.
    pub(super) fn disown(&mut self, worker: &Worker, ep: &mut Endpoint, now: u64) {
        let gone =
            ep.link.is_none() && now >= ep.unlinked_ns.saturating_add(TOLD_NS) && self.closings.is_empty();
        if ep.ucx == 0 || !gone || self.settings.transport == Transport::Rc {
            return;
        }
        for number in ep.sends.numbers() {
            let slot = ep.sends.at(number);
            // What brings data is ended by UCX, which might still write.
            if slot.ucx > 0 && slot.seq.is_some() && !slot.op.kind().fills_local() {
                ep.ucx = ep.ucx.saturating_sub(slot.ucx);
                (slot.ucx, ep.disowned) = (0, true);
                if slot.phase == Phase::Sent {
                    let vendor = ep.broken.map_or(0, crate::status::vendor);
                    end(ep, number, Status::RetryExcErr, vendor);
                }
            }
        }
        for index in std::mem::take(&mut ep.responder.reading) {
            if let Some(frame) = self.frames.get_mut(index) {
                let mrs = frame.mrs();
                // Given back if UCX finds it after all.
                (frame.uses, frame.mr_count) = (Use::Control, 0);
                self.mrs.uses(mrs, false);
                ep.ucx = ep.ucx.saturating_sub(1);
            }
        }
        self.settle(worker, ep);
    }
}
