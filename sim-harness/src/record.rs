//! Recorded runs: what was asked of a device, how it ended and when, as text that can be kept, compared and run again.
//!
//! ```text
//! wavetank-sim 1
//! backend verbs
//! simulated no
//! device verbs/rxe0                              one per node
//! caps queue_depth_max=1024 ...                  of the first node's device
//! workload pgbench-8k
//! seed 1
//! profile cx6 850 0 80 120 1                     name, base_ns, packet_ns, byte_ps, jitter_ns, jitter_shape
//! mtu 4096
//! queue_pairs 4
//! chunk 262144
//! window 8
//! signal_every 1
//! deadline 2000000000                            or none
//! node client
//! node storage
//! region 1 65536 base/2691                       node, bytes, name
//! events
//! submit 0 1200 read 0 1 0 8192 8192 2           number, ns, kind, from, to, region (or -), offset, bytes, connection
//! finish 0 53100 SUCCESS 8192                    number, ns, how it ended, bytes done
//! receive 2 60000 send SUCCESS 256 -             connection, ns, what it met, how it ended, bytes, immediate (or -)
//! event 0 60000 PortErr                          node, ns, what the device said
//! end 4                                          lines since `events`
//! ```
//!
//! Events are in the order in which the harness saw them. That order is also the run's structure: an operation was submitted
//! when as many others had ended as `finish` lines stand before it, and so it is when the run is issued again.

mod compare;
mod parse;
mod recorder;
mod write;

use wavetank_contract::{Instant, OpKind, Status};

use crate::workload::{Node, Region, Settings};

pub use compare::{Difference, compare};
pub(crate) use recorder::Recorder;

/// How a recorded run begins.
pub(crate) const HEADER: &[u8] = b"wavetank-sim ";

/// The version of the format that is written and read.
const VERSION: &str = "1";

/// Events of one run, at most.
pub const EVENTS_MAX: usize = 1 << 24;

/// A recorded run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRun {
    /// The backend: `mock`, `verbs`, `ucx`.
    pub backend: String,
    /// Whether no device took part.
    pub simulated: bool,
    /// The device of each node.
    pub devices: Vec<String>,
    /// What the first node's device promised, on one line.
    pub caps: String,
    /// The workload's name.
    pub workload: String,
    /// The settings it ran under. The profile is the one its workload names, used or not.
    pub settings: Settings,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its regions.
    pub regions: Vec<Region>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The line of the first event in its file; 0 for a run that was not read from one.
    pub first_line: u32,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation was submitted; operations are numbered from 0.
    Submit(Submit),
    /// One ended.
    Finish {
        /// Its number.
        serial: u64,
        /// When.
        at: Instant,
        /// How.
        end: End,
        /// Bytes done.
        len: u64,
    },
    /// A receive ended.
    Receive {
        /// Its connection.
        connection: u32,
        /// When.
        at: Instant,
        /// What it met: a SEND, or a WRITE with an immediate; a receive when it failed.
        kind: OpKind,
        /// How.
        end: End,
        /// Bytes received.
        len: u64,
        /// The immediate.
        imm: Option<u32>,
    },
    /// The device reported an event.
    Async {
        /// At which node.
        node: u16,
        /// When.
        at: Instant,
        /// What it said.
        what: String,
    },
}

/// An operation as it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submit {
    /// When.
    pub at: Instant,
    /// What it does.
    pub kind: OpKind,
    /// Who posted it.
    pub from: u16,
    /// Whose region it works on, or who receives it.
    pub to: u16,
    /// The region; none for a SEND.
    pub region: Option<u32>,
    /// First byte in the region.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
    /// Over which connection, counted from 0.
    pub connection: u32,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a completion.
    Completed(Status),
    /// The device refused it when it was posted.
    Refused,
    /// Its deadline passed.
    Deadline,
    /// It was cancelled.
    Cancelled,
    /// Its session ended.
    SessionEnded,
}

impl End {
    /// Done as asked.
    pub const SUCCESS: End = End::Completed(Status::Success);

    /// The word for it: the name of its status, or why there was none.
    pub const fn name(self) -> &'static str {
        match self {
            End::Completed(status) => status.name(),
            End::Refused => "REFUSED",
            End::Deadline => "DEADLINE",
            End::Cancelled => "CANCELLED",
            End::SessionEnded => "SESSION_ENDED",
        }
    }

    /// The end of this name.
    pub(crate) fn named(name: &str) -> Option<End> {
        let others = [End::Refused, End::Deadline, End::Cancelled, End::SessionEnded];
        let all = Status::ALL.into_iter().map(End::Completed).chain(others);
        all.into_iter().find(|end| end.name() == name)
    }
}

impl RecordedRun {
    /// The operations, in order.
    pub fn submits(&self) -> impl Iterator<Item = &Submit> {
        self.events.iter().filter_map(|event| match event {
            Event::Submit(submit) => Some(submit),
            _ => None,
        })
    }

    /// For each operation: how many had ended when it was submitted.
    pub(crate) fn ended_before(&self) -> Vec<u64> {
        let mut ended = 0;
        let mut before = Vec::new();
        for event in &self.events {
            match event {
                Event::Submit(_) => before.push(ended),
                Event::Finish { .. } => ended += 1,
                _ => {}
            }
        }
        before
    }

    /// Operations under way at a time, at most.
    pub fn concurrency(&self) -> u32 {
        let under_way = self.ended_before().into_iter().zip(1u64..).map(|(ended, started)| started - ended);
        u32::try_from(under_way.max().unwrap_or(1)).unwrap_or(u32::MAX)
    }

    /// How long each operation took that ended well, from its submission on: what a profile is fitted to.
    pub fn services(&self) -> Vec<(OpKind, u32, u64)> {
        let mut submits = Vec::new();
        let mut services = Vec::new();
        for event in &self.events {
            match event {
                Event::Submit(submit) => submits.push(*submit),
                Event::Finish { serial, at, end: End::SUCCESS, .. } => {
                    let Some(submit) = submits.get(*serial as usize) else { continue };
                    services.push((submit.kind, submit.len, at.since_ns(submit.at)));
                }
                _ => {}
            }
        }
        services
    }
}
