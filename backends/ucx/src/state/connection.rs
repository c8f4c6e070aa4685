//! How endpoints find each other, and how they part.

use std::net::SocketAddr;

use wavetank_contract::error::{ConnectError, ModifyError};
use wavetank_contract::{AsyncEvent, EpId, QpState};

use super::{Early, HELLOS_MAX, State};
use crate::address::{Address, EXPECTED, Hello, Place};
use crate::config::Transport;
use crate::endpoint::{Control, Endpoint, Peer, Receives, Responder, Sends};
use crate::frames::Use;
use crate::lanes;
use crate::memory::WORDS;
use crate::packed::{self, Range};
use crate::sys::{Knock, Sender, UcsStatus, Worker};
use crate::token;
use crate::wire::{Head, Kind};

const ASTRAY: &str =
    "UCX would go over another transport than this device is of; `wavetank doctor --backend ucx` says which";

impl State {
    /// Where an endpoint is reached.
    pub(crate) fn address(&self, ep: EpId) -> Option<Address> {
        let settings = &self.settings;
        self.get(ep).map(|ep| Address {
            transport: settings.transport,
            nonce: settings.nonce,
            ep: ep.id.0,
            process: settings.process,
            place: settings.place.clone(),
        })
    }

    /// Points an endpoint at its peer. It is ready some turns later, when both said hello.
    pub(crate) fn connect(
        &mut self,
        worker: &Worker,
        ep: &mut Endpoint,
        address: &Address,
        len_bytes: usize,
    ) -> Result<(), ConnectError> {
        if !matches!(ep.state, QpState::Reset | QpState::Init) || ep.peer.is_some() {
            return Err(ConnectError::WrongState { ep: ep.id, state: ep.state });
        }
        let ours = &self.settings;
        if address.transport != ours.transport {
            return Err(ConnectError::Unreachable("it is of another UCX transport than this device"));
        }
        let here = address.process.boot == ours.process.boot;
        if ours.transport == Transport::Shm && !here {
            return Err(ConnectError::Unreachable(
                "shared memory ends with the machine, and it is on another",
            ));
        }
        if ours.transport == Transport::Shm && address.process.namespace != ours.process.namespace {
            return Err(ConnectError::Unreachable(
                "it is in another PID namespace (a container of its own), and UCX shares memory within one only; run both in \
                 one (`--pid=host`), or take the transport tcp",
            ));
        }
        if ours.transport == Transport::Shm && !is_of_this_user(address.process.pid) {
            return Err(ConnectError::Unreachable(
                "its process is gone or another user's, and UCX shares memory between processes of one user only; take the \
                 transport tcp",
            ));
        }
        if ours.transport == Transport::Loopback && address.nonce != ours.nonce {
            return Err(ConnectError::Unreachable("the transport self reaches its own worker only"));
        }
        if matches!(
            (ours.transport, &address.place),
            (Transport::Shm | Transport::Loopback, Place::Listener(_))
        ) {
            return Err(ConnectError::Unreachable("this transport has no listeners"));
        }
        if let Place::Worker(bytes) = &address.place {
            let owner = (ours.transport == Transport::Shm).then_some(address.process.pid);
            let fits = packed::check_address(&ours.own, bytes, owner);
            fits.ok_or(ConnectError::Malformed { len_bytes, expected: EXPECTED })?;
        }
        if here
            && address.process.namespace == ours.process.namespace
            && address.process.pid != ours.process.pid
        {
            self.watch.add(address.process.pid, ep.id);
        }
        self.lives = self.lives.wrapping_add(1).max(1);
        (ep.life, ep.broken) = (self.lives, None);
        let token = token::link(ep.id.0, ep.life);
        let link = match &address.place {
            Place::Worker(bytes) => worker.connect(bytes, self.settings.peer_errors, token).map(Some),
            Place::Listener(at) => {
                // One end knocks, the other waits: which is which both know.
                let knocks = (ours.nonce, ep.id.0) < (address.nonce, address.ep);
                if knocks { worker.connect_to(*at, token).map(Some) } else { Ok(None) }
            }
        };
        ep.link = link.map_err(|why| refused(why, len_bytes))?;
        if self.strays(worker, ep, address) {
            self.watch.forget(ep.id);
            self.unlink(worker, ep, true);
            return Err(ConnectError::Unreachable(ASTRAY));
        }
        self.begin(worker, ep, address);
        Ok(())
    }

    /// Whether UCX chose another transport than was asked for. Looked at once in a connection: UCX writes a page for it.
    fn strays(&self, worker: &Worker, ep: &Endpoint, peer: &Address) -> bool {
        let Some(link) = &ep.link else { return false };
        let same_worker = peer.nonce == self.settings.nonce;
        lanes::astray(self.settings.transport, same_worker, &lanes::read(&worker.describe(link))).is_some()
    }

