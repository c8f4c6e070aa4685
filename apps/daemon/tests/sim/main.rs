//! The daemon and its clients in one simulation: the same code, seeded, with faults.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;
mod house;
mod lie;
#[path = "../../../exchange/tests/exchange/net.rs"]
#[allow(dead_code, reason = "the exchange's tests use all of it")]
mod net;
#[path = "../../../exchange/tests/exchange/rig.rs"]
#[allow(dead_code, reason = "the exchange's tests use all of it")]
mod rig;
mod seen;
mod swarm;
#[path = "../../../exchange/tests/exchange/truth.rs"]
mod truth;
mod volumes;
mod wire;
mod world;
