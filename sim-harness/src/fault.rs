//! Faults: what is done to a run, and when. Written by hand as TOML (see [`schedule`]), or drawn by a swarm; a line of text
//! each ([`parse_line`], `Display`) where programs write them.

mod inject;
mod injector;
pub mod schedule;
mod text;
mod words;

pub use inject::inject;
pub use injector::{Begins, Injector, Part, Step};
pub use text::parse_line;

use crate::lab::Cause;

/// A cause and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it comes.
    pub when: When,
    /// What happens.
    pub cause: Cause,
    /// For how long, in ns, for causes that can be undone: a link is mended, a port comes up, a host goes on or is
    /// restarted. `None`: until the run heals.
    pub lasts_ns: Option<u64>,
}

/// When a fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this time since the start of the run, in ns.
    At(u64),
    /// When this operation begins.
    Op {
        /// Of this connection only; `None` counts all operations.
        connection: Option<u16>,
        /// Its number, from 0, in the order of the plan.
        op: u32,
    },
    /// By chance, each time an operation begins: once in `one_in`.
    EachOp {
        /// How rare.
        one_in: u32,
    },
}
