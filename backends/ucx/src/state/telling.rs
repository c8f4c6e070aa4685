//! What goes out beside works: answers, acknowledgements and hellos; and data that is fetched.

use wavetank_contract::EpId;

use super::State;
use crate::endpoint::Endpoint;
use crate::frames::Use;
use crate::sys::{Desc, SendAs, Span, Started, UcsStatus, Worker};
use crate::wire::{Head, Kind};

impl State {
    /// Fetches data into memory that a frame names.
    pub(super) fn fetch(&mut self, worker: &Worker, ep: &mut Endpoint, frame: u32, desc: Desc) -> Started {
        let Some(place) = self.frames.get(frame) else { return Started::Failed(UcsStatus::NO_RESOURCE) };
        self.mrs.uses(place.mrs(), true);
        let started = worker.receive(desc, place.spans(), &place.ticket);
        if started == Started::Pending {
            ep.ucx += 1;
        } else {
            self.mrs.uses(place.mrs(), false);
            self.frames.give_back(frame);
        }
        started
    }

    /// Sends a frame that has no memory of a user. It is given back when it is gone.
    pub(super) fn send_frame(&mut self, worker: &Worker, ep: &mut Endpoint, frame: u32) {
        let Some(place) = self.frames.get(frame) else { return };
        let Some(link) = &ep.link else {
            self.frames.give_back(frame);
            return;
        };
        let body = [Span::of(&place.body)];
        let spans = if place.body.is_empty() { place.spans() } else { &body[..] };
        let hello = place.header[0] == Kind::Hello as u8;
        let send_as = if hello && self.listener.is_some() { SendAs::EagerWithSender } else { SendAs::Eager };
        match worker.send(link, place.header(), spans, send_as, &place.ticket) {
            Started::Pending => {}
            Started::Done => self.frames.give_back(frame),
            Started::Failed(why) => {
                self.frames.give_back(frame);
                ep.broken.get_or_insert(why);
            }
        }
    }

    /// A header to the peer of an endpoint, with what it may know by now.
    pub(super) fn header(&mut self, ep: &mut Endpoint, kind: Kind) -> Option<Head> {
        let peer = ep.peer.as_ref().filter(|peer| peer.life != 0)?;
        ep.responder.told = ep.responder.completed;
        Some(Head { ack: ep.responder.completed, ..Head::new(kind, peer.address.ep, peer.life) })
    }

    /// Sends a message that is a header and nothing else.
    pub(crate) fn send_control(
        &mut self,
        worker: &Worker,
        ep: &mut Endpoint,
        kind: Kind,
        fill: impl FnOnce(&mut Head),
    ) {
        let Some(mut head) = self.header(ep, kind) else { return };
        fill(&mut head);
        let frame = self.frames.take(worker, Use::Control);
        if let Some(place) = self.frames.get_mut(frame) {
            place.body.clear();
            place.header_len = head.write(&mut place.header);
        }
        self.send_frame(worker, ep, frame);
    }

    /// Tells peers what was done for them. `late`: also what could have travelled with something else.
    pub(super) fn tell_all(&mut self, worker: &Worker, late: bool) {
        let mut kept = 0;
        for at in 0..self.to_tell.len() {
            let id = self.to_tell[at];
            let keep = self.with(EpId(id), |state, ep| {
                let responder = &mut ep.responder;
                if responder.completed == responder.told {
                    (responder.listed, responder.tell_now) = (false, false);
                    return false;
                }
                let many = responder.completed.wrapping_sub(responder.told) >= 16;
                if !(late || responder.tell_now || many) {
                    return true;
                }
                (responder.listed, responder.tell_now) = (false, false);
                state.send_control(worker, ep, Kind::Ack, |_| {});
                false
            });
            if keep == Some(true) {
                self.to_tell[kept] = id;
                kept += 1;
            }
        }
        self.to_tell.truncate(kept);
    }

    pub(super) fn list(&mut self, ep: &mut Endpoint) {
        if !ep.responder.listed {
            ep.responder.listed = true;
            self.to_tell.push(ep.id.0);
        }
    }

    /// Whether something waits to be told to a peer.
    pub(crate) fn has_to_tell(&self) -> bool {
        !self.to_tell.is_empty()
    }
}
