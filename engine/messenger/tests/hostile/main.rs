//! Peers that break the protocol: each is told why, loses its connection and nothing else, and harms nobody.
#![allow(clippy::unwrap_used)]

mod deeds;
mod lines;
#[path = "../matrix/net.rs"]
#[allow(dead_code)]
mod net;
mod villain;
