//! Plans: all that a generated run consists of, spelled out. A plan and its choices are the whole run; the seed that drew
//! them is only a name.

mod check;

use std::collections::BTreeSet;

use wavetank_contract::{Buggify, Mtu};

use crate::fault::Fault;

pub use check::ADDS_MAX;
pub(crate) use check::LEASE_BYTES_MIN;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The latency profile, by name: `ideal`, `rxe` or `cx6`.
    pub profile: String,
    /// Largest extra delay of a packet, in ns; 0 is a perfectly regular network.
    pub jitter_ns: u64,
    /// How many nodes.
    pub nodes: u16,
    /// Exported memory.
    pub regions: Vec<RegionPlan>,
    /// Connections.
    pub connections: Vec<ConnectionPlan>,
    /// What every node's engine is set to.
    pub engine: EnginePlan,
    /// Rare behaviour of engines that may come at all.
    pub buggify: BTreeSet<Buggify>,
    /// Operations. Those of one end of a connection begin in this order.
    pub ops: Vec<OpPlan>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Memory of a node that peers may use, in slots of equal size. A slot is written by one end of one connection only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionPlan {
    /// Whose.
    pub node: u16,
    /// How many slots.
    pub slots: u16,
    /// Bytes of a slot, a multiple of 8.
    pub slot_bytes: u32,
    /// Whether peers get the key of a memory window instead of the region's own.
    pub window: bool,
}

/// A connection between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// Its ends.
    pub nodes: [u16; 2],
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
    /// Depth of either send queue.
    pub send_depth: u16,
    /// Receives kept posted at either end.
    pub recv_depth: u16,
    /// READs and atomics outstanding.
    pub rd_atomic: u8,
    /// Operations that either end has under way at a time.
    pub in_flight: u16,
}

/// Settings of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnginePlan {
    /// Bytes of one work of a READ or WRITE.
    pub chunk_bytes: u32,
    /// Works of a transfer outstanding at a time.
    pub window: u16,
    /// Every n-th send is signalled.
    pub signal_every: u16,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpPlan {
    /// Its name: never given to another operation, and kept when others are removed.
    pub id: u32,
    /// Over which connection.
    pub connection: u16,
    /// From which of its ends, 0 or 1.
    pub end: u8,
    /// What.
    pub verb: VerbPlan,
    /// How long it may take, in ns, if there is a limit.
    pub deadline_ns: Option<u64>,
    /// Whether it is given up once it was submitted.
    pub cancel: bool,
    /// The session it belongs to, if any. A session begins with its first operation.
    pub session: Option<u16>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbPlan {
    /// Reads part of a slot.
    Read(SlotRange),
    /// Writes part of a slot.
    Write {
        /// Where.
        to: SlotRange,
        /// Whether the peer is told, with an immediate.
        imm: bool,
    },
    /// Sends a message.
    Send {
        /// Bytes.
        len: u32,
        /// Whether with an immediate.
        imm: bool,
    },
    /// Adds to the word at the start of a slot.
    Add {
        /// The region.
        region: u16,
        /// The slot, which only such operations use.
        slot: u16,
    },
    /// Swaps the word at the start of a slot.
    Swap {
        /// The region.
        region: u16,
        /// The slot, which only such operations use.
        slot: u16,
    },
    /// Ends the session it belongs to.
    CloseSession,
}

/// Part of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The region, by its place in the plan.
    pub region: u16,
    /// The slot.
    pub slot: u16,
    /// The first byte.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}
