//! Connections: queue pairs between nodes that work together.

use std::collections::BTreeMap;

use wavetank_contract::{CqId, EpId, Instant, RemoteRegion};

use crate::workload::{NodeId, RegionId};

/// All connections of a replay.
#[derive(Debug, Default)]
pub(super) struct Connections {
    all: Vec<Connection>,
    /// From poster and target to its connections, which take turns.
    pairs: BTreeMap<(NodeId, NodeId), Pair>,
    /// The completion queue of each node, which endpoints made later use as well.
    pub(super) cqs: Vec<CqId>,
}

#[derive(Debug)]
struct Pair {
    first: usize,
    count: usize,
    turn: usize,
}

/// Two connected endpoints.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) poster: (u16, EpId),
    /// `None`: at a node of another process.
    pub(super) target: Option<(u16, EpId)>,
    /// The target's regions, by region number.
    pub(super) remotes: BTreeMap<u32, RemoteRegion>,
    /// Whether it can be used.
    pub(super) condition: Condition,
    /// Operations begun.
    pub(super) begun: u32,
    /// Operations under way.
    pub(super) in_flight: u32,
    /// Receives posted that have not ended.
    pub(super) receives: u32,
    /// WRITEs that failed and may still land, by region and generation.
    pub(super) doubtful: Vec<(u32, u32)>,
    /// How often it broke since an operation last succeeded.
    pub(super) breaks: u32,
}

/// Whether a connection can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It can.
    Whole,
    /// A fault broke it: what is under way has to end first.
    Broken,
    /// Its ends are in ERR: what was posted comes back.
    Draining,
    /// It is made anew, at this time.
    Connecting {
        /// When.
        at: Instant,
        /// How often it was tried before.
        tries: u32,
    },
}

impl Connection {
    pub(super) fn new(
        poster: (u16, EpId),
        target: Option<(u16, EpId)>,
        remotes: BTreeMap<u32, RemoteRegion>,
    ) -> Connection {
        let (condition, doubtful) = (Condition::Whole, Vec::new());
        Connection {
            poster,
            target,
            remotes,
            condition,
            begun: 0,
            in_flight: 0,
            receives: 0,
            doubtful,
            breaks: 0,
        }
    }

    /// Its ends in this process.
    pub(super) fn ends(&self) -> impl Iterator<Item = (u16, EpId)> + use<> {
        [Some(self.poster), self.target].into_iter().flatten()
    }
}

impl Connections {
    /// Adds the connections of a pair of nodes.
    pub(super) fn add(&mut self, from: NodeId, to: NodeId, connections: Vec<Connection>) {
        let pair = Pair { first: self.all.len(), count: connections.len(), turn: 0 };
        self.all.extend(connections);
        self.pairs.insert((from, to), pair);
    }

    /// The next connection of a pair.
    pub(super) fn pick(&mut self, from: NodeId, to: NodeId) -> usize {
        let Some(pair) = self.pairs.get_mut(&(from, to)) else {
            unreachable!("setup connects every pair in use")
        };
        let picked = pair.first + pair.turn;
        pair.turn = if pair.turn + 1 == pair.count { 0 } else { pair.turn + 1 };
        picked
    }

    /// Whether the next connection of a pair can be used.
    pub(super) fn is_usable(&self, from: NodeId, to: NodeId) -> bool {
        let next = self.pairs.get(&(from, to)).and_then(|pair| self.all.get(pair.first + pair.turn));
        next.is_some_and(|connection| connection.condition == Condition::Whole)
    }

    /// When a connection is to be tried again.
    pub(super) fn next_try(&self) -> Instant {
        let at = |connection: &Connection| match connection.condition {
            Condition::Connecting { at, .. } => Some(at),
            _ => None,
        };
        self.all.iter().filter_map(at).min().unwrap_or(Instant::FAR)
    }

    /// Operations that began on a connection.
    pub(super) fn begun(&self, connection: usize) -> u32 {
        self.all[connection].begun
    }

    /// The endpoint that posts.
    pub(super) fn poster(&self, connection: usize) -> EpId {
        self.all[connection].poster.1
    }

    pub(super) fn remote(&self, connection: usize, region: RegionId) -> Option<RemoteRegion> {
        self.all[connection].remotes.get(&region.0).copied()
    }

    pub(super) fn get(&self, connection: usize) -> &Connection {
        &self.all[connection]
    }

    pub(super) fn get_mut(&mut self, connection: usize) -> &mut Connection {
        &mut self.all[connection]
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.all.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Every endpoint of this process, with its node.
    pub(super) fn endpoints(&self) -> Vec<(u16, EpId)> {
        self.all.iter().flat_map(Connection::ends).collect()
    }
}
