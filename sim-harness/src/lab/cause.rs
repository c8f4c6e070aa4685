//! Causes: what may be done to links, devices, hosts and memory. Never an outcome: that follows.

use thiserror::Error;

/// Something that happens to a run. Nodes are those of [`Lab::open`](super::Lab::open).
///
/// What a lab cannot do it refuses with a [`Skip`] that says why: `tc(8)` cannot lose one chosen packet, and nobody removes a
/// simulated host with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// One direction between two nodes is disturbed. Different faults of one direction add up, until it is mended.
    Link {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
        /// How.
        fault: LinkFault,
    },
    /// Whatever was done to this direction is over.
    Mend {
        /// The sender.
        from: u16,
        /// The receiver.
        to: u16,
    },
    /// Something happens to the device of a node.
    Device {
        /// Whose.
        node: u16,
        /// What.
        fault: DeviceFault,
    },
    /// Something happens to the host: the programs of a node, not its device.
    Host {
        /// Whose.
        node: u16,
        /// What.
        fault: HostFault,
    },
    /// The owner of a region does something to it while peers use it.
    Memory {
        /// The region, by its place in the plan of the run.
        region: u16,
        /// What.
        fault: MemoryFault,
    },
}

/// What may happen to a link. Each lasts until the direction is mended, but those that name a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFault {
    /// Everything is lost.
    Cut,
    /// The `nth` packet from now on is lost; 0 is the next.
    LoseNth {
        /// Packets that pass before it.
        nth: u64,
    },
    /// One packet in `n` is lost, by chance, and with it the `burst - 1` behind it.
    LoseOneIn {
        /// How rare.
        n: u32,
        /// How many at a time; at least 1.
        burst: u32,
    },
    /// One packet in `n` arrives twice.
    DuplicateOneIn {
        /// How rare.
        n: u32,
    },
    /// One packet in `n` takes `by_ns` longer and is overtaken.
    ReorderOneIn {
        /// How rare.
        n: u32,
        /// How much later it arrives.
        by_ns: u64,
    },
    /// Every packet takes longer.
    Delay {
        /// By this much.
        ns: u64,
    },
    /// A bit flips in one packet in `n`.
    CorruptOneIn {
        /// How rare.
        n: u32,
    },
    /// One packet in `n` loses its tail.
    TruncateOneIn {
        /// How rare.
        n: u32,
    },
    /// The link has less bandwidth.
    Throttle {
        /// What is left of it, 1 to 99 in a hundred.
        percent: u8,
    },
}

/// What may happen to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceFault {
    /// The port goes down: nothing leaves, nothing arrives, until it is up.
    PortDown,
    /// The port comes up.
    PortUp,
    /// The device is removed. It is gone until the host opens another one.
    Remove,
    /// The port's addresses change: who connected by the old one is no longer reached.
    ChangeGid,
    /// The next notification is not given.
    LoseNotification,
    /// Of the registrations from now on the `nth` fails for want of memory; 0 is the next.
    FailRegistration {
        /// Registrations that succeed before it.
        nth: u32,
    },
    /// From now on the pieces of a message are placed in any order, and may be seen half done.
    PlaceOutOfOrder,
    /// From now on completions of different queue pairs in one queue change places.
    ShuffleCompletions,
    /// The peer pauses the port (PFC): nothing leaves, whoever it is for. Modelled, not validated.
    Pause {
        /// For this long.
        ns: u64,
    },
    /// The switch before the port has a small buffer and drops what does not fit (incast). Modelled, not validated.
    ShallowBuffer {
        /// Its size.
        bytes: u32,
    },
    /// The switch marks packets that queue, and senders slow down (ECN, DCQCN). Modelled, not validated.
    MarkCongestion,
}

/// What may happen to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostFault {
    /// It stops (`SIGSTOP`, a starved poll loop). Its device goes on serving peers.
    Pause,
    /// It goes on.
    Resume,
    /// It dies without a word, and its device with it.
    Crash,
    /// It comes back.
    Restart {
        /// Whether queue pair numbers and keys of the earlier life are given out again.
        same: bool,
    },
    /// The client of its engine dies: every session of it ends.
    ClientDeath,
}

/// What the owner of memory may do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryFault {
    /// Its registration ends, whatever peers are doing.
    Deregister,
    /// Its registration ends and it is registered again, under another key.
    RollKey,
    /// The window through which peers reach it is revoked; the registration stays.
    RevokeWindow,
    /// Sources of works under way are written to.
    ChangeSource,
}

/// A lab cannot do what a case needs: why, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Skip(pub String);
