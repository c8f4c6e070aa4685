//! Two engines in two processes over UCX: one exports, others read it.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::library::Shelf;

/// Both transports that every machine has.
pub(crate) const TRANSPORTS: [&str; 2] = ["tcp", "shm"];

/// Where engines of a test have their files, volumes and keys.
pub(crate) struct Site {
    folder: TempDir,
    transport: &'static str,
}

impl Site {
    pub(crate) fn new(transport: &'static str, shelves: &[Shelf]) -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap(), transport };
        std::fs::create_dir(site.volumes()).unwrap();
        shelves.iter().for_each(|shelf| shelf.write_to(&site.volumes()));
        site.key("key", "a key that both sides have, and nobody else");
        site
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.path().join("volumes")
    }

    /// A file with a key.
    pub(crate) fn key(&self, name: &str, content: &str) -> String {
        use std::io::Write as _;
        let path = self.path().join(name);
        let file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&path);
        file.unwrap().write_all(content.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// An engine that exports. Port 0: any.
    pub(crate) fn exporter(&self, port: u16) -> Daemon {
        let (volumes, key, port) = (self.volumes(), self.path().join("key"), port.to_string());
        let (volumes, key) = (volumes.to_str().unwrap(), key.to_str().unwrap());
        let args = ["--export", volumes, "--key-file", key, "--listen", "127.0.0.1", "--port", &port];
        let args = [&self.device()[..], &args].concat();
        Daemon::start(self.path(), "exporter", &args)
    }

    /// An engine that reads from an address.
    pub(crate) fn reader(&self, name: &str, address: &str, more: &[&str]) -> Daemon {
        let key = self.path().join("key");
        let args = ["--peer", address, "--key-file", key.to_str().unwrap()];
        self.keyed(name, &[&args, more].concat())
    }

    /// An engine with whatever key it is told.
    pub(crate) fn keyed(&self, name: &str, more: &[&str]) -> Daemon {
        Daemon::start(self.path(), name, &[&self.device()[..], more].concat())
    }

    fn device(&self) -> [&'static str; 4] {
        ["--backend", "ucx", "--device", self.transport]
    }
}
