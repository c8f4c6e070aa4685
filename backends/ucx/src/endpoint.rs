//! An endpoint: a reliable-connected queue pair made of active messages and one-sided operations.

use std::collections::VecDeque;

use wavetank_contract::{Access, EndpointSpec, EpId, Op, OpKind, QpState, Sge, Status, WorkId};

use crate::address::{Address, Hello};
use crate::frames::SGE_MAX;
use crate::sys::{Desc, Ep, Rkey, SharedWords, Span, Ticket, UcsStatus, Worker};
use crate::token;
use crate::wire::{Head, LONG_BYTES};

/// Bytes that may be posted inline.
pub(crate) const INLINE_BYTES: usize = 64;

/// How far a work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Sent,
    /// It ended like this, and completes when its turn comes and UCX lets its memory go.
    Ended(Status, u32),
}

/// A place in the send queue. Stays where it is: UCX holds addresses of what is inside.
#[derive(Debug)]
pub(crate) struct SendSlot {
    pub(crate) ticket: Ticket,
    pub(crate) header: [u8; LONG_BYTES],
    pub(crate) spans: [Span; SGE_MAX],
    pub(crate) inline: [u8; INLINE_BYTES],
    pub(crate) operand: u64,
    pub(crate) pieces: [Sge; SGE_MAX],
    pub(crate) piece_count: usize,
    /// Bytes posted inline; then there are no pieces.
    pub(crate) inline_len: Option<usize>,
    pub(crate) id: WorkId,
    pub(crate) op: Op,
    pub(crate) len: u64,
    pub(crate) signalled: bool,
    pub(crate) fence: bool,
    pub(crate) phase: Phase,
    /// Operations of UCX under way.
    pub(crate) ucx: u32,
    /// Requests that the peer serves: their number, and whether it is done.
    pub(crate) seq: Option<u32>,
    pub(crate) acked: bool,
    /// Its memory may not be used: an answer has nowhere to go.
    pub(crate) misplaced: bool,
    /// Counted among what the peer serves.
    pub(crate) serves: bool,
    /// Placed at the peer only once a flush says so.
    pub(crate) unplaced: bool,
    /// It has that flush.
    pub(crate) flushes: bool,
    /// The peer's registration that a direct work reaches.
    pub(crate) mr: u32,
    /// Its registrations are counted as used.
    pub(crate) counted: bool,
}

/// The send queue. Numbers run freely; a place is a number modulo the depth.
#[derive(Debug)]
pub(crate) struct Sends {
    #[expect(clippy::vec_box, reason = "UCX holds addresses of what is inside")]
    slots: Vec<Box<SendSlot>>,
    /// Oldest that has not completed, next to start, next to be posted.
    pub(crate) head: u32,
    pub(crate) next: u32,
    pub(crate) tail: u32,
    /// Works posted and not rung for.
    pub(crate) rung: u32,
    pub(crate) reads: u32,
    /// Requests under way that the peer serves, other than messages: one-sided works may not pass them.
    pub(crate) served: u32,
    /// Works before this one are polled: their places may be used again.
    pub(crate) freed: u32,
    /// The next request's number, and the oldest that is not acknowledged.
    pub(crate) seq: u32,
    pub(crate) acked: u32,
    by_seq: Vec<u32>,
    /// Something failed: nothing more is started.
    pub(crate) failed: bool,
    /// A failure was told: what comes after it was flushed.
    pub(crate) told: bool,
}

impl Sends {
    pub(crate) fn new(worker: &Worker, ep_index: u32, depth: u32) -> Sends {
        let none = Sge { mr: wavetank_contract::MrId(0), len: 0, offset: 0 };
        let slot = |index| {
            Box::new(SendSlot {
                ticket: worker.ticket(token::send(ep_index, index)),
                header: [0; LONG_BYTES],
                spans: [Span::NONE; SGE_MAX],
                inline: [0; INLINE_BYTES],
                operand: 0,
                pieces: [none; SGE_MAX],
                piece_count: 0,
                inline_len: None,
                id: WorkId(0),
                op: Op::Recv,
                len: 0,
                signalled: false,
                fence: false,
                phase: Phase::Ended(Status::Success, 0),
                ucx: 0,
                seq: None,
                acked: false,
                misplaced: false,
                serves: false,
                unplaced: false,
                flushes: false,
                mr: 0,
                counted: false,
            })
        };
        // A power of two, so that places stay where they are when the numbers go round.
        let places = depth.max(1).next_power_of_two();
        Sends {
            slots: (0..places).map(slot).collect(),
            head: 0,
            next: 0,
            tail: 0,
            rung: 0,
            reads: 0,
            served: 0,
            freed: 0,
            seq: 0,
            acked: 0,
            by_seq: vec![0; places as usize],
            failed: false,
            told: false,
        }
    }

