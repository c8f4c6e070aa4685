//! Engines as their users run them: `wavetank engine` in processes of its own, and local programs that read through it.
//!
//! `WAVETANK_SOAK_SECONDS` says how long the soak takes, `WAVETANK_SOAK_SEED` which one it is, and `WAVETANK_SOAK_NEEDLES`
//! how many needles two engines read.
#![allow(clippy::unwrap_used)]
#![cfg_attr(not(feature = "ucx"), allow(dead_code, reason = "two engines need UCX"))]

mod comparing;
mod daemon;
mod dice;
mod latency;
mod library;
mod life;
mod mock;
#[cfg(feature = "ucx")]
mod pair;
#[cfg(feature = "ucx")]
mod sidecar;
#[cfg(feature = "ucx")]
mod soak;
#[cfg(feature = "ucx")]
mod stand_in;
mod traces;
#[cfg(feature = "ucx")]
mod two;
mod voices;
mod waiting;
#[cfg(feature = "ucx")]
mod writing;
