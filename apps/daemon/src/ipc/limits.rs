//! What clients may have, each and together.

/// Limits. Times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections at a time.
    pub connections_max: usize,
    /// Reads that one connection may have under way.
    pub requests_max: u32,
    /// Loans that one connection may have.
    pub leases_max: u32,
    /// Bytes of the arena that one connection's loans may have, and all sessions together: one client that keeps what it reads is not
    /// to leave nothing to the others. One read may always be lent.
    pub loan_bytes_max: u64,
    /// Submissions that fit into a ring, at most.
    pub ring_entries_max: u32,
    /// Submissions of one ring that are taken at a time, before others have their turn.
    pub ring_burst: u32,
    /// Bytes that wait to be sent to a client before no more of its requests are taken.
    pub outbox_bytes_max: usize,
    /// How long a client may take no bytes that wait for it.
    pub stall_ns: u64,
    /// How long a frame may be half here, a hello included.
    pub half_frame_ns: u64,
    /// How long a read may take.
    pub read_ns_max: u64,
    /// The same, for who does not say.
    pub read_ns: u64,
    /// Sessions of the upstream protocol at a time, of all clients.
    pub sessions_max: usize,
    /// How long a session may live.
    pub session_ns_max: u64,
    /// The same, for who does not say.
    pub session_ns: u64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            connections_max: 256,
            requests_max: 256,
            leases_max: 1024,
            loan_bytes_max: 256 << 20,
            ring_entries_max: 1024,
            ring_burst: 64,
            outbox_bytes_max: 256 << 10,
            stall_ns: 10 * SECOND_NS,
            half_frame_ns: 5 * SECOND_NS,
            read_ns_max: 60 * SECOND_NS,
            read_ns: 5 * SECOND_NS,
            sessions_max: 1000,
            session_ns_max: 300 * SECOND_NS,
            session_ns: 30 * SECOND_NS,
        }
    }
}
