//! The engine over simulated NICs: ports, contexts, transfers, sessions and futures, honest devices and lying ones.
#![allow(clippy::unwrap_used)]

mod anomalies;
mod bench;
mod buggify;
mod cache;
mod chaos;
mod context;
mod credits;
mod deadlines;
mod extents;
mod failures;
mod futures;
mod lab;
mod leaks;
mod lying;
mod memory;
mod sessions;
mod shared;
mod submit;
mod transfers;
