//! Clients and an engine over real sockets, in one process.
#![cfg(feature = "mock")]
#![allow(clippy::unwrap_used)]

mod native;

use std::path::PathBuf;

use wavetank_client::{Wanted, blocking};
use wavetank_daemon::bench::{Engine, EngineConfig};
use wavetank_daemon::ipc::ClientLimits;

/// An engine in a folder of its own.
struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        Place { _folder: folder, path }
    }

    fn engine(&self, limits: ClientLimits) -> Engine {
        let mut config = EngineConfig::at(&self.path);
        config.server.limits = limits;
        Engine::start(config).unwrap()
    }
}

fn wanted(volume: u32, needle: u64, offset: u64, len: u64) -> Wanted {
    Wanted { volume, needle, cookie: needle as u32, offset, len, ..Wanted::default() }
}

fn options(ring: Option<u32>) -> wavetank_client::Options {
    wavetank_client::Options { ring, ..wavetank_client::Options::default() }
}

fn client(engine: &Engine, ring: Option<u32>) -> blocking::Client {
    blocking::Client::connect(engine.path(), &options(ring)).unwrap()
}
