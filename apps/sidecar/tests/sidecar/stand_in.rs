//! Stand-ins: what the sidecar talks to, small, over real volume files, with faults on command. None of them is the real thing.
//! Those that speak HTTP stand in for the same in the tests of `apps/wavetank` as well, which have real engines.

pub(crate) mod engine;
pub(crate) mod master;
pub(crate) mod mount;
mod server;
pub(crate) mod shelf;
pub(crate) mod volume_server;

pub(crate) use server::{Answers, Head, Reply, Server};
