//! The kit on the simulated NIC: every promise is kept, and every case can fail.

mod differences;
mod honest;
mod lying;
mod quirks;
mod support;
mod twins;
