//! Clients and an engine over real sockets.
#![allow(clippy::unwrap_used)]

mod abuse;
mod door;
mod life;
mod native;

use std::path::PathBuf;

use wavetank_client::{Wanted, blocking};
use wavetank_daemon::bench::{Engine, EngineConfig};
use wavetank_daemon::ipc::ClientLimits;

/// A folder for an engine's socket.
struct Place {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        Place { folder, path }
    }

    fn engine(&self, limits: ClientLimits) -> Engine {
        let mut config = EngineConfig::at(&self.path);
        config.server.limits = limits;
        Engine::start(config).unwrap()
    }

    /// Names of what is in the folder.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
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

/// Looks until something holds that another thread brings about.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !holds() {
        assert!(started.elapsed().as_secs() < 10, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}
