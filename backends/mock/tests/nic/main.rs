//! The simulated NIC, held to what a reliable-connected NIC does. Each module is one table of the specification.
#![allow(clippy::unwrap_used)]

mod catalogue;
mod chaos;
mod data;
mod errors;
mod faults;
mod lab;
mod latency;
mod limits;
mod memory;
mod order;
mod queues;
mod retries;
mod rnr;
mod shared;
mod states;
