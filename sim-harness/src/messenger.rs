//! Swarm runs over messengers: what a seed draws is sent, disturbed, healed and held to what the policies promise.
//!
//! * [`plan`]: all that a run consists of; [`draw()`]: the plan of a seed.
//! * `net`, `lines`: nodes on one simulated network, and the lines between them.
//! * [`run()`]: first anything may go wrong, then everything is healed and has to work, and to end.
//! * `oracle`: what must be true, said without knowing how a messenger does it.
//! * [`shrink()`]: a plan that fails, made smaller.

mod draw;
mod lines;
mod net;
mod oracle;
pub mod plan;
mod run;
mod shrink;

pub use draw::draw;
pub use plan::Plan;
pub use run::{Told, run, run_told};
pub use shrink::shrink;

/// What a seed means. Another number, other runs.
pub const SWARM_VERSION: &str = "messenger-1";
