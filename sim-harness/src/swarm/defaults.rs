//! What a plan is where nothing else is said: files leave it out, and shrinking goes there.

use wavetank_contract::Mtu;

use super::plan::{ConnectionPlan, EnginePlan, RegionPlan};

/// The latency profile.
pub const PROFILE: &str = "ideal";

/// Nodes.
pub const NODES: u16 = 2;

/// A region.
pub const REGION: RegionPlan = RegionPlan { node: 1, slots: 1, slot_bytes: 4096, window: false };

/// A connection.
pub const CONNECTION: ConnectionPlan = ConnectionPlan {
    nodes: [0, 1],
    mtu: Mtu::B1024,
    timeout: 14,
    retry_cnt: 7,
    rnr_retry: 7,
    rnr_timer: 12,
    send_depth: 64,
    recv_depth: 64,
    rd_atomic: 16,
    in_flight: 8,
};

/// Settings of the engine.
pub const ENGINE: EnginePlan = EnginePlan { chunk_bytes: 4096, window: 8, signal_every: 1 };
