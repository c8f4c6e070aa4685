//! Steps: what the simulation tells of itself.

use wavetank_contract::{Instant, QpState};

use crate::marks::Mark;
use crate::packet::Opcode;

/// What one step of the simulation did: the raw material of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// At which node.
    pub node: u16,
    /// What happened.
    pub kind: StepKind,
    /// The queue pair number it concerns.
    pub qpn: u32,
    /// In which state that queue pair was before. `None`: there is none of this number, or the packet did not get there.
    pub state: Option<QpState>,
    /// The packet's sequence number, 0 where there is none.
    pub psn: u32,
    /// Payload bytes.
    pub len: u32,
    /// Digest of the payload.
    pub digest: u64,
    /// The acknowledgement's syndrome byte (IBA table 44), 0 where there is none.
    pub syndrome: u8,
}

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A packet reached an endpoint.
    Delivered(Opcode),
    /// A packet reached a node that has no such endpoint, or not from there.
    Unclaimed(Opcode),
    /// A link lost a packet.
    Lost(Opcode),
    /// A packet was dropped for another reason, which the mark names.
    Dropped(Mark, Opcode),
    /// An ACK timeout passed.
    TimedOut,
    /// A wait that a receiver asked for is over.
    ReceiverWaited,
    /// The last pieces of a message were placed, which had been kept back.
    Placed,
}

impl StepKind {
    /// A packet of this kind did not get there, and this is why.
    pub(crate) fn dropped(why: Mark, opcode: Opcode) -> StepKind {
        match why {
            Mark::PacketLost => StepKind::Lost(opcode),
            Mark::SilentDrop => StepKind::Unclaimed(opcode),
            _ => StepKind::Dropped(why, opcode),
        }
    }
}
