//! Everything behind the lock of a device: endpoints, queues, registrations, and what UCX has under way for them.
//!
//! An endpoint is taken out of its place while something happens to it, so that it and the rest can be changed together.

mod completing;
mod connection;
mod parting;
mod posting;
mod requester;
mod responder;
mod telling;
mod timers;

use requester::end;
pub(crate) use timers::TICK_NS;
use wavetank_contract::error::OpenError;
use wavetank_contract::{AsyncEvent, EndpointSpec, EpId, QpState};

use crate::address::{Hello, Place, Process};
use crate::config::Transport;
use crate::endpoint::{Endpoint, Receives, Responder, Sends};
use crate::frames::{Frames, Use};
use crate::memory::{ENDPOINTS_MAX, Imports, Mrs};
use crate::packed::Own;
use crate::queue::{Owner, Queue};
use crate::sys::{Arrival, Body, Closing, Ep, Event, Listener, SendAs, Sender, Taken, UcsStatus, Worker};
use crate::token::{self, Token};
use crate::watch::Watch;
use crate::wire::Head;

/// Polls between two looks at the clock while whoever uses the device polls.
const POLLS_PER_TICK: u32 = 256;

/// How often UCX is asked in one turn while it finds something.
const ROUNDS_MAX: u32 = 16;

/// Hellos kept for endpoints that are not connected yet.
const HELLOS_MAX: usize = 1024;

/// What a device was opened with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) transport: Transport,
    /// What addresses of peers have to look like.
    pub(crate) own: Own,
    pub(crate) send_as: SendAs,
    /// One-sided works reach memory without the peer's CPU.
    pub(crate) one_sided: bool,
    /// Peers' failures are told by UCX.
    pub(crate) peer_errors: bool,
    pub(crate) nonce: u64,
    pub(crate) process: Process,
    pub(crate) place: Place,
    pub(crate) control_addr: u64,
    pub(crate) control_rkey: Vec<u8>,
    pub(crate) connect_timeout_ns: u64,
}

/// A hello to an endpoint that is not pointed at anybody yet.
#[derive(Debug)]
struct Early {
    to: u32,
    hello: Hello,
    from: Option<Sender>,
}

#[derive(Debug, Default)]
struct Slot {
    endpoint: Option<Box<Endpoint>>,
}

/// A peer that writes memory here by itself, through an endpoint that is no more.
#[derive(Clone, Copy, Debug)]
struct Writer {
    ep: EpId,
    pid: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    slots: Vec<Slot>,
    /// The slot of every endpoint there ever was, by its name. Names count up without gaps: whoever uses them as places in tables,
    /// as ports and drivers do, has a place for each endpoint there was, and none for those there never were.
    places: Vec<u32>,
    free: Vec<u32>,
    open: u32,
    pub(crate) frames: Frames,
    pub(crate) queues: Vec<Queue>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) mrs: Mrs,
    pub(crate) imports: Imports,
    /// Endpoints with something to tell their peers.
    to_tell: Vec<u32>,
    closings: Vec<Closing>,
    hellos: Vec<Early>,
    listener: Option<Listener>,
    /// Connections that somebody made through the listener, before it is known for which endpoint.
    unbound: Vec<Ep>,
    pub(crate) watch: Watch,
    lives: u32,
    polls: u32,
    /// A completion queue overran, and its endpoints do not know yet.
    overrun: bool,
    /// When the clock is looked at next.
    pub(crate) next_tick_ns: u64,
    /// Endpoints that UCX would not let go of: their memory stays for ever.
    lost: Vec<Endpoint>,
    /// Peers that were writing memory here when their endpoints ended.
    writers: Vec<Writer>,
    /// Send queues of endpoints that were reset although UCX lost something of theirs.
    lost_sends: Vec<Sends>,
}

impl State {
    pub(crate) fn new(settings: Settings, mrs: Mrs, watch: Watch) -> State {
        State {
            settings,
            slots: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            open: 0,
            frames: Frames::default(),
            queues: Vec::new(),
            owners: Vec::new(),
            mrs,
            imports: Imports::default(),
            to_tell: Vec::new(),
            closings: Vec::new(),
            hellos: Vec::new(),
            listener: None,
            unbound: Vec::new(),
            watch,
            // Lives of one endpoint differ; where they begin does not matter, but a number that is never 0.
            lives: 1,
            polls: 0,
            overrun: false,
            next_tick_ns: 0,
            lost: Vec::new(),
            lost_sends: Vec::new(),
            writers: Vec::new(),
        }
    }

    pub(crate) fn get(&self, ep: EpId) -> Option<&Endpoint> {
        let slot = self.slots.get(*self.places.get(ep.0 as usize)? as usize)?;
        slot.endpoint.as_deref().filter(|endpoint| endpoint.id == ep)
    }

