//! What the sidecar talks to beside engines: the stand-ins of its own tests, of which each test takes what it needs.

#![allow(dead_code, reason = "the sidecar's tests use the rest")]

#[path = "../../../sidecar/tests/sidecar/stand_in/master.rs"]
pub(crate) mod master;
#[path = "../../../sidecar/tests/sidecar/stand_in/mount.rs"]
pub(crate) mod mount;
#[path = "../../../sidecar/tests/sidecar/stand_in/server.rs"]
mod server;
#[path = "../../../sidecar/tests/sidecar/stand_in/shelf.rs"]
pub(crate) mod shelf;
#[path = "../../../sidecar/tests/sidecar/stand_in/volume_server.rs"]
pub(crate) mod volume_server;

pub(crate) use server::{Answers, Head, Reply, Server};
