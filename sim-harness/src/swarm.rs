//! Swarm runs: what a seed draws is run, disturbed, healed and held to everything that must be true whatever happens.
//!
//! * [`plan`]: all that a run consists of; [`draw()`]: a plan of a seed.
//! * [`run()`]: a plan and its choices on the simulated network, first disturbed, then healed.
//! * [`oracle`]: what must be true; [`verdict`]: what was found.

mod draw;
pub mod oracle;
pub mod plan;
mod run;
pub mod verdict;

pub use draw::draw;
pub use plan::Plan;
pub use run::{Watch, run, run_on};
pub use verdict::{Ended, Guilt, Verdict};
