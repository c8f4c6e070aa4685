//! What the daemon is told: by flags, by the environment, by a file, in this order of weight.
//!
//! All three have the same names. A flag `--ipc-socket` is `ipc-socket` in the file and `WAVETANK_IPC_SOCKET` in the environment.
//! Flags of upstream's `rdma-engine-server` keep their names, letters and defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use wavetank_settings::{Layer, LogFormat};

/// How needles of other hosts are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WaySetting {
    /// One-sided where the exporting engine has granted that, by request otherwise.
    #[default]
    Auto,
    /// One-sided only: a needle that is not granted is asked for first.
    Pull,
    /// By request only.
    Push,
}

/// Everything that may be said, and nothing that has to be. Fields are as their flags; `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Settings {
    /// The backend: ucx, verbs, or mock, which simulates the NICs and hosts both ends in this process. Without a word: ucx or verbs,
    /// whichever this build has; never mock.
    #[arg(long, env = "WAVETANK_BACKEND", value_name = "BACKEND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The device: tcp, tcp/eth0, shm, rc/mlx5_0:1 of ucx; mlx5_0, rxe0 of verbs. `auto` is tcp of ucx, and has to be said otherwise for verbs.
    #[arg(short, long, env = "WAVETANK_DEVICE", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The port that other engines call [default: 18515].
    #[arg(short, long, env = "WAVETANK_PORT", value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The address that other engines call [default: 127.0.0.1, and 0.0.0.0 with a key file].
    #[arg(long, env = "WAVETANK_LISTEN", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<IpAddr>,
    /// Directories with SeaweedFS volumes to export; again for more. A volume server may go on writing them.
    #[arg(long, env = "WAVETANK_EXPORT", value_name = "DIR", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Vec<PathBuf>>,
    /// Where the indices of the exported volumes are, if not beside them: the volume server's -dir.idx.
    #[arg(long, env = "WAVETANK_EXPORT_INDEX", value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_index: Option<PathBuf>,
    /// Engines to read from; again for more.
    #[arg(long = "peer", env = "WAVETANK_PEERS", value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<String>>,
    /// The key that engines share: a file of at least 16 bytes that nobody else can read.
    #[arg(long, env = "WAVETANK_KEY_FILE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Export to whoever reaches the port, without a key.
    #[arg(long, env = "WAVETANK_ALLOW_UNAUTHENTICATED", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_unauthenticated: Option<bool>,
    /// How needles of other hosts are read [default: auto].
    #[arg(long, env = "WAVETANK_WAY", value_enum, value_name = "WAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<WaySetting>,
    /// Reads that local programs may have begun and not completed [default: 1000].
    #[arg(long, env = "WAVETANK_MAX_SESSIONS", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Seconds after which such a read expires that does not say when [default: 300].
    #[arg(long, env = "WAVETANK_SESSION_TIMEOUT", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_timeout: Option<u64>,
    /// Memory for what is read, shared with local programs. Only what is used is taken from the system [default: 1GiB].
    #[arg(long, env = "WAVETANK_BUFFER_SIZE", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_size: Option<ByteSize>,
    /// Use huge pages for it; where there are none the log says so.
    #[arg(long, env = "WAVETANK_HUGE_PAGES", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<bool>,
    /// Memory for segments of volumes that other engines read one-sided [default: 256MiB].
    #[arg(long, env = "WAVETANK_SEGMENT_CACHE", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_cache: Option<ByteSize>,
    /// The socket for local programs [default: /tmp/rdma-engine.sock].
    #[arg(long, env = "WAVETANK_IPC_SOCKET", value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_socket: Option<PathBuf>,
    /// Its permissions, octal [default: 0600].
    #[arg(long, env = "WAVETANK_IPC_MODE", value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
    /// Its group.
    #[arg(long, env = "WAVETANK_IPC_GROUP", value_name = "GROUP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_group: Option<String>,
    /// Users who may use it beside this one and root; again for more.
    #[arg(long = "ipc-allow", env = "WAVETANK_IPC_ALLOW", value_name = "USER", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_allow: Option<Vec<String>>,
    /// Where metrics and health are served, on loopback; `off` for nowhere [default: 127.0.0.1:18516].
    #[arg(long, env = "WAVETANK_METRICS", value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Microseconds to poll without sleeping after something happened [default: 50].
    #[arg(long, env = "WAVETANK_SPIN_US", value_name = "US")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spin_us: Option<u64>,
    /// Seconds that SIGTERM leaves to what is under way [default: 10].
    #[arg(long, env = "WAVETANK_DRAIN_TIMEOUT", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<u64>,
    /// How log lines look [default: text].
    #[arg(long, env = "WAVETANK_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Log what each read does. RUST_LOG says more precisely what is logged, and wins.
    #[arg(long, env = "WAVETANK_DEBUG", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<bool>,
}

impl Layer for Settings {
    fn over(self, below: Settings) -> Settings {
        macro_rules! over {
            ($($field:ident)*) => { Settings { $($field: self.$field.or(below.$field)),* } };
        }
        over!(backend device port listen export export_index peers key_file allow_unauthenticated way
            max_sessions session_timeout buffer_size huge_pages segment_cache ipc_socket ipc_mode ipc_group
            ipc_allow metrics spin_us drain_timeout log_format debug)
    }
}

/// Where metrics and health are served.
pub type MetricsAddress = Option<SocketAddr>;
