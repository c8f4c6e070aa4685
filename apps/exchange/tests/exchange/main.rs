//! Volumes read by other engines over the simulated NIC, whatever happens on the way.
#![allow(clippy::unwrap_used, reason = "tests")]

mod doors;
mod hostile;
mod net;
mod rig;
mod ways;
