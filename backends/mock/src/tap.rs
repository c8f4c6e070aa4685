//! Taps: whoever wants to see everything that happens on a simulated network, packet by packet.

use std::cell::{Cell, RefCell};
use std::fmt;

use wavetank_contract::{AsyncEvent, Completion, EpId, Instant, Work};

use crate::marks::Mark;
use crate::packet::{Opcode, Packet};

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
    /// A work was posted to an endpoint. Receives of shared queues belong to none, and are told when they complete.
    Posted {
        /// At which node.
        node: u16,
        /// To which endpoint.
        ep: EpId,
        /// What.
        work: &'a Work<'a>,
    },
    /// A packet left its port. Told when the NIC hands it to the port, which is up to half a microsecond before: of all
    /// that happens only this has a time of its own, and that may be later than the time of what is told next.
    Sent(PacketView<'a>),
    /// A packet arrived, or would have; what follows from it is told after it. The second of a duplicate arrives and was not
    /// sent.
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

/// Where the tap is, if there is one. Without one it costs whoever asks [`is_on`](TapSlot::is_on) a branch.
#[derive(Debug, Default)]
pub(crate) struct TapSlot {
    on: Cell<bool>,
    tap: RefCell<Option<Box<dyn Tap>>>,
}

impl TapSlot {
    pub(crate) fn set(&self, tap: Option<Box<dyn Tap>>) {
        self.on.set(tap.is_some());
        *self.tap.borrow_mut() = tap;
    }

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    #[cold]
    pub(crate) fn tell(&self, at: Instant, happening: &Happening<'_>) {
        if let Some(tap) = &mut *self.tap.borrow_mut() {
            tap.see(at, happening);
        }
    }
}

impl Packet {
    /// What is in it. Fields that its opcode does not have are 0.
    pub(crate) fn view(&self) -> PacketView<'_> {
        let opcode = self.opcode;
        let remote = |value| if opcode.has_remote() { value } else { 0 };
        let aeth = |value| if opcode.has_aeth() { value } else { 0 };
        PacketView {
            from_node: self.from_node,
            to_node: self.to_node,
            from_qpn: self.from_qpn,
            to_qpn: self.to_qpn,
            opcode,
            ack_requested: self.ack_requested,
            psn: self.psn,
            remote_addr: if opcode.has_remote() { self.remote_addr } else { 0 },
            rkey: remote(self.rkey),
            message_len: remote(self.message_len),
            imm: if opcode.has_imm() { self.imm } else { 0 },
            syndrome: if opcode.has_aeth() { self.syndrome.wire() } else { 0 },
            msn: aeth(self.msn),
            compare: if opcode.is_atomic() || opcode == Opcode::AtomicAcknowledge { self.compare } else { 0 },
            operand: if opcode.is_atomic() { self.operand } else { 0 },
            payload: self.payload(),
        }
    }
}
