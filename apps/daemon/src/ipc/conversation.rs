//! A connection as a machine: bytes and time in; bytes, descriptors to pass and reads to make out.

mod native;
mod ring;
mod seaweed;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wavetank_contract::Instant;
use wavetank_ipc::native::MAGIC;
use wavetank_ipc::ring::EngineRing;

use self::native::Native;
use self::seaweed::Seaweed;
use super::commons::Commons;
use super::outbox::{Outbox, Passed};
use super::peer::Peer;
use super::sessions::SessionId;
use crate::reads::{Found, NotRead, Wanted};

/// Bytes that are heard ahead while nothing can be done about them.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// Names a read of a conversation. None is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadKey(pub u64);

/// What a conversation asks of whoever drives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A read. The answer goes to [`Conversation::answered`].
    Read {
        /// Its name.
        key: ReadKey,
        /// What is wanted.
        wanted: Wanted,
    },
    /// Nobody wants that read any more.
    Cancel {
        /// Its name.
        key: ReadKey,
    },
    /// A ring of so many submissions. The answer goes to [`Conversation::ring_made`].
    Ring {
        /// How many.
        entries: u32,
    },
}

/// Why a conversation is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The client said what cannot be understood, or what it may not.
    Protocol(String),
    /// The client kept a frame half, or took nothing.
    Deadline(&'static str),
    /// The client left.
    Left,
}

/// Who waits for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A session that was begun for it.
    Session(SessionId),
    /// A request of our protocol, with its id.
    Request(u64),
    /// A submission, with its name.
    Submission(u64),
}

#[derive(Debug)]
enum Speech {
    /// The first bytes tell which protocol it is.
    Unknown(Vec<u8>),
    Seaweed(Seaweed),
    Native(Box<Native>),
}

/// A connection as a machine. Dropping it gives back whatever its client had.
#[derive(Debug)]
pub struct Conversation {
    common: Common,
    speech: Speech,
}

/// What both protocols use.
#[derive(Debug)]
struct Common {
    commons: Commons,
    peer: Peer,
    outbox: Outbox,
    asks: VecDeque<Ask>,
    reads: BTreeMap<ReadKey, (Origin, Instant)>,
    by_deadline: BTreeSet<(Instant, ReadKey)>,
    keys: u64,
    over: Option<Over>,
    /// Since when a frame is half here.
    half_since: Option<Instant>,
    /// Since when nothing was taken of what waits.
    stalled_since: Option<Instant>,
}

impl Common {
    fn limits(&self) -> &super::limits::ClientLimits {
        self.commons.limits()
    }

    /// Begins a read.
    fn read(&mut self, origin: Origin, wanted: Wanted) -> ReadKey {
        let key = ReadKey(self.keys);
        self.keys += 1;
        self.reads.insert(key, (origin, wanted.deadline));
        self.by_deadline.insert((wanted.deadline, key));
        self.asks.push_back(Ask::Read { key, wanted });
        key
    }

    /// Ends one. Its asker is who gets the answer.
    fn end_read(&mut self, key: ReadKey) -> Option<Origin> {
        let (origin, deadline) = self.reads.remove(&key)?;
        self.by_deadline.remove(&(deadline, key));
        Some(origin)
    }

    /// When a read that may take so long has to be over; 0 is what is given to who does not say.
    fn deadline(&self, now: Instant, timeout_ns: u64) -> Instant {
        let limits = self.limits();
        let timeout_ns = if timeout_ns == 0 { limits.read_ns } else { timeout_ns };
        now + timeout_ns.min(limits.read_ns_max)
    }

    fn end(&mut self, over: Over) {
        if self.over.is_none() {
            let stats = self.commons.stats();
            match over {
                Over::Protocol(_) => stats.ended_by_protocol.add(1),
                Over::Deadline(_) => stats.ended_by_deadline.add(1),
                Over::Left => {}
            }
            self.over = Some(over);
        }
    }

    /// Whether another request may be looked at.
    fn may_go_on(&self) -> bool {
        self.over.is_none() && self.outbox.waiting() < self.limits().outbox_bytes_max
    }
}

