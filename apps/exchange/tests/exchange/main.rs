//! Volumes read by other engines over the simulated NIC, whatever happens on the way.
#![allow(clippy::unwrap_used, reason = "tests")]

mod doors;
mod hostile;
mod lies;
mod net;
mod peers;
mod rig;
mod swarm;
mod truth;
mod ways;
