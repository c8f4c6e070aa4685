//! Settings that were checked: what the daemon is made of.

mod check;
mod key;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wavetank_engine::BackendKind;
use wavetank_exchange::SharedKey;
use wavetank_settings::LogFormat;

pub use key::read_key;

use crate::settings::{MetricsAddress, WaySetting};

/// What the daemon is made of.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The backend; the mock only if that was said.
    pub backend: BackendKind,
    /// The device by name; empty for the mock.
    pub device: String,
    /// Where other engines call.
    pub listen: SocketAddr,
    /// The port of engines that are found by their volume server's host.
    pub engine_port: u16,
    /// Directories to export.
    pub export: Vec<PathBuf>,
    /// Where their indices are, if not beside the volumes.
    pub export_index: Option<PathBuf>,
    /// Engines to read from, as `HOST:PORT`.
    pub peers: Vec<String>,
    /// What engines share.
    pub key: Option<SharedKey>,
    /// Where the key came from, for when it is read again.
    pub key_file: Option<PathBuf>,
    /// How needles of other hosts are read.
    pub way: WaySetting,
    /// Reads that were begun and not completed.
    pub sessions_max: u32,
    /// When one expires that does not say so.
    pub session_timeout: Duration,
    /// Memory that is shared with local programs.
    pub buffer_bytes: u64,
    /// Use huge pages for it.
    pub huge_pages: bool,
    /// Memory for segments that other engines READ.
    pub segment_bytes: u64,
    /// The socket for local programs.
    pub socket: SocketConfig,
    /// Where metrics and health are served.
    pub metrics: MetricsAddress,
    /// How long to poll without sleeping after something happened.
    pub spin: Duration,
    /// What SIGTERM leaves to what is under way.
    pub drain: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Log what each read does.
    pub debug: bool,
}

impl EngineConfig {
    /// Names of settings that differ and cannot be changed while the daemon runs.
    pub fn differs(&self, other: &EngineConfig) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut look = |name: &'static str, same: bool| {
            if !same {
                names.push(name);
            }
        };
        look("backend", self.backend == other.backend);
        look("device", self.device == other.device);
        look("listen", self.listen == other.listen);
        look("export", self.export == other.export && self.export_index == other.export_index);
        // Another key is taken. Without any, whoever reaches this engine could read, and it may listen where many do.
        look("key-file", self.key.is_none() || other.key.is_some());
        look("max-sessions", self.sessions_max == other.sessions_max);
        look("session-timeout", self.session_timeout == other.session_timeout);
        look("buffer-size", self.buffer_bytes == other.buffer_bytes && self.huge_pages == other.huge_pages);
        look("segment-cache", self.segment_bytes == other.segment_bytes);
        // Who may use it is looked at with each call.
        let place = |socket: &SocketConfig| (socket.path.clone(), socket.mode, socket.gid);
        look("ipc-socket", place(&self.socket) == place(&other.socket));
        look("metrics", self.metrics == other.metrics);
        look("spin-us", self.spin == other.spin);
        look("log-format", self.log_format == other.log_format);
        names
    }
}

/// The socket for local programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Where it is.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    /// Its group.
    pub gid: Option<u32>,
    /// Users who may use it: this process's, root, and who was named.
    pub uids: Vec<u32>,
}
