//! Swarm runs as a user meets them: what is drawn, what a run does, and that lies are found.

mod drawing;
mod lies;
#[allow(dead_code, reason = "the replay's tests tell more lies")]
#[path = "../replay/lying.rs"]
mod lying;
mod running;
