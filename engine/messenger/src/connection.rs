//! One connection: everything the messenger knows of it.

use core::fmt;
use std::collections::VecDeque;

use wavetank_contract::{EpId, Instant, Lease, MrId, RemoteRegion};
use wavetank_engine::memory::{Exposed, Place};
use wavetank_engine::slab::Key;

use crate::credit::{Credits, Window};
use crate::event::Cause;
use crate::frame::{Failure, FrameKind, Header, PlaceOnWire, Sort};
use crate::hello::Hello;
use crate::message::Data;
use crate::policy::Policy;
use crate::way::Chosen;

/// The name of a connection. Never valid twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) Key);

impl ConnectionId {
    /// As one number. Never 0.
    pub const fn to_u64(self) -> u64 {
        self.0.to_u64()
    }

    /// From such a number. Any will do: one that names nothing is refused where it is used.
    pub const fn from_u64(bits: u64) -> ConnectionId {
        ConnectionId(Key::from_u64(bits))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0.index, self.0.generation)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// On a line of this side's own: the handshake is under way.
    Dialing { line: Key },
    /// On a line of the peer's: the handshake is under way.
    Answering { line: Key },
    /// Messages flow. The line stays open, so that its end tells of the peer's.
    Open { line: Key },
    /// Broken, or never made; dialled again at this time.
    Waiting { until: Instant },
    /// Broken; the peer may come back until this time.
    Standby { until: Instant },
    /// The peer is being told that it is over; given up at this time.
    Closing { line: Key, until: Instant },
}

/// What became of an outgoing message so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// In the queue; it has no sequence yet.
    Queued,
    /// Its frame is posted, and all the peer needs is on its way.
    Posted,
    /// Its frame is posted; the peer will say where its data goes.
    Asked,
    /// Its data is being written where the peer said.
    Putting,
    /// Its data is being written into the requester's sink; its frame follows.
    Filling,
    /// The sink is filled; the frame is to be posted.
    Filled,
    /// The peer has all of it, and has not let go of it.
    Held,
}

/// A message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) header: Header,
    /// Header, sink, front, and data where it was copied.
    pub(crate) frame: Lease,
    /// Bytes of the frame that are used.
    pub(crate) frame_len: u32,
    /// The data was copied into the frame.
    pub(crate) copied: bool,
    pub(crate) data: Option<Data>,
    /// The data's length and registration, while its lease is with a transfer.
    pub(crate) lent: Option<(u64, Option<MrId>)>,
    /// Where the data is registered, and where the peer may reach it.
    pub(crate) mr: Option<MrId>,
    pub(crate) place: Option<Place>,
    pub(crate) deadline: Instant,
    pub(crate) tag: u64,
    pub(crate) asked: Option<crate::way::Way>,
    pub(crate) chosen: Option<Chosen>,
    /// For a reply: where its request wants the data.
    pub(crate) sink: Option<crate::frame::SinkOnWire>,
    pub(crate) progress: Progress,
}

impl Outgoing {
    pub(crate) fn data_len(&self) -> u64 {
        let lent = self.lent.map_or(0, |(len, _)| len);
        self.data.as_ref().map_or(lent, |data| data.len)
    }
}

/// A request of ours that has no reply yet.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) connection: Key,
    pub(crate) tag: u64,
    pub(crate) deadline: Instant,
    pub(crate) sink: Option<Lease>,
    pub(crate) sink_len: u64,
    /// The sink is where the reply lands, just now.
    pub(crate) sink_lent: bool,
    /// It was told as failed; its place is kept until the peer has answered or the connection is gone, because the peer may
    /// still write the sink.
    pub(crate) over: bool,
    /// The message, until the peer has it.
    pub(crate) outgoing: Option<Key>,
}

/// What became of an incoming message so far.
#[derive(Debug)]
pub(crate) enum Landing {
    /// Its data has nowhere to go yet.
    Waiting,
    /// Being read.
    Fetching,
    /// The peer was told where to.
    Granted(Lease),
    /// All there.
    Complete(crate::message::Landed),
    /// A request whose data has no place here, ever.
    TurnedAway,
    /// Handed over already: a reply.
    Gone,
}

/// A message on its way in.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) sequence: u64,
    pub(crate) header: Header,
    pub(crate) frame: Option<Lease>,
    pub(crate) deadline: Instant,
    pub(crate) landing: Landing,
}

/// A frame that is no message, to be sent.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) kind: FrameKind,
    pub(crate) id: u64,
    pub(crate) place: PlaceOnWire,
    pub(crate) len: u64,
    pub(crate) r#type: u16,
    pub(crate) front: Box<[u8]>,
}

