//! Posting works, and ringing for them.

use wavetank_contract::error::PostError;
use wavetank_contract::{Backend, Data, EpId, MrId, Op, RemoteAddr, RkeyId, Sge, Work, WorkId};

use super::actors::Actors;
use super::{Queue, Stage};
use crate::judge::log::{Log, Refusal};
use crate::judge::program::{End, Key, LocalData, Piece, Place, Post, Verb, pattern};
use crate::lab::Lab;

/// What makes another key of a key: one of the bits that roll.
const NEVER: u64 = 0x55;

/// The answer of a device as far as devices have to agree on it.
fn refusal(error: &PostError) -> Refusal {
    match error {
        PostError::Unknown(_) => Refusal::Unknown,
        PostError::WrongState { .. } => Refusal::WrongState,
        PostError::QueueFull { .. } => Refusal::Full,
        PostError::System(_) => Refusal::Unexplained,
        _ => Refusal::Other,
    }
}

impl<L: Lab> Stage<L> {
    /// Posts a work; the doorbell is rung later.
    pub(super) fn post(
        &mut self,
        step: usize,
        post: &Post,
        signal: bool,
        actors: &mut Actors,
        log: &mut Log,
    ) {
        let queue = if post.is_recv() { Queue::Recv } else { Queue::Send };
        let taken = self.try_post(step, post, signal, actors);
        match taken {
            Ok(()) => {
                actors.posted.insert(step, (post.end, queue));
                actors.rung.push(step);
            }
            Err(refusal) => {
                log.refusals.insert(step, refusal);
            }
        }
    }

    fn try_post(&mut self, step: usize, post: &Post, signal: bool, actors: &Actors) -> Result<(), Refusal> {
        let endpoint = actors.endpoints.get(&post.end).ok_or(Refusal::Unknown)?;
        let remote = match &post.remote {
            Some(place) => self.place(endpoint.ep, post.end, place, actors)?,
            None => RemoteAddr { rkey: RkeyId(0), addr: 0 },
        };
        let imm = post.imm;
        let op = match post.verb {
            Verb::Recv => Op::Recv,
            Verb::Send => Op::Send { imm },
            Verb::Write => Op::Write { remote, imm },
            Verb::Read => Op::Read { remote },
            Verb::Swap { compare, swap } => Op::CompareSwap { remote, compare, swap },
            Verb::Add { add } => Op::FetchAdd { remote, add },
        };
        let sge = |p: &Piece| {
            let mr = actors.regions.get(&p.region).map_or(MrId(u32::MAX), |memory| memory.mr);
            Sge { mr, len: p.len, offset: p.offset.into() }
        };
        let pieces: Vec<Sge> = post.pieces().iter().map(sge).collect();
        let inline: Vec<u8> = match post.data {
            LocalData::Inline(len) => (0..len).map(|i| pattern('!', step as u32, i)).collect(),
            LocalData::Pieces(_) => Vec::new(),
        };
        let data = match post.data {
            LocalData::Inline(_) => Data::Inline(&inline),
            LocalData::Pieces(_) => Data::Pieces(&pieces),
        };
        let id = WorkId(self.run << 16 | step as u64);
        let work = Work { id, op, data, signalled: post.signalled || signal, fence: post.fence };
        self.nodes[post.end.node].device.post(endpoint.ep, &work).map_err(|error| refusal(&error))
    }

    /// A place as a work names it. A region without a remote right has no key: one is made up.
    fn place(&mut self, ep: EpId, end: End, place: &Place, actors: &Actors) -> Result<RemoteAddr, Refusal> {
        let memory = actors.regions.get(&place.region).ok_or(Refusal::Unknown)?;
        let key = if place.key == Key::Old { &memory.old_key } else { &memory.key };
        let Some(key) = key else {
            return Ok(RemoteAddr { rkey: RkeyId(NEVER), addr: 0x1000 });
        };
        // An endpoint that is closed says so when the work is posted.
        let imported = self.nodes[end.node].device.import(ep, key);
        let Ok(remote) = imported else {
            return Err(if actors.endpoints[&end].open { Refusal::Other } else { Refusal::Unknown });
        };
        let flip = if place.key == Key::Never { NEVER } else { 0 };
        let addr = remote.addr.wrapping_add_signed(place.offset);
        Ok(RemoteAddr { rkey: RkeyId(remote.rkey.0 ^ flip), addr })
    }

    /// Rings for what was posted to an endpoint. What the device says only now was refused.
    pub(super) fn ring(&mut self, end: End, actors: &mut Actors, log: &mut Log) {
        let posted = std::mem::take(&mut actors.rung);
        let Some(endpoint) = actors.endpoints.get(&end).filter(|e| e.open && !posted.is_empty()) else {
            return;
        };
        if let Err(error) = self.nodes[end.node].device.ring(endpoint.ep) {
            for step in posted.into_iter().skip(error.taken as usize) {
                actors.posted.remove(&step);
                log.refusals.insert(step, refusal(&error.error));
            }
        }
    }
}
