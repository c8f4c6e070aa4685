//! An engine whose bytes are made up, for measuring and for tests: the real loop over a simulated NIC that has nothing to do.

mod engine;
mod pattern;

pub use engine::{Engine, EngineConfig};
pub use pattern::{Pattern, WHOLE_LEN, byte, crc};
