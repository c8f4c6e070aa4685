//! Swarm runs: what a seed draws is run, disturbed, healed and held to everything that must be true whatever happens.
//!
//! * [`plan`]: all that a run consists of; [`draw()`]: a plan of a seed.
//! * [`run()`]: a plan and its choices on the simulated network, first disturbed, then healed.
//! * [`coverage`]: which parts of the state space were visited, and which never are.
//! * [`oracle`]: what must be true; [`verdict`]: what was found.
//! * [`choices`]: what chance decides, by seed or by the little of it that is loud.
//! * [`mod@file`]: runs as text, to be kept and run again; [`shrink`]: made as small as they get; [`tally`]: what many came to.

pub mod choices;
pub mod coverage;
pub mod defaults;
mod draw;
pub mod file;
pub mod oracle;
pub mod plan;
mod run;
pub mod shrink;
pub mod tally;
pub mod verdict;

pub use draw::draw;
pub use plan::Plan;
pub use run::{run, run_on};
pub use verdict::{Ended, Guilt, Verdict};