    #[inline]
    pub(crate) fn at(&mut self, number: u32) -> &mut SendSlot {
        let place = self.place(number) as usize;
        &mut self.slots[place]
    }

    #[inline]
    pub(crate) fn look(&self, number: u32) -> &SendSlot {
        &self.slots[self.place(number) as usize]
    }

    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.tail.wrapping_sub(self.head)
    }

    /// The place of a work.
    #[inline]
    pub(crate) fn place(&self, number: u32) -> u32 {
        number & (self.slots.len() as u32 - 1)
    }

    /// The work in a place.
    #[inline]
    pub(crate) fn in_place(&self, place: u32) -> Option<u32> {
        let mask = self.slots.len() as u32 - 1;
        let ahead = place.wrapping_sub(self.head) & mask;
        (place <= mask && ahead < self.len()).then(|| self.head.wrapping_add(ahead))
    }

    /// Numbers of works from the oldest to the newest.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let head = self.head;
        (0..self.len()).map(move |n| head.wrapping_add(n))
    }

    /// Gives a work the next request's number.
    #[inline]
    pub(crate) fn number(&mut self, work: u32) -> u32 {
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        let mask = self.by_seq.len() - 1;
        self.by_seq[seq as usize & mask] = work;
        self.at(work).seq = Some(seq);
        seq
    }

    /// The work that has a request's number, if it still waits.
    #[inline]
    pub(crate) fn find(&self, seq: u32) -> Option<u32> {
        let work = self.by_seq[seq as usize & (self.by_seq.len() - 1)];
        let outstanding = work.wrapping_sub(self.head) < self.len();
        (outstanding && self.look(work).seq == Some(seq)).then_some(work)
    }

    /// Whether anything was started and has not ended.
    pub(crate) fn waits(&self) -> bool {
        self.numbers().any(|n| self.look(n).phase == Phase::Sent)
    }
}

/// A receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receive {
    pub(crate) id: WorkId,
    pub(crate) pieces: [Sge; SGE_MAX],
    pub(crate) piece_count: usize,
    pub(crate) ended: Option<Received>,
    /// Its memory is being filled.
    pub(crate) filling: bool,
    /// Something that came before its message is still on its way into memory.
    pub(crate) gated: bool,
}

impl Receive {
    pub(crate) fn pieces(&self) -> &[Sge] {
        &self.pieces[..self.piece_count]
    }
}

/// How a receive ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) status: Status,
    pub(crate) kind: OpKind,
    pub(crate) len: u32,
    pub(crate) imm: Option<u32>,
}

impl Received {
    pub(crate) fn failed(status: Status) -> Received {
        Received { status, kind: OpKind::Recv, len: 0, imm: None }
    }
}

/// The receive queue: oldest first.
#[derive(Debug, Default)]
pub(crate) struct Receives {
    /// Those that have not completed.
    pub(crate) queue: VecDeque<Receive>,
    /// How many of them have met a message.
    pub(crate) met: usize,
    /// The number of the first.
    pub(crate) first: u32,
    /// Those before this one are polled.
    pub(crate) freed: u32,
}

impl Receives {
    pub(crate) fn with_depth(depth: u32) -> Receives {
        Receives { queue: VecDeque::with_capacity((depth as usize).min(1024)), met: 0, first: 0, freed: 0 }
    }

    /// Posted and not polled.
    pub(crate) fn outstanding(&self) -> u32 {
        self.first.wrapping_add(self.queue.len() as u32).wrapping_sub(self.freed)
    }

    /// The next one to meet a message, and its number.
    pub(crate) fn next(&self) -> Option<(u32, &Receive)> {
        self.queue.get(self.met).map(|receive| (self.first.wrapping_add(self.met as u32), receive))
    }

    pub(crate) fn at(&mut self, number: u32) -> Option<&mut Receive> {
        self.queue.get_mut(number.wrapping_sub(self.first) as usize)
    }
}

/// A request that came and cannot be carried out yet.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) head: Head,
    pub(crate) content: Content,
}

/// Its data.
#[derive(Debug)]
pub(crate) enum Content {
    Copied(Vec<u8>),
    Desc(Desc),
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        match self {
            Content::Copied(bytes) => bytes.len(),
            Content::Desc(desc) => desc.len(),
        }
    }
}

