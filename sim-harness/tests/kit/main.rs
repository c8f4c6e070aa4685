//! The kit on the simulated NIC: every promise kept, and every case able to fail.

mod lying;
mod support;
mod twins;
mod honest;