    fn begin(&mut self, worker: &Worker, ep: &mut Endpoint, address: &Address) {
        ep.state = QpState::Init;
        ep.peer = Some(Peer::new(address.clone()));
        ep.deadline_ns = crate::watch::now_ns().saturating_add(self.settings.connect_timeout_ns);
        ep.heard = false;
        self.next_tick_ns = 0;
        let id = ep.id.0;
        let early = self
            .hellos
            .iter()
            .position(|early| early.to == id && ep.peer.as_ref().is_some_and(|peer| peer.is(&early.hello)));
        match early.map(|at| self.hellos.swap_remove(at)) {
            Some(early) => self.greeted(worker, ep, &early.hello, early.from),
            None => self.greet(worker, ep),
        }
    }

    /// Somebody says hello to an endpoint.
    pub(super) fn hello(&mut self, worker: &Worker, to: u32, hello: Hello, from: Option<Sender>) {
        let known = self.with(EpId(to), |state, ep| {
            if ep.peer.as_ref().is_some_and(|peer| peer.is(&hello)) {
                if matches!(ep.state, QpState::Init | QpState::Rts | QpState::Sqd) {
                    state.greeted(worker, ep, &hello, from);
                }
                true
            } else {
                ep.peer.is_some()
            }
        });
        // It comes early: the endpoint will be pointed at somebody, perhaps at whoever this is.
        if known == Some(false) {
            let same = |old: &Hello| (old.nonce, old.ep) == (hello.nonce, hello.ep);
            self.hellos.retain(|early| early.to != to || !same(&early.hello));
            if self.hellos.len() < HELLOS_MAX {
                self.hellos.push(Early { to, hello, from });
            }
        }
    }

    /// The peer said hello.
    fn greeted(&mut self, worker: &Worker, ep: &mut Endpoint, hello: &Hello, from: Option<Sender>) {
        // Whoever waits for a knock learns here who knocked.
        if ep.link.is_none()
            && let Some(at) = from.and_then(|from| self.unbound.iter().position(|link| link.is(from)))
        {
            let mut link = self.unbound.swap_remove(at);
            link.set_token(token::link(ep.id.0, ep.life));
            ep.link = Some(link);
        }
        let (Some(peer), Some(link)) = (&mut ep.peer, &ep.link) else { return };
        if peer.life != 0 && peer.life != hello.life {
            // The other end began anew; this one is of a connection that is no more.
            if ep.state != QpState::Init {
                return;
            }
            peer.echoed = 0;
        }
        if peer.life != hello.life {
            (peer.life, peer.access, peer.pd) = (hello.life, hello.access, hello.pd);
            (peer.rnr_retry, peer.patience_ns) = (hello.rnr_retry, hello.patience_ns);
            peer.control = None;
            let range = Range {
                addr: hello.control_addr,
                len: 4 * WORDS as u64,
                owner: Some(peer.address.process.pid),
            };
            // Where no memory is shared there are no control words, whatever a peer says.
            let ours = &self.settings.control_rkey;
            if !ours.is_empty() && packed::check_key(ours, &hello.control_rkey, range).is_some() {
                let rkey = worker.unpack(link, &hello.control_rkey).ok();
                peer.control = rkey.and_then(|rkey| Control::new(rkey, hello.control_addr));
            }
        }
        self.mrs.announce(ep.id, ep.life);
        let (knows, owes) = (hello.echo == ep.life, peer.echoed != peer.life);
        if owes {
            self.greet(worker, ep);
        }
        if knows && ep.state == QpState::Init {
            if let Some(peer) = &ep.peer
                && matches!(peer.address.place, Place::Listener(_))
                && self.strays(worker, ep, &peer.address)
            {
                return self.break_off(worker, ep, UcsStatus::UNREACHABLE);
            }
            ep.state = QpState::Rts;
            ep.deadline_ns = 0;
            self.start(worker, ep);
        }
    }

    /// Says hello.
    fn greet(&mut self, worker: &Worker, ep: &mut Endpoint) {
        let Some(peer) = ep.peer.as_mut().filter(|_| ep.link.is_some()) else { return };
        let hello = Hello {
            nonce: self.settings.nonce,
            ep: ep.id.0,
            life: ep.life,
            echo: peer.life,
            access: ep.spec.access,
            pd: ep.spec.pd.0,
            rnr_retry: ep.spec.rnr_retry,
            patience_ns: u64::MAX,
            control_addr: self.settings.control_addr,
            control_rkey: self.settings.control_rkey.clone(),
        };
        peer.echoed = peer.life;
        let head = Head::new(Kind::Hello, peer.address.ep, peer.life);
        let hello = Hello { patience_ns: ep.patience_ns(), ..hello };
        let frame = self.frames.take(worker, Use::Control);
        if let Some(place) = self.frames.get_mut(frame) {
            place.header_len = head.write(&mut place.header);
            place.body = hello.encode();
        }
        self.send_frame(worker, ep, frame);
    }

