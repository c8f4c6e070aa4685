//! Connections on iWARP, where devices shake hands: through librdmacm, without ever waiting for it.
//!
//! The contract's ends are equal, and neither waits; a handshake has a caller and a called. So a device listens on one port,
//! and each endpoint announces that port with a nonce of its own. Once both ends know each other's address, the one whose
//! address is the greater calls and names both nonces, and the other accepts the call that does. Then each end sends the other
//! an empty message, the caller first. It tells the caller's message reached a queue pair that listens (MPA forbids the called
//! side to speak first: RFC 5044 section 7.1.2) and both that the other is there. Only then is an endpoint in RTS.

use std::net::{IpAddr, SocketAddrV6};
use std::rc::Rc;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use wavetank_contract::EpId;
use wavetank_contract::error::SystemError;

use crate::address::IwarpAddress;
use crate::error::system;
use crate::handshake::{Handshake, Phase, decode_call};
use crate::sys::{CmChannel, CmId, Rdmacm};

/// How long a step of the handshake may take.
pub(crate) const STEP_MS: i32 = 5_000;

/// How long a handshake may take in all, in ticks of a second.
pub(crate) const TICKS_MAX: u8 = 15;

/// Requests kept for endpoints that were not told of their peer yet.
const EARLY_MAX: usize = 256;

/// Requests the system keeps for us between two polls.
const BACKLOG: i32 = 256;

/// The listener's events. Endpoints have their number and one.
const LISTENER: usize = 0;

/// The number under which an endpoint's connection is known.
pub(crate) fn token(ep: EpId) -> usize {
    ep.0 as usize + 1
}

/// The connection manager of one device.
#[derive(Debug)]
pub(crate) struct Cm {
    /// Dropped before the channel.
    early: Vec<(u64, u64, CmId)>,
    _listener: CmId,
    channel: Rc<CmChannel>,
    at: SocketAddrV6,
    timer: OwnedFd,
    /// Handshakes under way.
    pub(crate) pending: u32,
}

/// What came of looking at the connection manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The devices of this endpoint and its peer agree.
    Agreed(EpId),
    /// The connection of this endpoint is over.
    Over(EpId),
    /// A second went by.
    Tick,
}

impl Cm {
    /// Listens on an address of the device.
    pub(crate) fn new(library: &'static Rdmacm, ip: IpAddr) -> Result<Cm, SystemError> {
        let failed = |call, advice| move |errno| system(call, errno, advice);
        let channel = CmChannel::new(library).map_err(failed(
            "rdma_create_event_channel(3)",
            "`modprobe rdma_ucm`; `ls -l /dev/infiniband/rdma_cm`",
        ))?;
        let listener =
            CmId::new(&channel, LISTENER).map_err(failed("rdma_create_id(3)", "`modprobe rdma_ucm`"))?;
        let ip = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut at = SocketAddrV6::new(ip, 0, 0, 0);
        let port = listener.listen(&at, BACKLOG).map_err(failed("rdma_listen(3)", ""))?;
        at.set_port(port);
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(|e| system("timerfd_create(2)", e.raw_os_error(), ""))?;
        Ok(Cm { early: Vec::new(), _listener: listener, channel, at, timer, pending: 0 })
    }