impl Control {
    pub(crate) fn new(kind: FrameKind, id: u64) -> Control {
        Control { kind, id, place: PlaceOnWire::default(), len: 0, r#type: 0, front: Box::default() }
    }
}

/// What waits for credits: less of them are needed for what the peer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Starving {
    No,
    Work,
    Answers,
}

/// What the peer waits for, and could not be said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsaid {
    Failed { id: u64, why: Failure },
    Release { sequence: u64, failed: Option<Failure> },
}

/// Counts of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// Messages posted, those sent again included.
    pub messages_out: u64,
    /// Messages handed over.
    pub messages_in: u64,
    /// Messages sent again.
    pub replayed: u64,
    /// Replies that were there already, and messages of another life.
    pub duplicates: u64,
    /// Requests dropped because their deadline had passed.
    pub expired: u64,
    /// How often it was established.
    pub lives: u32,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) policy: Policy,
    /// The peer's name, once known.
    pub(crate) peer: Option<u64>,
    /// Where it is dialled, if this side does that.
    pub(crate) address: Option<Box<str>>,
    pub(crate) state: State,
    pub(crate) life: u64,
    pub(crate) peer_life: u64,
    /// Counts lives of the peer, as this side sees them: whatever was meant for an earlier one is dropped.
    pub(crate) epoch: u32,
    pub(crate) ep: Option<EpId>,
    /// The completion queue it is on.
    pub(crate) cq: Option<usize>,
    /// The shared queue it takes its receives from.
    pub(crate) shared: Option<usize>,
    /// The peer's hello of the line that is used.
    pub(crate) hello: Option<Hello>,
    pub(crate) features: u64,
    pub(crate) credits: Credits,
    pub(crate) window: Window,
    pub(crate) heard_at: Instant,
    pub(crate) said_at: Instant,
    /// Its timer was set when nothing could be said, and is to be set again as soon as something can.
    pub(crate) muted: bool,
    /// When it broke; `None` while it holds.
    pub(crate) broke_at: Option<Instant>,
    pub(crate) attempts: u32,

    /// Messages that begin something, and all that is sent again.
    pub(crate) queue: VecDeque<Key>,
    /// Replies and releases that have no sequence yet: the peer waits for them, so they do not wait for anything else.
    pub(crate) answers: VecDeque<Key>,
    /// Replies without data, and releases, that found no memory for their frames.
    pub(crate) unsaid: VecDeque<Unsaid>,
    /// With a sequence, in its order, until the peer has them.
    pub(crate) sent: VecDeque<Key>,
    /// Replies whose sinks are being written; they get their sequence afterwards.
    pub(crate) filling: Vec<Key>,
    /// Held messages that the peer has: sequence and message.
    pub(crate) held: Vec<(u64, Key)>,
    /// The newest sequence given out.
    pub(crate) sequence: u64,
    /// Up to which the peer has everything.
    pub(crate) acked: u64,
    pub(crate) controls: VecDeque<Control>,
    /// Extents of ours that this endpoint's peer knows.
    pub(crate) announced: Vec<u32>,
    pub(crate) exposed: Exposed,
    pub(crate) requests: u32,
    /// What waits for credits.
    pub(crate) starving: Starving,
    /// What the peer was told of that since the last message.
    pub(crate) cried: Starving,
    /// Memory was short when it was last looked at: it is tried again before long.
    pub(crate) short: bool,
    /// Frames posted and not ended.
    pub(crate) in_flight: u32,
    pub(crate) close_posted: bool,

    /// The newest sequence that came.
    pub(crate) newest: u64,
    /// Up to which everything is here.
    pub(crate) received: u64,
    /// What the peer was told of that.
    pub(crate) told: u64,
    pub(crate) ack_at: Option<Instant>,
    /// Replies up to this sequence may come twice: they were sent again after a break.
    pub(crate) tolerated: u64,
    pub(crate) arriving: VecDeque<Arrival>,
    pub(crate) landing_bytes: u64,
    /// Data on its way, either way, and when the last began or ended.
    pub(crate) moving: u32,
    pub(crate) moved_at: Instant,
    /// Something in `arriving` waits for memory.
    pub(crate) wants_memory: bool,
    /// Extents of the peer.
    pub(crate) extents: Vec<(u32, RemoteRegion)>,
    /// The last thing that went wrong, for whoever asks why.
    pub(crate) cause: Option<Cause>,

    pub(crate) dirty: bool,
    pub(crate) stats: ConnectionStats,
}

