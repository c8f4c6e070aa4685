//! The iWARP handshake of one endpoint, step by step. `cm.rs` tells what it is for.

use wavetank_contract::EpId;

use crate::address::IwarpAddress;
use crate::cm::{STEP_MS, TICKS_MAX, token};
use crate::sys::{CmId, CmParam, Piece};

/// What a caller sends along: who is meant, and who calls.
const CALL_BYTES: usize = 20;
const CALL_MAGIC: &[u8; 4] = b"WTC1";

fn encode_call(to: u64, from: u64) -> [u8; CALL_BYTES] {
    let mut bytes = [0; CALL_BYTES];
    bytes[..4].copy_from_slice(CALL_MAGIC);
    bytes[4..12].copy_from_slice(&to.to_le_bytes());
    bytes[12..].copy_from_slice(&from.to_le_bytes());
    bytes
}

/// Devices pad what was sent along with zeroes; nothing else may follow.
pub(crate) fn decode_call(bytes: &[u8]) -> Option<(u64, u64)> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (to, rest) = rest.split_first_chunk::<8>()?;
    let (from, rest) = rest.split_first_chunk::<8>()?;
    let sane = magic == CALL_MAGIC && rest.iter().all(|b| *b == 0);
    sane.then(|| (u64::from_le_bytes(*to), u64::from_le_bytes(*from)))
}

/// A word for the peer to READ, and a place for the peer's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness {
    /// Address and remote key.
    pub(crate) shown: (u64, u32),
    /// Where the peer's word goes. Nobody looks at it.
    pub(crate) sink: Piece,
}

/// A READ that confirms what was sent before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmation {
    pub(crate) remote: (u64, u32),
    pub(crate) sink: Piece,
}

/// How far an endpoint's connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody said who the peer is.
    Idle,
    /// The peer is to call.
    Awaiting,
    /// We call.
    Calling,
    /// The devices agree; the caller's message is under way.
    Greeting,
    /// Both ends heard from each other.
    Ready,
    /// It came to nothing, or to an end.
    Failed,
}

/// The connection of one endpoint.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// What a caller of this endpoint has to name.
    pub(crate) nonce: u64,
    pub(crate) phase: Phase,
    pub(crate) is_caller: bool,
    /// What the peer may READ of us, and where its own such word lands.
    pub(crate) witness: Witness,
    pub(crate) peer: Option<IwarpAddress>,
    pub(crate) id: Option<CmId>,
    pub(crate) ticks_left: u8,
    /// Whether it is among the device's pending ones.
    pub(crate) pending: bool,
    qp_num: u32,
    max_rd_atomic: u8,
    max_dest_rd_atomic: u8,
}

impl Handshake {
    pub(crate) fn new(qp_num: u32, rd_atomic: (u8, u8), nonce: u64, witness: Witness) -> Handshake {
        let (max_rd_atomic, max_dest_rd_atomic) = rd_atomic;
        Handshake {
            nonce,
            witness,
            phase: Phase::Idle,
            is_caller: false,
            peer: None,
            id: None,
            ticks_left: TICKS_MAX,
            pending: false,
            qp_num,
            // The doorbell's own READs (see `doorbell.rs`) need one.
            max_rd_atomic: max_rd_atomic.max(1),
            max_dest_rd_atomic: max_dest_rd_atomic.max(1),
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Awaiting | Phase::Calling | Phase::Greeting)
    }

    /// How this endpoint's sends are confirmed, once it knows its peer.
    #[inline]
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        let peer = self.peer.as_ref()?;
        Some(Confirmation { remote: peer.witness, sink: self.witness.sink })
    }

    fn param<'a>(&self, data: &'a [u8]) -> CmParam<'a> {
        CmParam {
            qp_num: self.qp_num,
            max_rd_atomic: self.max_rd_atomic,
            max_dest_rd_atomic: self.max_dest_rd_atomic,
            data,
        }
    }

    /// Takes the peer's call.
    pub(crate) fn accept(&mut self, ep: EpId, id: CmId) {
        id.set_token(token(ep));
        let accepted = id.accept(&self.param(&[]));
        self.id = Some(id);
        if accepted.is_err() {
            self.phase = Phase::Failed;
        }
    }

    /// One second less. Whether the time is up.
    pub(crate) fn one_second_less(&mut self) -> bool {
        if !self.is_under_way() {
            return false;
        }
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if self.ticks_left == 0 {
            self.phase = Phase::Failed;
        }
        self.ticks_left == 0
    }

    /// Takes the next step, as an event of our connection says. Whether the devices agree now.
    pub(crate) fn step(&mut self, kind: u32) -> bool {
        use rdma_sys::rdma_cm_event_type as E;
        let (Some(id), Some(peer)) = (&self.id, &self.peer) else { return false };
        let next = match kind {
            E::RDMA_CM_EVENT_ADDR_RESOLVED => id.resolve_route(STEP_MS),
            E::RDMA_CM_EVENT_ROUTE_RESOLVED => id.connect(&self.param(&encode_call(peer.nonce, self.nonce))),
            E::RDMA_CM_EVENT_ESTABLISHED => {
                // The caller's message may have come before this event.
                let news = matches!(self.phase, Phase::Awaiting | Phase::Calling);
                if news {
                    self.phase = Phase::Greeting;
                }
                return news;
            }
            // Addresses of a live connection may change without harm; a connection that timed out has ended before.
            E::RDMA_CM_EVENT_ADDR_CHANGE | E::RDMA_CM_EVENT_TIMEWAIT_EXIT => Ok(()),
            // Refused, unreachable, disconnected, device removed.
            _ => Err(kind as i32),
        };
        if next.is_err() {
            self.phase = Phase::Failed;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_call_names_both_ends_and_garbage_names_none(
            to in any::<u64>(), from in any::<u64>(), junk in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let call = encode_call(to, from);
            prop_assert_eq!(decode_call(&call), Some((to, from)));
            let padded = [&call[..], &[0; 30]].concat();
            prop_assert_eq!(decode_call(&padded), Some((to, from)));
            prop_assert!(decode_call(&call[..CALL_BYTES - 1]).is_none());
            if !junk.starts_with(CALL_MAGIC) {
                prop_assert!(decode_call(&junk).is_none());
            }
        }
    }
}
