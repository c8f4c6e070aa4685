//! Programs: what is done to two devices, step by step.

use std::collections::BTreeMap;
use std::fmt;

use wavetank_contract::chance::mix64;
use wavetank_contract::{Access, Mtu, OpKind, QpState};

/// Nodes of a program.
pub const NODES: usize = 2;

/// A region, by the letter it has in the text.
pub type RegionId = char;

/// Two nodes' regions, the connections between them, and what happens.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Program {
    /// Memory.
    pub regions: BTreeMap<RegionId, RegionPlan>,
    /// Pairs of endpoints, one at each node.
    pub connections: BTreeMap<usize, ConnectionPlan>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// A region of one node, registered when the program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionPlan {
    /// Whose memory.
    pub node: usize,
    /// Its protection domain.
    pub pd: u16,
    /// Bytes.
    pub len: u32,
    /// Rights.
    pub access: Access,
}

/// A connection, made when the program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// Protection domain of either end.
    pub pd: [u16; NODES],
    /// What peers may do through either end.
    pub access: [Access; NODES],
    /// Payload of a packet.
    pub mtu: Mtu,
    /// Code of the ACK timeout.
    pub timeout: u8,
    /// Repetitions after silence.
    pub retry_cnt: u8,
    /// Repetitions after "receiver not ready".
    pub rnr_retry: u8,
    /// Code of the RNR timer.
    pub rnr_timer: u8,
}

/// One end of a connection: `c0.1` is node 1's end of connection 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Which connection.
    pub connection: usize,
    /// At which node.
    pub node: usize,
}

impl End {
    /// The other end.
    pub fn peer(self) -> End {
        End { node: 1 - self.node, ..self }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.connection, self.node)
    }
}

/// One step. Everything but a post happens when all is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A work is posted.
    Post(Post),
    /// Whatever can complete does.
    Settle,
    /// A region's registration ends.
    Deregister(RegionId),
    /// A region is registered again, under another key, and filled anew by its owner.
    Register(RegionId),
    /// An endpoint is moved to another state.
    Move(End, QpState),
    /// An endpoint is closed.
    Close(End),
    /// Both ends are reset and connected again.
    Reconnect(usize),
}

/// A work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Where.
    pub end: End,
    /// What.
    pub verb: Verb,
    /// Local memory.
    pub data: LocalData,
    /// The place at the peer, for one-sided works.
    pub remote: Option<Place>,
    /// For SEND and WRITE.
    pub imm: Option<u32>,
    /// Whether success is told.
    pub signalled: bool,
    /// Whether it waits for earlier READs and atomics.
    pub fence: bool,
}

/// What a work does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // see `Op`
pub enum Verb {
    Recv,
    Send,
    Write,
    Read,
    Swap { compare: u64, swap: u64 },
    Add { add: u64 },
}

/// Local memory of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalData {
    /// Pieces of regions.
    Pieces(Vec<Piece>),
    /// This many bytes of a pattern, copied when posted.
    Inline(u32),
}

/// One piece of local memory; may be past its region's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of which region.
    pub region: RegionId,
    /// From which byte on.
    pub offset: u32,
    /// How many.
    pub len: u32,
}

/// A place at the peer; may be before its region's start or past its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which region.
    pub region: RegionId,
    /// From its start.
    pub offset: i64,
    /// By which key.
    pub key: Key,
}

/// Which key of a region is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The latest; dead when the region is deregistered.
    Latest,
    /// The one before the latest, dead for good.
    Old,
    /// One that was never given out.
    Never,
}

impl Post {
    /// Its kind, as completions name it.
    pub fn kind(&self) -> OpKind {
        match self.verb {
            Verb::Recv => OpKind::Recv,
            Verb::Send => OpKind::Send,
            Verb::Write if self.imm.is_some() => OpKind::WriteImm,
            Verb::Write => OpKind::Write,
            Verb::Read => OpKind::Read,
            Verb::Swap { .. } => OpKind::CompareSwap,
            Verb::Add { .. } => OpKind::FetchAdd,
        }
    }

    /// Whether it goes to the receive queue.
    pub fn is_recv(&self) -> bool {
        self.verb == Verb::Recv
    }

    /// Whether the peer spends a receive on it.
    pub fn is_message(&self) -> bool {
        matches!(self.kind(), OpKind::Send | OpKind::WriteImm)
    }

    /// Its local pieces.
    pub fn pieces(&self) -> &[Piece] {
        match &self.data {
            LocalData::Pieces(pieces) => pieces,
            LocalData::Inline(_) => &[],
        }
    }

    /// Bytes in all.
    pub fn len_bytes(&self) -> u32 {
        match &self.data {
            LocalData::Pieces(pieces) => pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.len)),
            LocalData::Inline(len) => *len,
        }
    }
}

impl Program {
    /// The post at a step, if there is one.
    pub fn post(&self, step: usize) -> Option<&Post> {
        match self.steps.get(step) {
            Some(Step::Post(post)) => Some(post),
            _ => None,
        }
    }

    /// Without the regions and connections that no step names.
    pub(crate) fn without_unused(&self) -> Program {
        let mut small = self.clone();
        small.regions.retain(|id, _| {
            self.steps.iter().any(|step| match step {
                Step::Register(region) | Step::Deregister(region) => region == id,
                Step::Post(post) => {
                    let pieces = post.pieces().iter().any(|piece| piece.region == *id);
                    pieces || post.remote.is_some_and(|place| place.region == *id)
                }
                _ => false,
            })
        });
        small.connections.retain(|id, _| {
            self.steps.iter().any(|step| match step {
                Step::Post(Post { end, .. }) | Step::Move(end, _) | Step::Close(end) => end.connection == *id,
                Step::Reconnect(connection) => connection == id,
                Step::Settle | Step::Deregister(_) | Step::Register(_) => false,
            })
        });
        small
    }

    /// Every end of every connection.
    pub fn ends(&self) -> impl Iterator<Item = End> + '_ {
        self.connections.keys().flat_map(|&connection| (0..NODES).map(move |node| End { connection, node }))
    }
}

/// What the owner writes into a region when it is registered for the `life`th time: byte `offset`.
pub(crate) fn pattern(region: RegionId, life: u32, offset: u32) -> u8 {
    pattern_word(region, life, offset / 8).to_le_bytes()[offset as usize % 8]
}

/// The same by words.
pub(crate) fn pattern_word(region: RegionId, life: u32, word: u32) -> u64 {
    mix64(u64::from(region) << 48 | u64::from(life) << 32 | u64::from(word))
}
