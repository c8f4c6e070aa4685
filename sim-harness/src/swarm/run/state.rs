//! What a run knows of its hosts, memory, connections and operations.

use std::collections::{BTreeMap, VecDeque};

use wavetank_contract::{Buggify, CqId, EpId, Instant, MrId, Region, RemoteKey, RemoteRegion, WindowId};
use wavetank_engine::TransferId;
use wavetank_engine::session::SessionKey;

use crate::swarm::oracle::Party;
use crate::swarm::oracle::atomics::{Chain, Sum};
use crate::swarm::oracle::blame::Blame;
use crate::swarm::oracle::messages::Stream;
use crate::swarm::oracle::slots::Slot;
use crate::swarm::plan::{Plan, VerbPlan};

/// Bytes of a slot for probes.
pub(super) const PROBE_BYTES: u32 = 64;

/// Streams of messages are numbered above all editions of regions.
const STREAM_BASE: u32 = 1 << 24;

/// A host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Where its endpoints complete; none before it is furnished.
    pub(super) cq: Option<CqId>,
    pub(super) outage: Option<Outage>,
    /// By their number in the plan.
    pub(super) sessions: BTreeMap<u16, SessionKey>,
    /// Since when it has been running: it cannot keep deadlines that passed before.
    pub(super) runs_since: Instant,
    /// It looks at its device now and then without having been told to: notifications get lost.
    pub(super) looks: bool,
    /// What was done to it.
    pub(super) blame: Blame,
}

/// Why a host has no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// It is dead.
    Crashed,
    /// Its device was removed.
    Removed,
}

/// Exported memory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: u16,
    pub(super) slot_bytes: u32,
    /// What each slot is for.
    pub(super) uses: Vec<Use>,
    /// Peers get the key of a window.
    pub(super) window: bool,
    /// What it holds now, if it is registered.
    pub(super) edition: Option<usize>,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Data,
    Adds,
    Swaps,
}

/// What a place holds, from when it is registered until that ends.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) place: usize,
    /// The number in the tags of its pattern.
    pub(super) tag: u32,
    pub(super) memory: Region,
    pub(super) fate: Fate,
    /// The window that peers have the key of.
    pub(super) window: Option<(WindowId, RemoteKey)>,
    /// How many keys of it have died.
    pub(super) dead_keys: u32,
    pub(super) slots: Vec<Contents>,
}

/// What became of an edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Peers may use it.
    Registered(MrId),
    /// Its registration ended: it is scribbled, and stays so.
    Retired,
    /// Its host died, or its device went, when its bytes had this digest.
    Lost(u64),
}

/// What is known of a slot.
#[derive(Debug)]
pub(super) enum Contents {
    Data(Slot),
    Adds(Sum),
    Swaps(Chain),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    /// How often it was made before.
    pub(super) life: u32,
    pub(super) up: bool,
    /// A task will make it anew.
    pub(super) planned: bool,
    /// What was done to it.
    pub(super) blame: Blame,
    /// Operations begun.
    pub(super) begun: u32,
}

/// Memory of a peer, as it was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) remote: RemoteRegion,
    pub(super) edition: usize,
    /// How many keys of the edition were dead by then.
    pub(super) dead_keys: u32,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: u16,
    pub(super) ep: Option<EpId>,
    /// The peer's memory as it was told.
    pub(super) keys: BTreeMap<usize, Told>,
    /// Operations to begin.
    pub(super) queue: VecDeque<usize>,
    pub(super) in_flight: u32,
    /// Receives posted.
    pub(super) receives: u32,
    pub(super) receive_bytes: u64,
    /// Something failed here in this life.
    pub(super) failed: bool,
}

/// How far an operation is.
#[derive(Debug)]
pub(super) enum OpState {
    Waiting,
    UnderWay(Flight),
    Ended,
}

/// An operation under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) id: Option<TransferId>,
    pub(super) party: Party,
    pub(super) node: u16,
    pub(super) deadline: Instant,
    pub(super) expect: Expect,
    /// Its session ends it when it ends.
    pub(super) session: Option<SessionKey>,
    /// The key it uses was dead before it began: it must not succeed.
    pub(super) dead_key: bool,
    /// Where its local bytes are.
    pub(super) source: (Region, u64),
}

/// What an operation is held to when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    Read { edition: usize, slot: usize, since: u64 },
    Written { edition: usize, slot: usize, generation: u32, told: bool },
    Sent,
    Added { edition: usize, slot: usize, bit: u32 },
    Swapped { edition: usize, slot: usize },
}

/// The places of a plan, and one of each node for probes.
pub(super) fn places(plan: &Plan) -> Vec<Place> {
    let mut places: Vec<Place> = plan
        .regions
        .iter()
        .map(|region| Place {
            node: region.node,
            slot_bytes: region.slot_bytes,
            uses: vec![Use::Data; usize::from(region.slots)],
            window: region.window,
            edition: None,
        })
        .collect();
    for op in &plan.ops {
        match op.verb {
            VerbPlan::Add { region, slot } => {
                places[usize::from(region)].uses[usize::from(slot)] = Use::Adds;
            }
            VerbPlan::Swap { region, slot } => {
                places[usize::from(region)].uses[usize::from(slot)] = Use::Swaps;
            }
            _ => {}
        }
    }
    places.extend((0..plan.nodes).map(|node| Place {
        node,
        slot_bytes: PROBE_BYTES,
        uses: vec![Use::Data; 2 * plan.connections.len()],
        window: false,
        edition: None,
    }));
    places
}

/// What explains errors all through a run: an engine that is told now and then that its queue is full may post receives late.
pub(super) fn standing_blame(plan: &Plan) -> Blame {
    if plan.buggify.contains(&Buggify::EarlyFull) { Blame::SLOW } else { Blame::NONE }
}

pub(super) fn connections(plan: &Plan) -> Vec<Connection> {
    let connection = |(index, planned): (usize, &crate::swarm::plan::ConnectionPlan)| {
        let end = |end: u8| End {
            node: planned.nodes[usize::from(end)],
            ep: None,
            keys: BTreeMap::new(),
            queue: (0..plan.ops.len())
                .filter(|op| usize::from(plan.ops[*op].connection) == index && plan.ops[*op].end == end)
                .collect(),
            in_flight: 0,
            receives: 0,
            receive_bytes: plan.receive_bytes(index, end),
            failed: false,
        };
        let ends = [end(0), end(1)];
        Connection { ends, life: 0, up: false, planned: false, blame: standing_blame(plan), begun: 0 }
    };
    plan.connections.iter().enumerate().map(connection).collect()
}

pub(super) fn streams(plan: &Plan) -> Vec<[Stream; 2]> {
    let stream = |number: usize| Stream::new(STREAM_BASE + number as u32);
    (0..plan.connections.len()).map(|index| [stream(2 * index), stream(2 * index + 1)]).collect()
}
