//! The doorbell: works are chained as they are posted and handed to the device in one call.
//!
//! A device has one chain for sends and one for receives, and at most one of them holds works, of one endpoint: posting
//! anything else rings for what waits. So the memory of a chain is paid once per device, and the works a doorbell answers
//! for are always the first so many of those posted.
//!
//! On iWARP a WRITE or SEND completes when its bytes are in the TCP stream, and the contract promises more: a WRITE that
//! succeeded is placed. So a signalled one is posted without its signal, followed by a READ of a word that the peer keeps for
//! this, which has its name and signal: the peer answers a READ after it placed everything before it (RFC 5040 section 5.5).
//! A READ of no bytes would do, but siw may answer one with bytes: siw_qp_tx.c sets `num_sge` of every READ response to 1, and
//! siw_qp.c siw_activate_tx leaves there what was sent last.

use wavetank_contract::EpId;
use wavetank_contract::error::PostError;

use crate::endpoint::Endpoint;
use crate::error::system;
use crate::handshake::Confirmation;
use crate::sys::{PartlyTaken, Piece, RecvChain, SendChain, SendWork, Verb};

/// Works that wait for one doorbell at most.
const WORKS: usize = 64;

/// A piece of no bytes.
pub(crate) const NOWHERE: Piece = Piece { addr: 0, len: 0, lkey: 0 };

/// Whose works wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nobody,
    Sends(EpId),
    Receives(EpId),
}

/// The chains of one device.
#[derive(Debug)]
pub(crate) struct Doorbell {
    pub(crate) sends: SendChain,
    pub(crate) receives: RecvChain,
    waiting: Waiting,
    /// Whether receives posted in ERR stay where they are until somebody says ERR again: see [`Doorbell::flush`].
    nudge_receives: bool,
    /// Whether every work needs a piece, be it empty: siw's provider takes none without (providers/siw/siw.c).
    pieces_needed: bool,
}

/// What a work needs room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) pieces: usize,
    pub(crate) inline_bytes: usize,
}

impl Doorbell {
    pub(crate) fn new(
        sge_max: u32,
        inline_bytes_max: u32,
        nudge_receives: bool,
        pieces_needed: bool,
    ) -> Doorbell {
        // Room for a few of the largest works, or many ordinary ones.
        let pieces = 4 * WORKS + sge_max as usize;
        let inline_bytes = 64 * WORKS + inline_bytes_max as usize;
        Doorbell {
            sends: SendChain::new(WORKS, pieces, inline_bytes),
            receives: RecvChain::new(WORKS, pieces),
            waiting: Waiting::Nobody,
            nudge_receives,
            pieces_needed,
        }
    }

    fn endpoint_waiting(&self) -> Option<EpId> {
        match self.waiting {
            Waiting::Nobody => None,
            Waiting::Sends(ep) | Waiting::Receives(ep) => Some(ep),
        }
    }

    /// Makes room for a send of this endpoint.
    #[inline]
    pub(crate) fn make_room_for_send(
        &mut self,
        ep: EpId,
        room: Room,
        endpoints: &mut [Option<Box<Endpoint>>],
    ) {
        let wanted = Waiting::Sends(ep);
        if self.waiting != wanted || !self.sends.fits(room.pieces, room.inline_bytes) {
            self.flush(endpoints);
            self.waiting = wanted;
        }
    }

    /// Makes room for a receive of this endpoint.
    #[inline]
    pub(crate) fn make_room_for_receive(
        &mut self,
        ep: EpId,
        pieces: usize,
        endpoints: &mut [Option<Box<Endpoint>>],
    ) {
        let wanted = Waiting::Receives(ep);
        if self.waiting != wanted || !self.receives.fits(pieces) {
            self.flush(endpoints);
            self.waiting = wanted;
        }
    }