/// A request whose data is being fetched, or one behind such.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) seq: u32,
    pub(crate) done: bool,
    /// Where it places data; empty where it does not matter.
    pub(crate) range: (u64, u64),
    /// The receive that tells of it.
    pub(crate) receive: Option<u32>,
}

/// The side of an endpoint that carries out what its peer asks for, in the order asked.
#[derive(Debug, Default)]
pub(crate) struct Responder {
    /// The next request's number.
    pub(crate) expected: u32,
    /// Requests before this one are done.
    pub(crate) completed: u32,
    /// What the peer was told of that.
    pub(crate) told: u32,
    /// Tell it at the end of this turn, not with whatever goes out next.
    pub(crate) tell_now: bool,
    /// In the list of endpoints with something to tell.
    pub(crate) listed: bool,
    pub(crate) held: VecDeque<Held>,
    pub(crate) held_bytes: usize,
    pub(crate) flights: VecDeque<Flight>,
    /// Frames that read memory: answers to READs.
    pub(crate) reading: Vec<u32>,
    /// Waits for a receive since then, for so long, and tells the peer so from time to time.
    pub(crate) rnr: Option<RnrWait>,
    /// Refused something: nothing more of this peer counts.
    pub(crate) dead: bool,
}

/// A wait for a receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RnrWait {
    pub(crate) until_ns: u64,
    pub(crate) tell_ns: u64,
}

/// Words of the peer's that this process maps.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) words: SharedWords,
    _rkey: Rkey,
}

impl Control {
    pub(crate) fn new(rkey: Rkey, addr: u64) -> Option<Control> {
        rkey.words(addr, crate::memory::WORDS).map(|words| Control { words, _rkey: rkey })
    }
}

/// Who is at the other end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: Address,
    /// Its life; 0 until it said hello.
    pub(crate) life: u32,
    /// What we told it of its life last.
    pub(crate) echoed: u32,
    pub(crate) access: Access,
    pub(crate) pd: u16,
    pub(crate) rnr_retry: u8,
    pub(crate) patience_ns: u64,
    pub(crate) control: Option<Control>,
}

impl Peer {
    pub(crate) fn new(address: Address) -> Peer {
        Peer {
            address,
            life: 0,
            echoed: 0,
            access: Access::default(),
            pd: 0,
            rnr_retry: 0,
            patience_ns: u64::MAX,
            control: None,
        }
    }

    pub(crate) fn is(&self, hello: &Hello) -> bool {
        self.address.nonce == hello.nonce && self.address.ep == hello.ep
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EpId,
    /// Its place among those that are open: another has it later.
    pub(crate) index: u32,
    pub(crate) owner: usize,
    pub(crate) spec: EndpointSpec,
    pub(crate) state: QpState,
    /// Which connection of it this is. Never 0.
    pub(crate) life: u32,
    pub(crate) link: Option<Ep>,
    /// Why nothing more is carried.
    pub(crate) broken: Option<UcsStatus>,
    pub(crate) peer: Option<Peer>,
    pub(crate) sends: Sends,
    pub(crate) receives: Receives,
    pub(crate) responder: Responder,
    /// A sign of life came since the last look at the clock.
    pub(crate) heard: bool,
    /// When patience ends; 0: nothing is waited for.
    pub(crate) deadline_ns: u64,
    /// Operations of UCX under way that use memory of this side's user.
    pub(crate) ucx: u32,
    /// When its connection was closed.
    pub(crate) unlinked_ns: u64,
    /// UCX lost some of its operations.
    pub(crate) disowned: bool,
    /// Draining was asked for and not told.
    pub(crate) draining: bool,
}

/// Patience below this is not a matter of the network but of whether the peer's thread runs.
const PATIENCE_NS_MIN: u64 = 20_000_000;

impl Endpoint {
    /// How long this endpoint waits for a sign of life: as long as an adapter would go on asking
    /// (`4.096 us * 2^timeout`, `retry_cnt` times and once more), and never less than 20 ms.
    pub(crate) fn patience_ns(&self) -> u64 {
        match self.spec.timeout {
            0 => u64::MAX,
            code => ((4096u64 << code.min(31)) * (u64::from(self.spec.retry_cnt) + 1)).max(PATIENCE_NS_MIN),
        }
    }

    /// Whether requests of the peer are looked at.
    pub(crate) fn responds(&self) -> bool {
        let known = self.peer.as_ref().is_some_and(|peer| peer.life != 0);
        known
            && !self.responder.dead
            && matches!(self.state, QpState::Init | QpState::Rtr | QpState::Rts | QpState::Sqd)
    }
}
