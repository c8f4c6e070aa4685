//! Messages: receives kept posted at the target, and what has to arrive in them.
//!
//! SENDs of one connection arrive in the order in which they were submitted. A WRITE with immediate is told by its
//! immediate, because its chunks may let later messages pass.

use std::collections::{BTreeSet, VecDeque};

use wavetank_contract::{Instant, Op, OpKind};
use wavetank_engine::{Finished, RdmaOps, TransferSpec};

use super::Replay;
use super::connection::Condition;
use crate::check::Check;
use crate::pattern::{self, Suspect, Tag};

/// Marks the tags of receives.
pub(super) const RECEIVE: u64 = 1 << 63;

/// Message streams are numbered above all regions.
const STREAM_BASE: u32 = 1 << 24;

/// What is to arrive, by connection.
#[derive(Debug, Default)]
pub(super) struct Messages {
    streams: Vec<Stream>,
    /// Room of one receive.
    pub(super) receive_bytes: u64,
}

/// One connection's messages.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Receives kept posted; 0 when nothing that needs one is ever sent.
    pub(super) receives: u32,
    sent: u32,
    sends: VecDeque<(u32, u32)>,
    writes: BTreeSet<u32>,
    immediates: u32,
    /// Messages that failed, and arrive or do not.
    doubtful: BTreeSet<u32>,
    /// WRITEs with immediate that failed, likewise.
    doubtful_writes: BTreeSet<u32>,
}

impl Messages {
    pub(super) fn new(receive_bytes: u64, receives: impl Iterator<Item = u32>) -> Messages {
        let streams = receives.map(|receives| Stream { receives, ..Stream::default() }).collect();
        Messages { streams, receive_bytes }
    }

    /// A message is about to be sent. Answers its pattern.
    pub(super) fn announce(&mut self, connection: usize, len: u32) -> Tag {
        let stream = &mut self.streams[connection];
        let generation = stream.sent;
        stream.sent += 1;
        stream.sends.push_back((generation, len));
        Tag { region: STREAM_BASE + connection as u32, generation }
    }

    /// A WRITE with an immediate is about to be sent. Answers its immediate, which no other WRITE of the connection
    /// has, whichever region it goes to.
    pub(super) fn announce_write(&mut self, connection: usize) -> u32 {
        let stream = &mut self.streams[connection];
        let imm = stream.immediates;
        stream.immediates = imm.wrapping_add(1);
        stream.writes.insert(imm);
        imm
    }

    /// A message failed: it arrives or does not.
    pub(super) fn doubt(&mut self, connection: usize, generation: u32) {
        self.streams[connection].doubtful.insert(generation);
    }

    /// A WRITE with an immediate failed, likewise.
    pub(super) fn doubt_write(&mut self, connection: usize, imm: u32) {
        self.streams[connection].doubtful_writes.insert(imm);
    }

    /// The connection is gone: what failed and has not arrived never will.
    pub(super) fn forget_doubtful(&mut self, connection: usize) {
        let Stream { sends, writes, doubtful, doubtful_writes, .. } = &mut self.streams[connection];
        sends.retain(|(generation, _)| !doubtful.contains(generation));
        writes.retain(|imm| !doubtful_writes.contains(imm));
        doubtful.clear();
        doubtful_writes.clear();
    }

    /// Messages that have not arrived.
    pub(super) fn unmet(&self) -> u64 {
        self.streams.iter().map(|stream| (stream.sends.len() + stream.writes.len()) as u64).sum()
    }

    pub(super) fn suspects(&self) -> impl Iterator<Item = Suspect> + '_ {
        self.streams.iter().zip(0u32..).filter(|(stream, _)| stream.sent > 0).map(|(stream, index)| Suspect {
            name: format!("messages of connection {index}"),
            region: STREAM_BASE + index,
            len: self.receive_bytes,
            generations: stream.sent,
        })
    }

    pub(super) fn receives(&self, connection: usize) -> u32 {
        self.streams[connection].receives
    }
}

impl<C: RdmaOps> Replay<C> {
    /// Posts every receive there will be; each is posted again when a message has arrived in it.
    pub(super) fn post_receives(&mut self) {
        (0..self.connections.len()).for_each(|connection| self.post_receives_of(connection));
    }

    /// Posts the receives of one connection.
    pub(super) fn post_receives_of(&mut self, connection: usize) {
        for _ in 0..self.messages.receives(connection) {
            self.post_receive(connection);
        }
    }

