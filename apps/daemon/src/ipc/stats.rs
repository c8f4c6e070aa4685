//! What happened, in numbers that only grow, and what there is now.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use wavetank_ipc::Code;

/// A counter.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.set(self.0.get().saturating_add(more));
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.set(self.0.get().saturating_sub(less));
    }
}

/// Counters of all clients. `*_now` go down too.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections that were let in.
    pub connections: Count,
    /// Those that are here.
    pub connections_now: Count,
    /// Connections refused for who they are.
    pub refused_by_credentials: Count,
    /// Connections refused for how many there are.
    pub refused_by_number: Count,
    /// Connections ended for silence, a half frame, or for taking nothing.
    pub ended_by_deadline: Count,
    /// Connections ended for what they said.
    pub ended_by_protocol: Count,
    /// Pings over the socket.
    pub pings: Count,
    /// Capabilities asked for.
    pub capabilities: Count,
    /// Reads of the upstream protocol.
    pub reads_seaweed: Count,
    /// Reads of ours over the socket.
    pub reads_native: Count,
    /// Reads through rings.
    pub reads_ring: Count,
    /// Sessions completed by their clients.
    pub completes: Count,
    /// Of those, with a wrong count, checksum, or word of failure.
    pub completes_failed: Count,
    /// Pings through rings.
    pub pings_ring: Count,
    /// Cancelled reads.
    pub cancels: Count,
    /// Loans given back.
    pub releases: Count,
    /// Loans that are out, sessions included.
    pub leases_now: Count,
    /// Bytes that were read for clients.
    pub read_bytes: Count,
    /// Bytes sent through sockets.
    pub sent_bytes: Count,
    /// Bytes heard from sockets.
    pub heard_bytes: Count,
    /// Rings given.
    pub rings: Count,
    /// Rings there are.
    pub rings_now: Count,
    /// Times that a client was woken for its ring.
    pub ring_wakes: Count,
    /// Sessions begun.
    pub sessions: Count,
    /// Sessions that ended by their time.
    pub sessions_expired: Count,
    /// Sessions there are.
    pub sessions_now: Count,
    errors: RefCell<BTreeMap<&'static str, u64>>,
}

impl Stats {
    /// Errors that clients were told, by name.
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        self.errors.borrow().iter().map(|(name, count)| (*name, *count)).collect()
    }

    pub(crate) fn error(&self, code: Code) {
        self.error_named(code.name());
    }

    pub(crate) fn error_named(&self, name: &'static str) {
        *self.errors.borrow_mut().entry(name).or_default() += 1;
    }
}
