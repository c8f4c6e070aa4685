//! Between two processes, as perftest measures: each side is one [`play`] over one device, and a stream between the two on
//! which they exchange addresses and keys, and tell each other when it is over. Both poll, and neither ever sleeps.
//!
//! All operations of a cell use the same bytes of memory but for an offset of [`STRIDE_BYTES`] each, as perftest has one
//! buffer: otherwise it would be the caches that are compared.

mod bare;
mod cell;
mod client;
mod engine;
mod meeting;
mod memory;
mod play;
mod server;
mod setup;
mod station;

pub use bare::Bare;
pub use cell::{Cell, Measure};
pub use client::Figures;
pub use engine::Engine;
pub use memory::STRIDE_BYTES;
pub use play::{Side, play};
pub use station::{Ended, Station};

#[cfg(test)]
mod tests;