    /// Adds a send to the chain, which has room for it.
    #[inline]
    pub(crate) fn push_send(
        &mut self,
        work: SendWork,
        inline: Option<&[u8]>,
        pieces: impl ExactSizeIterator<Item = Piece>,
        confirmation: Option<Confirmation>,
    ) {
        let Some(Confirmation { remote, sink }) = confirmation else {
            match inline {
                Some(bytes) => self.sends.push_inline(&work, bytes),
                None => self.sends.push(&work, pieces),
            }
            return;
        };
        let confirming = SendWork { verb: Verb::Read { remote }, ..work };
        let is_read = matches!(work.verb, Verb::Read { .. });
        let first = SendWork { signalled: work.signalled && is_read, ..work };
        match inline {
            Some(bytes) => self.sends.push_inline(&first, bytes),
            // A READ of nothing: it ends when a READ of something would.
            None if is_read && pieces.len() == 0 => self.sends.push(&confirming, std::iter::once(sink)),
            None if pieces.len() == 0 => self.sends.push(&first, std::iter::once(NOWHERE)),
            None => self.sends.push(&first, pieces),
        }
        if work.signalled && !is_read {
            self.sends.push_more(&SendWork { fence: false, ..confirming }, std::iter::once(sink));
        }
    }

    /// Adds a receive to the chain, which has room for it.
    #[inline]
    pub(crate) fn push_receive(&mut self, wr_id: u64, pieces: impl ExactSizeIterator<Item = Piece>) {
        if self.pieces_needed && pieces.len() == 0 {
            self.receives.push(wr_id, std::iter::once(NOWHERE));
        } else {
            self.receives.push(wr_id, pieces);
        }
    }

    /// Rings for this endpoint, if works of it wait.
    pub(crate) fn ring(&mut self, ep: EpId, endpoints: &mut [Option<Box<Endpoint>>]) {
        if self.endpoint_waiting() == Some(ep) {
            self.flush(endpoints);
        }
    }

    /// Forgets what waits of this endpoint: it is closed or reset.
    pub(crate) fn forget(&mut self, ep: EpId) {
        if self.endpoint_waiting() == Some(ep) {
            self.sends.clear();
            self.receives.clear();
            self.waiting = Waiting::Nobody;
        }
    }

    /// Rings for whoever waits.
    pub(crate) fn flush(&mut self, endpoints: &mut [Option<Box<Endpoint>>]) {
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nobody);
        let (ep, receives) = match waiting {
            Waiting::Nobody => return,
            Waiting::Sends(ep) => (ep, false),
            Waiting::Receives(ep) => (ep, true),
        };
        let Some(Some(endpoint)) = endpoints.get_mut(ep.0 as usize) else {
            self.sends.clear();
            self.receives.clear();
            return;
        };
        let (posted, answer) = if receives {
            (self.receives.len(), self.receives.submit(&endpoint.qp))
        } else {
            (self.sends.works(), self.sends.submit(&endpoint.qp))
        };
        if receives && self.nudge_receives && endpoint.qp.state() == Ok(QPS_ERR) {
            // rxe: the provider only writes a receive into the shared ring (providers/rxe/rxe.c, rxe_post_recv) and the
            // kernel flushes that ring when the queue pair enters ERR. One that comes later waits for the next entry.
            // Looking after the post loses none: whoever enters ERR from now on finds it.
            let _ = endpoint.qp.move_to(QPS_ERR);
        }
        match answer {
            Ok(taken) => endpoint.rung.taken += taken as u32,
            Err(PartlyTaken { taken, errno }) => {
                let (works, call) = match receives {
                    true => (&mut endpoint.receives, "ibv_post_recv(3)"),
                    false => (&mut endpoint.sends, "ibv_post_send(3)"),
                };
                works.withdraw(posted - taken);
                endpoint.rung.taken += taken as u32;
                endpoint.rung.refused = Some(match errno {
                    libc::ENOMEM => PostError::QueueFull { ep, depth: works.depth },
                    _ => PostError::System(system(call, errno, ADVICE)),
                });
            }
        }
    }
}

const ADVICE: &str =
    "the device cannot carry out this work as posted: alignment of an atomic, pieces, inline bytes, state";

const QPS_ERR: u32 = crate::status::qp_state_number(wavetank_contract::QpState::Err);