    fn post_receive(&mut self, connection: usize) {
        let now = self.world.now();
        let len = self.messages.receive_bytes;
        let Some((node, ep)) = self.connections.get(connection).target else { return };
        self.connections.get_mut(connection).receives += 1;
        let host = &mut self.world.nodes[node as usize];
        let Some(arena) = host.receives.as_mut() else { unreachable!("setup gives every receiver an arena") };
        let lease = match host.driver.lease(arena, len) {
            Ok(lease) => lease,
            Err(error) => unreachable!("setup makes room for every receive: {error}"),
        };
        pattern::poison(lease.region(), lease.offset(), len as usize);
        let (mr, tag, deadline) = (arena.mr(), RECEIVE | connection as u64, Instant::FAR);
        let spec = TransferSpec { ep, op: Op::Recv, lease, mr, len, deadline, session: None, tag };
        if let Err(error) = host.driver.submit(now, spec) {
            self.failures.add(Check::Message, now, || format!("a receive was not taken: {error}"));
        }
        self.world.touch(node);
    }

    /// Checks a message that arrived.
    pub(super) fn received(&mut self, node: u16, finished: Finished) {
        let now = self.world.now();
        self.world.progressed();
        let connection = (finished.tag & !RECEIVE) as usize;
        if let Some(recorder) = &mut self.recorder {
            recorder.received(connection, &finished);
        }
        self.connections.get_mut(connection).receives -= 1;
        if let Err(error) = &finished.result
            && (self.connections.get(connection).condition != Condition::Whole
                || self.explains_receive(error))
        {
            self.break_connection(connection);
            return;
        }
        let whole = self.connections.get(connection).condition == Condition::Whole;
        let stream = &mut self.messages.streams[connection];
        let arrived = |generation, expected| match (&finished.result, &finished.lease) {
            (Ok(len), Some(lease)) if *len == u64::from(expected) => {
                let tag = Tag { region: STREAM_BASE + connection as u32, generation };
                pattern::holds(lease.region(), lease.offset(), *len as usize, tag, 0)
            }
            _ => false,
        };
        if finished.kind != OpKind::WriteImm {
            stream.pass_over_doubtful(arrived);
        }
        let problem = match (&finished.result, finished.kind) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(_), OpKind::WriteImm) => match finished.imm {
                Some(imm) if stream.writes.remove(&imm) => None,
                imm => Some(format!("an immediate {imm:?} that nobody sent, or that came before")),
            },
            (Ok(len), _) => match (stream.sends.pop_front(), &finished.lease) {
                (Some((generation, expected)), Some(lease)) => {
                    self.bytes_verified += len;
                    let tag = Tag { region: STREAM_BASE + connection as u32, generation };
                    let (memory, at) = (lease.region(), lease.offset());
                    if u64::from(expected) != *len {
                        Some(format!("message {generation} has {len} bytes, {expected} were sent"))
                    } else if !pattern::holds(memory, at, *len as usize, tag, 0) {
                        self.mismatches += 1;
                        let (region, legal) = (tag.region, [generation]);
                        let first = pattern::first_foreign(memory, at, *len as usize, region, &legal, 0);
                        let first = first.unwrap_or(0) as u64;
                        let origin = pattern::origin(memory, at + first, at + len, &self.suspects());
                        Some(format!(
                            "message {generation} is not what was sent from byte {first} on; found {origin}"
                        ))
                    } else {
                        None
                    }
                }
                _ => Some("a message that nobody sent".to_owned()),
            },
        };
        let failed = finished.result.is_err();
        drop(finished);
        if let Some(problem) = problem {
            let what = format!("node {node}, connection {connection}: {problem}");
            self.failures.add(Check::Message, now, || what);
        }
        if failed {
            // Another receive would fail as well, at once and for ever.
            self.receiver_died = true;
        } else if whole {
            self.post_receive(connection);
        }
    }
}

impl Stream {
    /// Messages that failed may be missing before the one that arrived.
    fn pass_over_doubtful(&mut self, arrived: impl Fn(u32, u32) -> bool) {
        while let Some(&(generation, expected)) = self.sends.front()
            && self.doubtful.contains(&generation)
            && !arrived(generation, expected)
        {
            self.sends.pop_front();
        }
    }
}
