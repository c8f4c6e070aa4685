//! Lossless peers that call each other at once, in every order in which their calls may be heard.
// The simulated NIC is the same in every build: once is enough, and `cargo ci native` builds with UCX.
#![cfg(not(feature = "ucx"))]
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "with --nocapture, its tables")]

mod calls;
mod floods;
#[path = "../matrix/net.rs"]
#[allow(dead_code)]
mod net;
