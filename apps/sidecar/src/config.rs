//! Settings that were checked: what the sidecar is made of.

mod check;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wavetank_settings::LogFormat;

use crate::breaker::BreakerRules;
use crate::lookup::LookupConfig;
use crate::reads::ReadLimits;
use crate::settings::ReadFormat;
use crate::temp_files::TempConfig;
use crate::token::Token;

/// What the sidecar is made of.
#[derive(Clone, Debug)]
pub struct SidecarConfig {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The engine's socket; nothing is HTTP alone.
    pub engine: Option<EngineSocket>,
    /// Where volumes are.
    pub lookup: LookupConfig,
    /// Whether what the engine does not serve is read by HTTP.
    pub fallback: bool,
    /// Bounds of a read.
    pub reads: ReadLimits,
    /// When a path is left alone for a while.
    pub breakers: BreakerRules,
    /// How `/read` answers who does not say.
    pub read_format: ReadFormat,
    /// Answers in files.
    pub temp: Option<TempConfig>,
    /// What clients have to show.
    pub token: Option<Token>,
    /// Certificate chain and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Bounds of serving.
    pub limits: ServeLimits,
    /// What SIGTERM leaves to what is under way.
    pub drain: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Log every read.
    pub debug: bool,
}

/// The engine's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSocket {
    /// Where it is.
    pub path: PathBuf,
    /// Connections to it.
    pub connections: usize,
}

/// Bounds of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Reads at once.
    pub requests_max: usize,
    /// How long one more waits for its turn.
    pub queue: Duration,
    /// How long a request's head may take, and a connection idle.
    pub head: Duration,
    /// How long a client may take to accept 64 KiB.
    pub body: Duration,
}
