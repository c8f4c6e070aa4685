//! Calls on chunks over the simulated NIC: what a client sees, whatever happens on the way.

mod net;
mod once;
mod rig;
mod swarm;
mod ways;
mod wrong;
