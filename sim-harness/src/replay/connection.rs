//! Connections: queue pairs between nodes that work together.

use std::collections::BTreeMap;

use wavetank_contract::{EpId, RemoteRegion};

use crate::workload::{NodeId, RegionId};

/// All connections of a replay.
#[derive(Debug, Default)]
pub(super) struct Connections {
    all: Vec<Connection>,
    /// From poster and target to its connections, which take turns.
    pairs: BTreeMap<(NodeId, NodeId), Pair>,
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
    pub(super) target: (u16, EpId),
    /// The target's regions, by region number.
    pub(super) remotes: BTreeMap<u32, RemoteRegion>,
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

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Every endpoint with its node.
    pub(super) fn endpoints(&self) -> Vec<(u16, EpId)> {
        self.all.iter().flat_map(|connection| [connection.poster, connection.target]).collect()
    }
}
