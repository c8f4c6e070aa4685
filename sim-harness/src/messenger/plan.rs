//! Plans: all that a run over messengers consists of, spelled out.

use std::collections::BTreeSet;

use wavetank_contract::Buggify;
use wavetank_messenger::{MessengerConfig, Policy, Way};

use crate::fault::Fault;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The latency profile, by name.
    pub profile: String,
    /// Largest extra delay of a packet, in ns.
    pub jitter_ns: u64,
    /// How long something takes on a line, in ns.
    pub line_ns: u64,
    /// Largest extra delay on a line, in ns.
    pub line_jitter_ns: u64,
    /// The nodes. Names are their places, from 1.
    pub nodes: Vec<NodePlan>,
    /// Who connects with whom.
    pub connections: Vec<ConnectionPlan>,
    /// Bytes of one work of a READ or WRITE.
    pub chunk_bytes: u32,
    /// Works of a transfer outstanding at a time.
    pub window: u32,
    /// Every n-th send is signalled.
    pub signal_every: u32,
    /// Rare behaviour of engines that may come at all.
    pub buggify: BTreeSet<Buggify>,
    /// Every step of the protocol pushes the driver, and is counted.
    pub stepped: bool,
    /// What is sent and closed.
    pub ops: Vec<OpPlan>,
    /// What happens to links, devices and hosts, at times.
    pub faults: Vec<Fault>,
    /// What happens to lines and endpoints.
    pub incidents: Vec<Incident>,
    /// When everything is healed, in ns.
    pub heal_ns: u64,
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Its messenger's settings.
    pub config: MessengerConfig,
    /// Whom it accepts.
    pub accepts: Option<Policy>,
}

/// A connection between two nodes. No two are of the same caller and the same callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// Who calls whom; of lossless peers either may call.
    pub nodes: [u16; 2],
    /// The caller's policy.
    pub policy: Policy,
    /// When either side calls, in ns. Of others than lossless peers only the first does.
    pub dials_ns: [Option<u64>; 2],
    /// A side that has called calls again so long after a connection has ended, if at all.
    pub redial_ns: Option<u64>,
}

/// Something that one end of a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpPlan {
    /// Its name: kept when others are removed.
    pub id: u32,
    /// On which connection.
    pub connection: u16,
    /// At which of its ends.
    pub end: u8,
    /// When, in ns; later, if it cannot be done then.
    pub at_ns: u64,
    /// What.
    pub what: What,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A message is sent.
    Send(Letter),
    /// The connection is closed.
    Close,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What becomes of it.
    pub sort: Sort,
    /// Its front and data.
    pub load: Load,
    /// How long it is of interest, in ns.
    pub deadline_ns: Option<u64>,
    /// How long its receiver keeps it, in ns.
    pub keep_ns: u64,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Nobody waits.
    OneWay,
    /// The sender waits until it is let go of.
    Held,
    /// A reply is waited for.
    Request {
        /// Bytes of memory given for the reply.
        sink: Option<u32>,
        /// The sender gives up after so long, in ns.
        cancel_ns: Option<u64>,
        /// What the receiver does.
        reply: Reply,
    },
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is kept, and answered by nobody before everything is healed.
    Never,
    /// Whoever has it lets go of it after so long, in ns.
    Drops(u64),
    /// It is answered after so long, in ns.
    After(u64, Load),
}

/// Bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes of the front; at least [`FRONT_BYTES_MIN`].
    pub front_len: u16,
    /// Bytes of data.
    pub len: u32,
    /// Where the data is.
    pub place: Place,
    /// How it is to travel.
    pub way: Option<Way>,
}

/// A front has room for who wrote it.
pub const FRONT_BYTES_MIN: u16 = 24;

/// Memory that data is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The messenger's pool.
    Pool,
    /// Exposed to the peer.
    Exposed,
    /// The user's own, registered by the user.
    Own,
}

/// Something that happens beside the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// When, in ns.
    pub at_ns: u64,
    /// What.
    pub what: Happens,
}

/// What happens to lines and endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happens {
    /// What is said between two nodes waits for so long, in ns.
    LinesCut {
        /// The nodes.
        nodes: [u16; 2],
        /// For how long.
        ns: u64,
    },
    /// Lines that there are between two nodes carry nothing any more, not even their end.
    LinesSilent {
        /// The nodes.
        nodes: [u16; 2],
    },
    /// Lines that there are between two nodes end, as either side sees it.
    LinesReset {
        /// The nodes.
        nodes: [u16; 2],
    },
    /// The `nth` endpoint of a node goes into ERR.
    EndpointKilled {
        /// Whose.
        node: u16,
        /// Which of those that are open.
        nth: u32,
    },
    /// The host dies and its kernel with it: lines say nothing. It is back after so long, in ns.
    PowerLost {
        /// Whose.
        node: u16,
        /// For how long.
        ns: u64,
    },
}
