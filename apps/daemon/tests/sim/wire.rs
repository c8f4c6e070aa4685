//! A Unix socket between a client and the engine, in virtual time: bytes are cut anywhere and come late, descriptors come with the
//! first byte of what they were sent with, a full one takes nothing, and either side may close it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use wavetank_contract::Instant;
use wavetank_contract::chance::{Choices as _, Seeded, Site};

use crate::net::MS;

/// Bytes that fit into one direction.
const ROOM_BYTES: usize = 1536;

/// Longest that bytes are on their way.
pub(crate) const DELAY_NS_MAX: u64 = 2 * MS;

#[derive(Debug)]
struct Parcel {
    due: Instant,
    bytes: Vec<u8>,
    passed: Vec<OwnedFd>,
}

/// What comes out at an end.
#[derive(Debug)]
pub(crate) enum Heard {
    Bytes(Vec<u8>, Vec<OwnedFd>),
    End,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    parcels: VecDeque<Parcel>,
    waiting: usize,
    last: Instant,
    end: Option<Instant>,
    /// How much later all comes than it should.
    pub(crate) lag_ns: u64,
}

impl Way {
    /// Bytes that it takes now.
    pub(crate) fn room(&self) -> usize {
        ROOM_BYTES.saturating_sub(self.waiting)
    }

    pub(crate) fn put(&mut self, now: Instant, dice: &mut Seeded, mut bytes: &[u8], passed: Vec<OwnedFd>) {
        let mut passed = Some(passed);
        while !bytes.is_empty() && self.end.is_none() {
            // Most of the time whole; sometimes in pieces, down to single bytes.
            let len = match dice.choose(Site::Swarm, 6) {
                0 => 1 + dice.choose(Site::Swarm, bytes.len() as u64) as usize,
                1 => bytes.len().min(1 + dice.choose(Site::Swarm, 6) as usize),
                _ => bytes.len(),
            };
            let delay = match dice.choose(Site::Swarm, 8) {
                0 => dice.choose(Site::Swarm, DELAY_NS_MAX),
                _ => 1000 + dice.choose(Site::Swarm, 20_000),
            };
            self.last = self.last.max(now + (delay + self.lag_ns));
            let (part, rest) = bytes.split_at(len);
            let passed = passed.take().unwrap_or_default();
            self.parcels.push_back(Parcel { due: self.last, bytes: part.to_vec(), passed });
            self.waiting += len;
            bytes = rest;
        }
    }

    /// Its writer closes it: what is on its way comes before the end does.
    pub(crate) fn close(&mut self, now: Instant) {
        self.last = self.last.max(now + 1000);
        self.end.get_or_insert(self.last);
    }

    /// Whether its writer closed it, which its reader may not know yet.
    pub(crate) fn is_closed(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn hear(&mut self, now: Instant) -> Option<Heard> {
        match self.parcels.front() {
            Some(parcel) if parcel.due <= now => {
                let Parcel { bytes, passed, .. } = self.parcels.pop_front()?;
                self.waiting -= bytes.len();
                Some(Heard::Bytes(bytes, passed))
            }
            Some(_) => None,
            None => self.end.filter(|at| *at <= now).map(|_| Heard::End),
        }
    }

    /// When something comes out.
    pub(crate) fn next_at(&self) -> Instant {
        self.parcels.front().map_or(self.end.unwrap_or(Instant::FAR), |parcel| parcel.due)
    }
}

/// A connection, and the pair of bells that goes with a ring.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// To the engine.
    pub(crate) up: Way,
    /// To the client.
    pub(crate) down: Way,
    /// When the engine hears the client's bell.
    pub(crate) bell_up: Option<Instant>,
    /// When the client hears the engine's.
    pub(crate) bell_down: Option<Instant>,
    /// The client is gone: what is written to it is an error.
    pub(crate) client_gone: bool,
}

/// Rings a bell. One that rings already is enough.
pub(crate) fn ring(bell: &mut Option<Instant>, now: Instant, dice: &mut Seeded) {
    let at = now + 1000 + dice.choose(Site::Swarm, 30_000);
    bell.get_or_insert(at);
}

/// Whether a bell rings now. It does so once.
pub(crate) fn rings(bell: &mut Option<Instant>, now: Instant) -> bool {
    bell.take_if(|at| *at <= now).is_some()
}
