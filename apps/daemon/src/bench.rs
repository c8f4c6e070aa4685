//! An engine whose bytes are made up, for measuring and for tests: the real loop over a simulated NIC that has nothing to do.

mod engine;
mod measure;
mod pattern;

pub use engine::{Engine, EngineConfig};
pub use measure::{Figures, Way, bare_ring, echo, ping, reads, seaweed_ping, seaweed_reads};
pub use pattern::{Pattern, WHOLE_LEN, byte, crc};