impl Connection {
    pub(crate) fn new(policy: Policy, life: u64, state: State, now: Instant) -> Connection {
        Connection {
            policy,
            peer: None,
            address: None,
            state,
            life,
            peer_life: 0,
            epoch: 1,
            ep: None,
            cq: None,
            shared: None,
            hello: None,
            features: 0,
            credits: Credits::default(),
            window: Window::default(),
            heard_at: now,
            said_at: now,
            muted: false,
            broke_at: None,
            attempts: 0,
            queue: VecDeque::new(),
            answers: VecDeque::new(),
            unsaid: VecDeque::new(),
            sent: VecDeque::new(),
            filling: Vec::new(),
            held: Vec::new(),
            sequence: 0,
            acked: 0,
            controls: VecDeque::new(),
            announced: Vec::new(),
            exposed: Exposed::new(),
            requests: 0,
            starving: Starving::No,
            cried: Starving::No,
            short: false,
            in_flight: 0,
            close_posted: false,
            newest: 0,
            received: 0,
            told: 0,
            ack_at: None,
            tolerated: 0,
            arriving: VecDeque::new(),
            landing_bytes: 0,
            moving: 0,
            moved_at: now,
            wants_memory: false,
            extents: Vec::new(),
            cause: None,
            dirty: false,
            stats: ConnectionStats::default(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// The line it is on, or is being made on.
    pub(crate) fn line(&self) -> Option<Key> {
        match self.state {
            State::Dialing { line }
            | State::Answering { line }
            | State::Open { line }
            | State::Closing { line, .. } => Some(line),
            State::Waiting { .. } | State::Standby { .. } => None,
        }
    }

    /// The peer's memory at a place.
    pub(crate) fn remote(&self, place: PlaceOnWire, len: u64) -> Option<wavetank_contract::RemoteAddr> {
        let (_, region) = self.extents.iter().find(|(extent, _)| *extent == place.extent)?;
        region.at(place.offset, len)
    }

    /// How long this side may say nothing: its own measure, and never more than a third of the peer's patience.
    pub(crate) fn keepalive_ns(&self, ours_ns: u64) -> u64 {
        self.hello.map_or(ours_ns, |hello| ours_ns.min(hello.silence_ns / 3))
    }

    /// Whether the peer is to be told of credits because this side waits for it: with its last one it cannot say what is waited
    /// for, nor that it lacks credits. Only a side with credits for new work does this: of two that did it with their
    /// last ones, each would give the other reason to.
    pub(crate) fn feeds(&self) -> bool {
        let put = |arrival: &Arrival| matches!(arrival.landing, Landing::Granted(_));
        self.window.owed() > 0
            && self.window.peer_has() <= 1
            && self.credits.for_work() > 0
            && (self.requests > 0
                || !self.held.is_empty()
                || !self.sent.is_empty()
                || self.arriving.iter().any(put))
    }

    /// Whether a frame may be sent that is nothing but credits or a sign of life.
    pub(crate) fn can_say(&self) -> bool {
        match self.credits.left() {
            0 => false,
            // Both sides might take their last, and could give none any more.
            1 => self.window.owed() > 0,
            _ => true,
        }
    }

    /// Counts what the application has of the peer, and what the peer has not taken.
    pub(crate) fn weigh(&mut self, answers_max: u32) {
        let begins = |arrival: &&Arrival| !matches!(arrival.header.sort, Sort::Reply | Sort::Release);
        self.window.arriving = self.arriving.iter().filter(begins).count() as u32;
        // What is posted is in `sent` until it is acknowledged, and that a peer may put off.
        self.window.stopped = self.waiting_answers() >= answers_max as usize;
    }

    /// Messages for a peer that may take them or not: those of this side's own have a limit of their own.
    pub(crate) fn waiting_answers(&self) -> usize {
        (self.answers.len() + self.unsaid.len() + self.filling.len() + self.sent.len()) / 2
    }

    /// Bytes it has allocated for itself, used or not: not those of its messages.
    pub(crate) fn bytes_allocated(&self) -> usize {
        let keys =
            self.queue.capacity() + self.answers.capacity() + self.sent.capacity() + self.filling.capacity();
        keys * size_of::<Key>()
            + self.held.capacity() * size_of::<(u64, Key)>()
            + self.unsaid.capacity() * size_of::<Unsaid>()
            + self.controls.capacity() * size_of::<Control>()
            + self.arriving.capacity() * size_of::<Arrival>()
            + self.announced.capacity() * size_of::<u32>()
            + self.extents.capacity() * size_of::<(u32, RemoteRegion)>()
            + self.address.as_ref().map_or(0, |address| address.len())
    }

    /// Messages waiting to be sent or acknowledged.
    pub(crate) fn backlog(&self) -> usize {
        self.queue.len() + self.sent.len() + self.filling.len() + self.held.len()
    }

    /// Forgets the sequences of a life that is over.
    pub(crate) fn begin_anew(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        (self.sequence, self.acked, self.newest, self.received, self.told) = (0, 0, 0, 0, 0);
        self.tolerated = 0;
        self.ack_at = None;
    }
}
