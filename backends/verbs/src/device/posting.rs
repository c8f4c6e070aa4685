//! Posting works and ringing for them.

use wavetank_contract::error::{PostError, RingError};
use wavetank_contract::{Caps, Data, EpId, Op, OpKind, QpState, RemoteAddr, Sge, SrqId, Work};

use super::VerbsDevice;
use crate::doorbell::Room;
use crate::endpoint::{Posted, WorkName};
use crate::error::system;
use crate::handshake::Handshake;
use crate::memory::wire_key;
use crate::sys::{PartlyTaken, SendWork, Verb};

const QPS_ERR: u32 = crate::status::qp_state_number(QpState::Err);

/// What can be told of a work without its endpoint: its pieces and length.
#[inline]
fn check<'a>(work: &Work<'a>, caps: &Caps) -> Result<(&'a [Sge], u32), PostError> {
    let kind = work.op.kind();
    let pieces = match work.data {
        Data::Pieces(sges) if sges.len() > caps.sge_max as usize => {
            return Err(PostError::TooManyPieces { asked: sges.len(), max: caps.sge_max });
        }
        Data::Pieces(sges) => sges,
        Data::Inline(bytes) if bytes.len() > caps.inline_bytes_max as usize => {
            return Err(PostError::InlineTooLong { asked: bytes.len(), max: caps.inline_bytes_max });
        }
        Data::Inline(_) if kind.fills_local() => return Err(PostError::InlineNotSending),
        Data::Inline(_) => &[],
    };
    let asked_bytes = work.data.len_bytes();
    if asked_bytes > u64::from(caps.message_bytes_max) {
        return Err(PostError::MessageTooLong { asked_bytes, max_bytes: caps.message_bytes_max });
    }
    if work.op.imm().is_some() && !caps.immediate {
        return Err(PostError::NotPromised("immediates"));
    }
    if kind.is_atomic() {
        if !caps.atomics {
            return Err(PostError::NotPromised("atomics"));
        }
        if pieces.len() != 1 || asked_bytes != 8 {
            return Err(PostError::AtomicShape { pieces: pieces.len(), len_bytes: asked_bytes });
        }
    }
    Ok((pieces, asked_bytes as u32))
}

#[inline]
fn place(remote: RemoteAddr) -> (u64, u32) {
    (remote.addr, wire_key(remote.rkey))
}

/// What a send-side work does, in the device's terms. `None` for a receive.
#[inline]
fn verb(op: &Op) -> Option<Verb> {
    Some(match *op {
        Op::Recv => return None,
        Op::Send { imm } => Verb::Send { imm },
        Op::Write { remote, imm } => Verb::Write { remote: place(remote), imm },
        Op::Read { remote } => Verb::Read { remote: place(remote) },
        Op::CompareSwap { remote, compare, swap } => {
            Verb::CompareSwap { remote: place(remote), compare, swap }
        }
        Op::FetchAdd { remote, add } => Verb::FetchAdd { remote: place(remote), add },
    })
}