    /// What becomes readable with news.
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.channel.fd(), self.timer.as_fd()]
    }

    /// What an endpoint announces.
    pub(crate) fn address(&self, shake: &Handshake) -> IwarpAddress {
        IwarpAddress { at: self.at, nonce: shake.nonce, witness: shake.witness.shown }
    }

    /// Lets the seconds be told, or not.
    fn tick(&self, on: bool) {
        let second = Timespec { tv_sec: i64::from(on), tv_nsec: 0 };
        let spec = Itimerspec { it_interval: second, it_value: second };
        // Without ticks a peer that never calls is waited for until the endpoint is closed.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec);
    }

    /// A handshake is no longer under way.
    pub(crate) fn ended(&mut self, shake: &mut Handshake) {
        if std::mem::take(&mut shake.pending) {
            self.pending = self.pending.saturating_sub(1);
            if self.pending == 0 {
                self.tick(false);
            }
        }
    }

    /// Tells an endpoint who its peer is. It calls, or waits to be called.
    pub(crate) fn connect(
        &mut self,
        ep: EpId,
        shake: &mut Handshake,
        peer: IwarpAddress,
    ) -> Result<(), SystemError> {
        let own = self.address(shake);
        shake.is_caller = own > peer;
        if shake.is_caller {
            let id = CmId::new(&self.channel, token(ep))
                .map_err(|errno| system("rdma_create_id(3)", errno, ""))?;
            let mut from = self.at;
            from.set_port(0);
            id.resolve_addr(&from, &peer.at, STEP_MS)
                .map_err(|errno| system("rdma_resolve_addr(3)", errno, ""))?;
            (shake.id, shake.phase) = (Some(id), Phase::Calling);
        } else {
            shake.phase = Phase::Awaiting;
            let call = self.early.iter().position(|(to, from, _)| (*to, *from) == (shake.nonce, peer.nonce));
            if let Some(call) = call {
                shake.accept(ep, self.early.swap_remove(call).2);
            }
        }
        shake.peer = Some(peer);
        (shake.ticks_left, shake.pending) = (TICKS_MAX, true);
        self.pending += 1;
        if self.pending == 1 {
            self.tick(true);
        }
        Ok(())
    }

    /// Looks once. `find` finds the endpoint of a number, or the one that awaits this call.
    pub(crate) fn next(&mut self, shakes: &mut dyn Shakes) -> Option<News> {
        let mut expirations = [0; 8];
        if self.pending > 0 && rustix::io::read(&self.timer, &mut expirations).is_ok() {
            return Some(News::Tick);
        }
        while let Some(event) = self.channel.next() {
            if let Some(id) = event.request {
                self.called(&event.data, id, shakes);
                continue;
            }
            let Some(ep) = event.token.checked_sub(1).and_then(|n| u32::try_from(n).ok()).map(EpId) else {
                continue;
            };
            let Some(shake) = shakes.of(ep) else { continue };
            if shake.step(event.kind) {
                return Some(News::Agreed(ep));
            }
            if shake.phase == Phase::Failed {
                return Some(News::Over(ep));
            }
        }
        None
    }

    /// Somebody calls.
    fn called(&mut self, data: &[u8], id: CmId, shakes: &mut dyn Shakes) {
        let Some((to, from)) = decode_call(data) else {
            id.reject();
            return;
        };
        match shakes.meant(to) {
            Some((ep, shake)) => match shake.peer {
                Some(peer) if peer.nonce == from && shake.phase == Phase::Awaiting && shake.id.is_none() => {
                    shake.accept(ep, id);
                }
                // It was not told of its peer yet.
                None if shake.phase == Phase::Idle => {
                    if self.early.len() == EARLY_MAX {
                        self.early.remove(0).2.reject();
                    }
                    self.early.push((to, from, id));
                }
                _ => id.reject(),
            },
            None => id.reject(),
        }
    }

    /// Forgets calls for an endpoint that is no more.
    pub(crate) fn forget(&mut self, nonce: u64) {
        self.early.retain(|(to, ..)| *to != nonce);
    }
}

/// Where the connections of endpoints are.
pub(crate) trait Shakes {
    /// That of an endpoint.
    fn of(&mut self, ep: EpId) -> Option<&mut Handshake>;
    /// The endpoint that announced a nonce.
    fn meant(&mut self, nonce: u64) -> Option<(EpId, &mut Handshake)>;
}

impl Shakes for Vec<Option<Box<crate::endpoint::Endpoint>>> {
    fn of(&mut self, ep: EpId) -> Option<&mut Handshake> {
        self.get_mut(ep.0 as usize)?.as_deref_mut()?.handshake.as_mut()
    }

    fn meant(&mut self, nonce: u64) -> Option<(EpId, &mut Handshake)> {
        (0..).zip(self).find_map(|(number, endpoint)| {
            let shake = endpoint.as_deref_mut()?.handshake.as_mut()?;
            (shake.nonce == nonce).then_some((EpId(number), shake))
        })
    }
}
