//! Swarm runs as a user meets them: what is drawn, what a run does, and that lies are found.

mod drawing;
mod lies;
mod running;

/// The liar of the replay's tests.
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the replay's tests tell more lies, and fail when one cannot be told"
)]
#[path = "../replay"]
mod replay {
    pub(crate) mod lying;
}
