//! Swarm runs: what a seed draws is run, disturbed, healed and held to everything that must be true whatever happens.

pub mod choices;
pub mod defaults;
pub mod file;
pub mod plan;
pub mod shrink;
pub mod tally;
pub mod verdict;