impl VerbsDevice {
    #[inline]
    pub(crate) fn post_work(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        let endpoint = self.endpoint(ep).ok_or(PostError::Unknown(ep))?;
        let (pieces, len) = check(work, &self.caps)?;
        let state = endpoint.state;
        // A doorbell of this batch came early and failed: what follows it is not taken either.
        if let Some(refused) = endpoint.rung.refused {
            return Err(refused);
        }
        let posted = Posted { id: work.id, kind: work.op.kind(), len };
        let Some(verb) = verb(&work.op) else {
            if !state.accepts_receives() {
                return Err(PostError::WrongState { ep, state });
            }
            if endpoint.spec.shared_receive.is_some() {
                return Err(PostError::NotPromised(
                    "receives of its own to an endpoint that shares a receive queue",
                ));
            }
            if endpoint.receives.is_full() {
                return Err(PostError::QueueFull { ep, depth: endpoint.receives.depth });
            }
            return self.chain_receive(ep, posted, pieces);
        };
        if !state.accepts_sends() {
            return Err(PostError::WrongState { ep, state });
        }
        if endpoint.sends.is_full() {
            return Err(PostError::QueueFull { ep, depth: endpoint.sends.depth });
        }
        if endpoint.spec.max_rd_atomic == 0 && posted.kind.is_read_or_atomic() {
            return Err(PostError::NotPromised("READs and atomics of an endpoint whose max_rd_atomic is 0"));
        }
        let inline = match work.data {
            Data::Inline(bytes) => Some(bytes),
            Data::Pieces(_) => None,
        };
        let room = Room { pieces: pieces.len(), inline_bytes: inline.map_or(0, <[u8]>::len) };
        self.doorbell.make_room_for_send(ep, room, &mut self.endpoints);
        let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else {
            return Err(PostError::Unknown(ep));
        };
        if let Some(refused) = endpoint.rung.refused {
            return Err(refused);
        }
        let seq = endpoint.sends.enter(posted);
        let wr_id = WorkName::Send(ep, seq).encode();
        let send = SendWork { wr_id, verb, signalled: work.signalled, fence: work.fence };
        let confirmation = endpoint.handshake.as_ref().and_then(Handshake::confirmation);
        let pieces = pieces.iter().map(|sge| self.mrs.piece(sge));
        self.doorbell.push_send(send, inline, pieces, confirmation);
        Ok(())
    }

    #[inline]
    fn chain_receive(&mut self, ep: EpId, posted: Posted, pieces: &[Sge]) -> Result<(), PostError> {
        self.doorbell.make_room_for_receive(ep, pieces.len(), &mut self.endpoints);
        let Some(Some(endpoint)) = self.endpoints.get_mut(ep.0 as usize) else {
            return Err(PostError::Unknown(ep));
        };
        if let Some(refused) = endpoint.rung.refused {
            return Err(refused);
        }
        let seq = endpoint.receives.enter(posted);
        let wr_id = WorkName::Recv(ep, seq).encode();
        self.doorbell.push_receive(wr_id, pieces.iter().map(|sge| self.mrs.piece(sge)));
        Ok(())
    }

    #[inline]
    pub(crate) fn ring_endpoint(&mut self, ep: EpId) -> Result<(), RingError> {
        self.doorbell.ring(ep, &mut self.endpoints);
        let Some(endpoint) = self.endpoint_mut(ep) else { return Ok(()) };
        let rung = std::mem::take(&mut endpoint.rung);
        let dead = endpoint.handshake.is_some() && endpoint.qp.state() == Ok(QPS_ERR);
        if dead {
            self.bury(ep);
        }
        match rung.refused {
            None => Ok(()),
            Some(error) => Err(RingError { taken: rung.taken, error }),
        }
    }

    pub(crate) fn post_shared_work(&mut self, srq: SrqId, work: &Work<'_>) -> Result<(), PostError> {
        const GONE: PostError = PostError::Gone("the shared receive queue");
        if self.caps.shared_receive_depth_max == 0 {
            return Err(PostError::NotPromised("shared receive queues"));
        }
        if work.op.kind() != OpKind::Recv {
            return Err(PostError::NotPromised("anything but receives on a shared receive queue"));
        }
        let (pieces, _) = check(work, &self.caps)?;
        let (mrs, shared) =
            (&self.mrs, self.shared.get_mut(srq.0 as usize).and_then(Option::as_mut).ok_or(GONE)?);
        let full = system(
            "ibv_post_srq_recv(3)",
            libc::ENOMEM,
            "the shared receive queue is full; poll, then post again",
        );
        let place = shared.enter(work.id).ok_or(PostError::System(full))?;
        let wr_id = WorkName::Shared(srq.0, place).encode();
        shared.chain.push(wr_id, pieces.iter().map(|sge| mrs.piece(sge)));
        match shared.chain.submit_shared(&shared.srq) {
            Ok(_) => Ok(()),
            Err(PartlyTaken { errno, .. }) => {
                shared.complete(place);
                Err(PostError::System(system("ibv_post_srq_recv(3)", errno, "")))
            }
        }
    }
}
