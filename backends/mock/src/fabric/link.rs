//! Links and ports: where packets wait.

use std::collections::VecDeque;

use wavetank_contract::{Choices, Instant, Site};

use crate::packet::Packet;

/// A node's connection to the network: sends and receives at the profile's bandwidth, both at once.
#[derive(Debug, Default)]
pub(crate) struct Port {
    /// When the last packet given to it has left.
    pub(crate) sends_free: Instant,
    /// When it has taken in the last packet it set time aside for.
    pub(crate) receives_free: Instant,
    /// An event is planned for when it can take more to send.
    pub(crate) waiting: bool,
}

/// What is wrong with one direction between two nodes. All zero: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFaults {
    /// One packet in this many is lost: 0 none, 1 all.
    pub loss_one_in: u64,
    /// How many packets are lost at a time; 0 counts as 1.
    pub loss_burst: u32,
    /// Lose one packet after this many more.
    pub lose_after: Option<u64>,
    /// One packet in this many arrives twice: 0 none.
    pub duplicate_one_in: u64,
    /// One packet in this many is overtaken: 0 none.
    pub reorder_one_in: u64,
    /// How much later those arrive, in ns.
    pub reorder_ns: u64,
    /// How much later every packet arrives, in ns.
    pub delay_ns: u64,
    /// A bit flips in one packet in this many: 0 none.
    pub corrupt_one_in: u64,
    /// One packet in this many loses its tail: 0 none.
    pub truncate_one_in: u64,
    /// What is left of the bandwidth, in a hundred: 0 and 100 are all of it.
    pub bandwidth_percent: u8,
}

/// One direction between two nodes. Keeps packets in order.
#[derive(Debug, Default)]
pub(crate) struct Link {
    packets: VecDeque<InFlight>,
    pub(crate) last_arrival: Instant,
    pub(crate) faults: LinkFaults,
}

/// A packet under way.
#[derive(Debug)]
pub(crate) struct InFlight {
    arrives: Instant,
    pub(crate) lost: bool,
    /// The receiving port has set time aside for it: it is taken in when its event comes again.
    pub(crate) admitted: bool,
    pub(crate) packet: Box<Packet>,
}

impl Link {
    /// Whether the next packet is lost. A whole link draws nothing.
    #[inline]
    pub(crate) fn loses<C: Choices + ?Sized>(&mut self, choices: &mut C) -> bool {
        if let Some(left) = &mut self.faults.lose_after {
            if *left == 0 {
                self.faults.lose_after = None;
                return true;
            }
            *left -= 1;
        }
        match self.faults.loss_one_in {
            0 => false,
            1 => true,
            // Zero is quiet: the packet is lost on the last of the n choices.
            n => choices.choose(Site::LinkLoss, n) == n - 1,
        }
    }

    /// Puts a packet on the link. True when it is the first.
    #[inline]
    pub(crate) fn push(&mut self, arrives: Instant, lost: bool, packet: Box<Packet>) -> bool {
        self.packets.push_back(InFlight { arrives, lost, admitted: false, packet });
        self.packets.len() == 1
    }

    #[inline]
    pub(crate) fn head(&mut self) -> Option<&mut InFlight> {
        self.packets.front_mut()
    }

    /// Takes the first packet off, and says when the next one arrives.
    #[inline]
    pub(crate) fn pop(&mut self) -> (Option<InFlight>, Option<Instant>) {
        (self.packets.pop_front(), self.packets.front().map(|next| next.arrives))
    }
}