    /// Somebody knocks at the listener.
    pub(super) fn knocked(&mut self, worker: &Worker, knock: Knock) {
        if self.unbound.len() < HELLOS_MAX {
            // Refused, it is over: the other end finds out.
            self.unbound.extend(worker.accept(knock, token::STRANGER));
        } else if let Some(listener) = &self.listener {
            listener.reject(knock);
        }
    }

    /// Some connection of nobody failed. Which one is not told, and none of them is anybody's: those who are alive knock again.
    pub(super) fn drop_strangers(&mut self, worker: &Worker) {
        for link in std::mem::take(&mut self.unbound) {
            let mut closing = worker.close(link, true);
            if !worker.is_closed(&mut closing) {
                self.closings.push(closing);
            }
        }
    }

    /// Listens. Where, with the port it got.
    pub(crate) fn listen(&mut self, worker: &Worker, on: SocketAddr) -> Result<(), UcsStatus> {
        let listener = worker.listen(on)?;
        self.settings.place = Place::Listener(SocketAddr::new(on.ip(), listener.port()?));
        self.listener = Some(listener);
        Ok(())
    }

    /// Nobody may knock any more.
    pub(super) fn stop_listening(&mut self, worker: &Worker) {
        self.listener = None;
        self.drop_strangers(worker);
    }

    /// Moves an endpoint to another state.
    pub(crate) fn modify(&mut self, worker: &Worker, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        let state = self.get(ep).map(|ep| ep.state).ok_or(ModifyError::Unknown(ep))?;
        state.transition(to)?;
        if to == QpState::Reset {
            self.release(worker, ep);
        }
        let moved = self.with(ep, |state, ep| {
            match to {
                QpState::Reset => state.reset(worker, ep),
                QpState::Err => state.die(worker, ep),
                QpState::Rtr => return Err(ModifyError::NoPeer(ep.id)),
                QpState::Init => ep.state = QpState::Init,
                QpState::Rts => {
                    (ep.state, ep.draining) = (QpState::Rts, false);
                    state.start(worker, ep);
                }
                QpState::Sqd => {
                    (ep.state, ep.draining) = (QpState::Sqd, true);
                    state.settle(worker, ep);
                }
            }
            Ok(())
        });
        moved.unwrap_or(Err(ModifyError::Unknown(ep)))
    }

    /// Forgets everything an endpoint was.
    fn reset(&mut self, worker: &Worker, ep: &mut Endpoint) {
        self.mrs.announce(ep.id, 0);
        self.drop_held(worker, ep);
        self.unlink(worker, ep, false);
        self.forget_completions(ep.id, [ep.spec.send_cq, ep.spec.recv_cq]);
        self.watch.forget(ep.id);
        self.hellos.retain(|early| early.to != ep.id.0);
        (ep.state, ep.peer, ep.life, ep.broken) = (QpState::Reset, None, 0, None);
        (ep.deadline_ns, ep.heard, ep.draining) = (0, false, false);
        ep.responder = Responder::default();
        if ep.ucx > 0 {
            // UCX would not let go. What it holds stays as it is, and this endpoint takes no work any more.
            ep.state = QpState::Err;
            self.tell(ep.owner, AsyncEvent::DeviceFatal);
            return;
        }
        let sends = Sends::new(worker, ep.index, ep.spec.send_depth);
        let former = std::mem::replace(&mut ep.sends, sends);
        if std::mem::take(&mut ep.disowned) {
            self.lost_sends.push(former);
        }
        ep.receives = Receives::with_depth(ep.spec.recv_depth);
    }
}

/// Whether a process of this namespace lives and may share memory with this one.
fn is_of_this_user(pid: u32) -> bool {
    let user = rustix::process::geteuid().as_raw();
    rustix::fs::stat(format!("/proc/{pid}")).is_ok_and(|stat| stat.st_uid == user)
}

fn refused(why: UcsStatus, len_bytes: usize) -> ConnectError {
    match why {
        UcsStatus::UNREACHABLE => {
            ConnectError::Unreachable("UCX finds no way there with this transport and its network devices")
        }
        UcsStatus::INVALID_ADDR | UcsStatus::INVALID_PARAM => {
            ConnectError::Malformed { len_bytes, expected: EXPECTED }
        }
        _ => {
            ConnectError::Unreachable("UCX refuses to connect; `wavetank doctor --backend ucx` looks further")
        }
    }
}
