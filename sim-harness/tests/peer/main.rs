//! A memory server and its clients, over the simulated NIC in one process: the bootstrap goes over TCP on loopback, and the
//! network is the client's, as time is.
#![allow(clippy::unwrap_used)]

mod endings;
mod lies;
#[path = "../replay/lying.rs"]
#[allow(dead_code)] // not every lie is told here
mod lying;
mod refusals;
mod replays;
mod support;