    /// Calls with an endpoint taken out. `None`: no such endpoint.
    #[inline]
    pub(crate) fn with<R>(
        &mut self,
        ep: EpId,
        call: impl FnOnce(&mut State, &mut Endpoint) -> R,
    ) -> Option<R> {
        let index = *self.places.get(ep.0 as usize)?;
        self.with_index(index, |state, endpoint| (endpoint.id == ep).then(|| call(state, endpoint)))?
    }

    #[inline]
    fn with_index<R>(&mut self, index: u32, call: impl FnOnce(&mut State, &mut Endpoint) -> R) -> Option<R> {
        let mut endpoint = self.slots.get_mut(index as usize)?.endpoint.take()?;
        let answer = call(self, &mut endpoint);
        self.slots[index as usize].endpoint = Some(endpoint);
        Some(answer)
    }

    pub(crate) fn each(&mut self, mut call: impl FnMut(&mut State, &mut Endpoint)) {
        for index in 0..self.slots.len() as u32 {
            self.with_index(index, &mut call);
        }
    }

    pub(crate) fn open(
        &mut self,
        worker: &Worker,
        owner: usize,
        spec: &EndpointSpec,
    ) -> Result<EpId, OpenError> {
        let full = OpenError::TooMany { what: "endpoints", limit: ENDPOINTS_MAX };
        if self.open >= ENDPOINTS_MAX {
            return Err(full);
        }
        for cq in [spec.send_cq, spec.recv_cq] {
            if self.queues.get(cq.0 as usize).is_none_or(|queue| queue.owner != owner) {
                return Err(OpenError::UnknownCq(cq));
            }
        }
        let Ok(name) = u32::try_from(self.places.len()) else { return Err(full) };
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < ENDPOINTS_MAX as usize => {
                self.slots.push(Slot::default());
                self.slots.len() as u32 - 1
            }
            None => return Err(full),
        };
        let slot = &mut self.slots[index as usize];
        let id = EpId(name);
        self.places.push(index);
        slot.endpoint = Some(Box::new(Endpoint {
            id,
            index,
            owner,
            spec: spec.clone(),
            state: QpState::Reset,
            life: 0,
            link: None,
            broken: None,
            peer: None,
            sends: Sends::new(worker, index, spec.send_depth),
            receives: Receives::with_depth(spec.recv_depth),
            responder: Responder::default(),
            heard: false,
            deadline_ns: 0,
            ucx: 0,
            unlinked_ns: 0,
            disowned: false,
            draining: false,
        }));
        self.open += 1;
        Ok(id)
    }

    /// Forgets an endpoint whose works are all gone.
    fn remove(&mut self, worker: &Worker, ep: EpId) {
        let Some(index) = self.places.get(ep.0 as usize) else { return };
        let Some(slot) = self.slots.get_mut(*index as usize) else { return };
        let Some(mut endpoint) = slot.endpoint.take_if(|endpoint| endpoint.id == ep) else { return };
        let (lost, disowned) = (endpoint.ucx > 0, endpoint.disowned);
        self.open -= 1;
        self.drop_held(worker, &mut endpoint);
        self.unlink(worker, &mut endpoint, lost);
        self.imports.forget(ep);
        self.hellos.retain(|early| early.to != ep.0);
        self.watch.forget(ep);
        if lost {
            // UCX may still write where it was told to: neither the slots nor the place may be used again.
            for owner in &mut self.owners {
                owner.tell(AsyncEvent::DeviceFatal);
            }
            self.lost.push(*endpoint);
        } else if disowned {
            // Should UCX find what it lost, its slots are still there, and nobody else has their names.
            self.lost.push(*endpoint);
        } else {
            self.part_from_writer(&endpoint);
        }
    }

    /// The place of an endpoint that is no more may be used again.
    fn free_index(&mut self, ep: EpId) {
        self.free.extend(self.places.get(ep.0 as usize));
    }

    /// Whether a request arrived is for somebody: hands it on.
    #[inline]
    pub(crate) fn arrive(&mut self, worker: &Worker, arrival: Arrival<'_>) -> Taken {
        let Some(head) = Head::read(arrival.header) else { return Taken::Used };
        if head.kind == crate::wire::Kind::Hello {
            if let Body::Eager(bytes) = arrival.body
                && let Some(hello) = Hello::decode(bytes)
            {
                self.hello(worker, head.to, hello, arrival.from);
            }
            return Taken::Used;
        }
        self.with(EpId(head.to), |state, ep| {
            // What was meant for an earlier life, or comes from one.
            if ep.life != head.life || ep.life == 0 {
                return Taken::Used;
            }
            ep.heard = true;
            if head.ack != ep.sends.acked {
                state.acknowledged(worker, ep, head.ack);
            }
            match head.kind {
                kind if kind.is_request() => state.request(worker, ep, head, arrival.body),
                _ => state.answer(worker, ep, &head, arrival.body),
            }
        })
        .unwrap_or(Taken::Used)
    }

    /// Something UCX had under way has ended.
    fn ended(&mut self, worker: &Worker, event: Event) {
        match event {
            Event::Done { token, status } => match Token::read(token) {
                Some(Token::Send { ep, slot }) => {
                    self.with_index(ep, |state, ep| state.send_ended(worker, ep, slot, status));
                }
                Some(Token::Frame(frame)) => self.frame_ended(worker, frame, status),
                _ => {}
            },
            Event::Failed { token, .. } if token == token::STRANGER => self.drop_strangers(worker),
            Event::Failed { token, status } => {
                if let Some(Token::Link { ep, link }) = Token::read(token) {
                    self.with(EpId(ep), |state, ep| {
                        if ep.link.is_some() && state.is_current(ep, link) {
                            state.break_off(worker, ep, status);
                        }
                    });
                }
            }
            Event::Knocked(knock) => self.knocked(worker, knock),
        }
    }

    fn frame_ended(&mut self, worker: &Worker, index: u32, status: UcsStatus) {
        let Some(frame) = self.frames.get(index) else { return };
        let (uses, mrs) = (frame.uses, frame.mrs());
        self.mrs.uses(mrs, false);
        match uses {
            Use::Free | Use::Control => self.frames.give_back(index),
            Use::Reply(ep) => {
                self.frames.give_back(index);
                self.with_index(ep, |state, ep| {
                    ep.ucx = ep.ucx.saturating_sub(1);
                    ep.responder.reading.retain(|other| *other != index);
                    state.run_held(worker, ep);
                });
            }
            Use::Fill { ep, seq, receive } => {
                self.frames.give_back(index);
                self.with_index(ep, |state, ep| {
                    ep.ucx = ep.ucx.saturating_sub(1);
                    state.filled(worker, ep, seq, receive, status);
                });
            }
            Use::Data { ep, slot } => {
                self.frames.give_back(index);
                self.with_index(ep, |state, ep| {
                    ep.ucx = ep.ucx.saturating_sub(1);
                    state.data_came(worker, ep, slot, status);
                });
            }
        }
    }

    /// Moves everything on once. Whether anything was done.
    pub(crate) fn turn(&mut self, worker: &Worker) -> bool {
        // What was put off for something to travel with, and found nothing.
        if !self.to_tell.is_empty() {
            self.tell_all(worker, true);
        }
        let mut busy = false;
        for _ in 0..ROUNDS_MAX {
            if !self.round(worker) {
                break;
            }
            busy = true;
        }
        if !self.to_tell.is_empty() {
            self.tell_all(worker, false);
        }
        self.mend(worker);
        busy
    }

    /// Asks UCX once, and looks after what it says. Whether it said anything.
    #[inline]
    fn round(&mut self, worker: &Worker) -> bool {
        let mut done = worker.progress(&mut |arrival| self.arrive(worker, arrival)) > 0;
        while let Some(event) = worker.take_event() {
            done = true;
            self.ended(worker, event);
        }
        done
    }

    /// As whoever polls does it: one look, and the clock now and then.
    #[inline]
    pub(crate) fn poll(&mut self, worker: &Worker) {
        if !self.to_tell.is_empty() {
            self.tell_all(worker, true);
        }
        self.round(worker);
        if !self.to_tell.is_empty() {
            self.tell_all(worker, false);
        }
        self.mend(worker);
        self.polls = self.polls.wrapping_add(1);
        if self.polls.is_multiple_of(POLLS_PER_TICK) {
            self.tick(worker, crate::watch::now_ns());
        }
    }

    /// Whether anything may take too long.
    pub(crate) fn is_waiting(&self) -> bool {
        let waits = |ep: &Endpoint| match ep.state {
            QpState::Init => ep.peer.is_some() || ep.responder.rnr.is_some(),
            QpState::Err => ep.ucx > 0,
            _ => ep.sends.waits() || ep.responder.rnr.is_some() || ep.ucx > 0 && ep.link.is_none(),
        };
        !self.closings.is_empty() || self.slots.iter().filter_map(|slot| slot.endpoint.as_deref()).any(waits)
    }

    fn is_current(&self, ep: &Endpoint, link: u32) -> bool {
        ep.life & 0xff_ffff == link
    }
}
