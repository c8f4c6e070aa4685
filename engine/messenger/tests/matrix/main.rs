//! The no-hang matrix: every step of the protocol, and everything that may befall a side at it.
// The simulated NIC is the same in every build: once is enough, and `cargo ci native` builds with UCX.
#![cfg(not(feature = "ucx"))]
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "with --nocapture, its tables")]

mod cell;
#[allow(dead_code)] // it is shared with the tests of races and of hostile peers
mod net;
mod scenario;
mod table;