impl Conversation {
    /// With a client that was just let in.
    pub fn new(commons: Commons, peer: Peer) -> Conversation {
        commons.stats().connections.add(1);
        commons.stats().connections_now.add(1);
        Conversation {
            common: Common {
                commons,
                peer,
                outbox: Outbox::default(),
                asks: VecDeque::new(),
                reads: BTreeMap::new(),
                by_deadline: BTreeSet::new(),
                keys: 0,
                over: None,
                half_since: None,
                stalled_since: None,
            },
            speech: Speech::Unknown(Vec::new()),
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.common.peer
    }

    /// Whether more bytes are wanted now. Who hears none tells of an end with [`left`](Self::left) all the same.
    pub fn wants_bytes(&self) -> bool {
        let blocked = match &self.speech {
            Speech::Seaweed(seaweed) => seaweed.is_busy() && seaweed.waiting() >= AHEAD_BYTES_MAX,
            Speech::Unknown(_) | Speech::Native(_) => false,
        };
        self.common.may_go_on() && !blocked
    }

    /// Bytes came.
    pub fn heard(&mut self, now: Instant, bytes: &[u8]) {
        if self.common.over.is_some() {
            return;
        }
        self.common.commons.stats().heard_bytes.add(bytes.len() as u64);
        match &mut self.speech {
            Speech::Unknown(first) => {
                first.extend_from_slice(bytes);
                let first = std::mem::take(first);
                self.speech = match first.strip_prefix(&MAGIC) {
                    Some(rest) => Speech::Native(Box::new(Native::new(rest))),
                    None if first.len() < MAGIC.len() => Speech::Unknown(first),
                    None => Speech::Seaweed(Seaweed::new(&first)),
                };
            }
            Speech::Seaweed(seaweed) => seaweed.heard(bytes),
            Speech::Native(native) => native.heard(bytes),
        }
        self.pump(now);
    }

    /// The client left, or its connection broke.
    pub fn left(&mut self) {
        self.common.end(Over::Left);
    }

    /// Looks at what was heard, as far as it may.
    fn pump(&mut self, now: Instant) {
        let common = &mut self.common;
        let (went_on, half) = match &mut self.speech {
            Speech::Unknown(first) => (false, !first.is_empty()),
            Speech::Seaweed(seaweed) => (seaweed.pump(common, now), seaweed.is_half()),
            Speech::Native(native) => (native.pump(common, now), native.is_half()),
        };
        common.half_since = match common.half_since {
            Some(since) if half && !went_on => Some(since),
            _ => half.then_some(now),
        };
        if common.outbox.waiting() > 0 {
            common.stalled_since.get_or_insert(now);
        }
    }

    /// What is asked for, until nothing is.
    pub fn take_ask(&mut self) -> Option<Ask> {
        self.common.asks.pop_front()
    }

    /// A read is over.
    pub fn answered(&mut self, now: Instant, key: ReadKey, answer: Result<Found, NotRead>) {
        // It may have been cancelled, or have taken too long: its bytes go back by themselves.
        let Some(origin) = self.common.end_read(key) else { return };
        if let Ok(found) = &answer {
            self.common.commons.stats().read_bytes.add(found.len);
        }
        match (&mut self.speech, origin) {
            (Speech::Seaweed(seaweed), Origin::Session(id)) => {
                seaweed.answered(&mut self.common, now, id, answer);
            }
            (Speech::Native(native), Origin::Request(id)) => native.answered(&mut self.common, id, answer),
            (Speech::Native(native), Origin::Submission(name)) => {
                native.ring_answered(&self.common, name, answer);
            }
            _ => {}
        }
        self.pump(now);
    }

    /// A ring is there that was asked for, laid out, or none could be had.
    pub fn ring_made(&mut self, ring: Result<EngineRing, String>) {
        if let Speech::Native(native) = &mut self.speech {
            native.ring_made(&mut self.common, ring);
        }
    }

    /// Bytes to send, and descriptors to pass with the first of them.
    pub fn to_send(&self) -> Option<(Option<Passed>, &[u8])> {
        self.common.outbox.front()
    }

    /// So many of those were sent.
    pub fn sent(&mut self, now: Instant, count: usize) {
        self.common.outbox.sent(count);
        self.common.commons.stats().sent_bytes.add(count as u64);
        self.common.stalled_since = (self.common.outbox.waiting() > 0).then_some(now);
        self.pump(now);
    }

    /// When to call [`tick`](Self::tick).
    pub fn wake(&self) -> Instant {
        let common = &self.common;
        let after = |since: Option<Instant>, ns| since.map_or(Instant::FAR, |since| since + ns);
        let half = after(common.half_since, common.limits().half_frame_ns);
        let stalled = after(common.stalled_since, common.limits().stall_ns);
        let read = common.by_deadline.first().map_or(Instant::FAR, |(at, _)| *at);
        half.min(stalled).min(read)
    }

    /// Ends what took too long.
    pub fn tick(&mut self, now: Instant) {
        while let Some((_, key)) = self.common.by_deadline.first().filter(|(at, _)| *at <= now).copied() {
            self.common.asks.push_back(Ask::Cancel { key });
            self.answered(now, key, Err(NotRead::TimedOut));
        }
        let is_past = |since: Option<Instant>, ns| since.is_some_and(|since| since + ns <= now);
        let common = &mut self.common;
        if is_past(common.stalled_since, common.limits().stall_ns) {
            common.end(Over::Deadline("it took none of the bytes that wait for it"));
            // Nobody will.
            common.outbox = Outbox::default();
            common.stalled_since = None;
        }
        if is_past(common.half_since, common.limits().half_frame_ns) {
            common.end(Over::Deadline("it left a frame half"));
            common.half_since = None;
        }
    }

    /// Whether it is over and nothing is left to be sent: the connection is to be closed, and this dropped.
    pub fn is_over(&self) -> Option<&Over> {
        let over = self.common.over.as_ref()?;
        (self.common.outbox.waiting() == 0 || *over == Over::Left).then_some(over)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let common = &mut self.common;
        let all = &common.commons.0;
        for (origin, _) in common.reads.values() {
            if let Origin::Session(id) = origin
                && let Some(session) = all.sessions.borrow_mut().end(*id)
            {
                all.session_over(&session);
            }
        }
        if let Speech::Native(native) = &self.speech {
            all.stats.leases_now.sub(native.loans() as u64);
            all.stats.rings_now.sub(u64::from(native.has_ring()));
        }
        all.stats.connections_now.sub(1);
    }
}
