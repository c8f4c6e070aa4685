//! Groups: what cases are about.

use std::fmt;

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Bytes: every verb, size and alignment, and nothing beside the target.
    Data,
    /// What comes before what.
    Order,
    /// What is refused by a peer or fails on the way, and what is left standing.
    Errors,
    /// The states of a queue pair.
    States,
    /// Wake-ups, and what a device says unasked.
    Events,
    /// What is refused before anything is on the wire.
    Limits,
    /// Registrations and keys.
    Memory,
    /// Receive queues that endpoints share.
    Shared,
    /// Connecting and closing.
    Teardown,
    /// Giving up, through the engine: memory never comes back early.
    Cancel,
}

impl Group {
    /// Every group, in the order in which they run.
    pub const ALL: [Group; 10] = [
        Group::Data,
        Group::Order,
        Group::Errors,
        Group::States,
        Group::Events,
        Group::Limits,
        Group::Memory,
        Group::Shared,
        Group::Teardown,
        Group::Cancel,
    ];

    /// As tables and filters spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Data => "data",
            Group::Order => "order",
            Group::Errors => "errors",
            Group::States => "states",
            Group::Events => "events",
            Group::Limits => "limits",
            Group::Memory => "memory",
            Group::Shared => "shared",
            Group::Teardown => "teardown",
            Group::Cancel => "cancel",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
