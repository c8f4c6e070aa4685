//! What the sidecar is told: by flags, by the environment, by a file, in this order of weight.
//!
//! All three have the same names. A flag `--rdma-socket` is `rdma-socket` in the file and `WAVETANK_RDMA_SOCKET` in the environment.
//! Flags of upstream's `demo-server` keep their names and letters where they mean something here.

use std::net::IpAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use wavetank_settings::{Layer, LogFormat};

/// Whether what the engine cannot serve is read by HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// It is.
    #[default]
    On,
    /// It is not: the client is told, and may read by itself.
    Off,
}

/// How `/read` answers who does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ReadFormat {
    /// The bytes.
    #[default]
    Raw,
    /// A document about them.
    Json,
}

/// Everything that may be said, and nothing that has to be. Fields are as their flags; `None` is not said.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Settings {
    /// The address that clients connect to [default: 127.0.0.1]. Another than loopback needs a token, or
    /// --allow-unauthenticated.
    #[arg(long, env = "WAVETANK_SIDECAR_LISTEN", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<IpAddr>,
    /// The port that clients connect to [default: 8081].
    #[arg(short, long, env = "WAVETANK_SIDECAR_PORT", value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The engine's socket [default: /tmp/rdma-engine.sock].
    #[arg(short = 'r', long, env = "WAVETANK_RDMA_SOCKET", value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma_socket: Option<PathBuf>,
    /// Read through the engine [default: true].
    #[arg(short = 'e', long, env = "WAVETANK_ENABLE_RDMA", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_rdma: Option<bool>,
    /// Connections to the engine [default: 1]. Each carries 128 reads at once, and maps all of the engine's
    /// memory for clients.
    #[arg(long, env = "WAVETANK_MAX_CONNECTIONS", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// SeaweedFS masters, which say where volumes are; again for more.
    #[arg(long, env = "WAVETANK_MASTERS", value_delimiter = ',', value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<Vec<String>>,
    /// The volume server to ask where there is no master.
    #[arg(short = 'v', long, env = "WAVETANK_VOLUME_SERVER", value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_server: Option<String>,
    /// Servers that a request may name though no master lists them; `any` for all; again for more.
    #[arg(long, env = "WAVETANK_ALLOW_VOLUME_SERVER", value_delimiter = ',', value_name = "HOST[:PORT]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_volume_server: Option<Vec<String>>,
    /// Names and addresses of this machine beside its host name: its own volume server is asked first;
    /// again for more.
    #[arg(long, env = "WAVETANK_LOCAL_HOST", value_delimiter = ',', value_name = "HOST")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_host: Option<Vec<String>>,
    /// This machine's data centre: replicas there are asked before others.
    #[arg(long, env = "WAVETANK_DATA_CENTER", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_center: Option<String>,
    /// Seconds that a master's answer holds [default: 600].
    #[arg(long, env = "WAVETANK_LOOKUP_TTL", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup_ttl: Option<u64>,
    /// Read by HTTP what the engine cannot serve [default: on]. A mount throws such answers away and
    /// reads by itself: for mounts alone, off saves that.
    #[arg(long, env = "WAVETANK_FALLBACK", value_enum, value_name = "on|off")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Milliseconds that a whole read may take [default: 4000]. A mount waits 5000.
    #[arg(long, env = "WAVETANK_TIMEOUT_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Milliseconds that one attempt through the engine may take [default: 1500].
    #[arg(long, env = "WAVETANK_ENGINE_TIMEOUT_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_timeout_ms: Option<u64>,
    /// Milliseconds that one attempt by HTTP may take [default: 2000].
    #[arg(long, env = "WAVETANK_HTTP_TIMEOUT_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_timeout_ms: Option<u64>,
    /// The longest answer [default: 64MiB].
    #[arg(long, env = "WAVETANK_MAX_READ", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_read: Option<ByteSize>,
    /// How /read answers who does not say [default: raw]. A mount needs raw; upstream's scripts expect
    /// json.
    #[arg(long, env = "WAVETANK_READ_FORMAT", value_enum, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_format: Option<ReadFormat>,
    /// Answer in files of this folder as well, for a mount of the same user on this machine [default:
    /// none].
    #[arg(short = 't', long, env = "WAVETANK_TEMP_DIR", value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<PathBuf>,
    /// Only answers that are longer [default: 64KiB].
    #[arg(long, env = "WAVETANK_TEMP_ABOVE", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_above: Option<ByteSize>,
    /// Bytes in files at once [default: 256MiB].
    #[arg(long, env = "WAVETANK_TEMP_SIZE", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_size: Option<ByteSize>,
    /// What clients have to show as `Authorization: Bearer`: a file of at least 16 characters that
    /// nobody else can read. A mount cannot show one.
    #[arg(long, env = "WAVETANK_TOKEN_FILE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Serve whoever reaches the port, without a token.
    #[arg(long, env = "WAVETANK_SIDECAR_ALLOW_UNAUTHENTICATED", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_unauthenticated: Option<bool>,
    /// Certificate chain to serve over TLS, PEM.
    #[arg(long, env = "WAVETANK_TLS_CERT", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, env = "WAVETANK_TLS_KEY", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Clients' connections at once [default: 4096].
    #[arg(long, env = "WAVETANK_HTTP_CONNECTIONS", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_connections: Option<u64>,
    /// Reads at once [default: 256]; others wait their turn, and then are told to come again.
    #[arg(long, env = "WAVETANK_REQUESTS", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Milliseconds to wait for one's turn [default: 500].
    #[arg(long, env = "WAVETANK_QUEUE_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<u64>,
    /// Milliseconds that a request's head may take, and a connection idle [default: 30000].
    #[arg(long, env = "WAVETANK_HEAD_TIMEOUT_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_timeout_ms: Option<u64>,
    /// Milliseconds that a client may take to accept 64 KiB of an answer [default: 10000].
    #[arg(long, env = "WAVETANK_BODY_TIMEOUT_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_timeout_ms: Option<u64>,
    /// Seconds that SIGTERM leaves to what is under way [default: 10].
    #[arg(long, env = "WAVETANK_DRAIN_TIMEOUT", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<u64>,
    /// How log lines look [default: text].
    #[arg(long, env = "WAVETANK_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Log every read. RUST_LOG says more precisely what is logged, and wins.
    #[arg(short, long, env = "WAVETANK_DEBUG", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<bool>,
}

impl Layer for Settings {
    fn over(self, below: Settings) -> Settings {
        macro_rules! over {
            ($($field:ident)*) => { Settings { $($field: self.$field.or(below.$field)),* } };
        }
        over!(listen port rdma_socket enable_rdma max_connections master volume_server allow_volume_server
            local_host data_center lookup_ttl fallback timeout_ms engine_timeout_ms http_timeout_ms
            max_read read_format temp_dir temp_above temp_size token_file allow_unauthenticated tls_cert
            tls_key http_connections requests queue_ms head_timeout_ms body_timeout_ms drain_timeout
            log_format debug)
    }
}
