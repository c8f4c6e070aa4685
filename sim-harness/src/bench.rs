//! Benchmarks: what the simulator, the engine and its parts cost. Not tests: figures vary with the machine, so each
//! one stands beside its yardstick in the same run.
//!
//! The clock comes from the caller, because code in this crate has none: give it the time a core spends on this thread.

pub mod across;
mod chunks;
mod device;
mod dispatch;
mod memory;
mod messenger;
mod pair;
mod post_poll;
mod sessions;
mod sim;
mod socket_line;
mod swarm;
mod talk;

pub use chunks::{ChunkCall, ChunkFigures, Chunks, SimChunks, Travel, chunks, sim_chunks};
pub use device::DevicePair;
pub use dispatch::{Dispatch, dispatch};
pub use memory::{MemoryFigures, memory};
pub use messenger::{SimMessages, sim_messages, sim_requests};
pub use pair::PairError;
pub use post_poll::{PostPoll, post_poll, reads};
pub use sessions::{SessionFigures, sessions};
pub use sim::{Sim, sim};
pub use swarm::{Swarm, swarm};
pub use talk::{Talk, TalkFigures, talk};

/// Nanoseconds that a core has spent on this thread.
pub type Clock<'a> = &'a dyn Fn() -> u64;

/// The median of what some rounds took.
fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or(0.0)
}
