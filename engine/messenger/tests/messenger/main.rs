//! Messengers on a simulated network, in one process: what users see.
#![allow(clippy::unwrap_used)]

mod basics;
mod many;
mod pair;
mod patience;
mod pulls;
