//! Taps: whoever wants to see everything that happens on a simulated network, packet by packet.

use std::fmt;

use wavetank_contract::{AsyncEvent, Completion, EpId, Instant, Work};

use crate::marks::Mark;
use crate::packet::Opcode;

/// A packet, as it leaves and as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct PacketView<'a> {
    /// The node it comes from.
    pub from_node: u16,
    /// The node it goes to.
    pub to_node: u16,
    /// The queue pair it comes from. Not in the header; for people.
    pub from_qpn: u32,
    /// The queue pair it goes to.
    pub to_qpn: u32,
    /// What it is.
    pub opcode: Opcode,
    /// Whether the peer is asked to acknowledge.
    pub ack_requested: bool,
    /// Its sequence number.
    pub psn: u32,
    /// RETH and AtomicETH: the remote address.
    pub remote_addr: u64,
    /// RETH and AtomicETH: the remote key.
    pub rkey: u32,
    /// RETH: the length of the whole message.
    pub message_len: u32,
    /// Its immediate, where the opcode has one.
    pub imm: u32,
    /// The syndrome byte of an acknowledgement (AETH, IBA table 44).
    pub syndrome: u8,
    /// The message sequence number of an acknowledgement (AETH), 24 bits.
    pub msn: u32,
    /// AtomicETH: what to compare with; of an atomic acknowledgement, the former value.
    pub compare: u64,
    /// AtomicETH: what to store or add.
    pub operand: u64,
    /// The bytes it carries.
    pub payload: &'a [u8],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An endpoint took it.
    Taken,
    /// It was dropped, and this is why.
    Dropped(Mark),
}

/// Something that happened.
#[derive(Debug)]
pub enum Happening<'a> {
    /// A work was posted.
    Posted {
        /// At which node.
        node: u16,
        /// To which endpoint.
        ep: EpId,
        /// What.
        work: &'a Work<'a>,
    },
    /// A packet left its port.
    Sent(PacketView<'a>),
    /// A packet arrived, or would have.
    Arrived(PacketView<'a>, Fate),
    /// An ACK timeout passed.
    TimedOut {
        /// At which node.
        node: u16,
        /// Of which endpoint.
        ep: EpId,
    },
    /// A wait that a receiver asked for is over.
    ReceiverWaited {
        /// At which node.
        node: u16,
        /// Of which endpoint.
        ep: EpId,
    },
    /// A completion was put into its queue.
    Completed {
        /// At which node.
        node: u16,
        /// The completion.
        completion: &'a Completion,
    },
    /// An asynchronous event was reported.
    Event {
        /// At which node.
        node: u16,
        /// The event.
        event: AsyncEvent,
    },
}

/// Sees everything, changes nothing.
pub trait Tap {
    /// Something happened.
    fn see(&mut self, at: Instant, happening: &Happening<'_>);
}

impl fmt::Debug for dyn Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}
