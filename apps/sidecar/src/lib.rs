//! The sidecar: the HTTP server that an unmodified `weed mount -rdma.enabled -rdma.sidecar=HOST:PORT` reads needles from.
//!
//! It reads through an engine on the same machine ([`EngineReads`]), whose memory it writes into sockets without a copy, and by HTTP
//! from volume servers where the engine cannot ([`fetch`]). It links no engine and knows no RDMA: the engine may come and go.

pub mod attempts;
pub mod breaker;
mod client;
mod clock;
pub mod config;
pub mod engine;
pub mod fetch;
pub mod figures;
pub mod file_id;
pub mod lookup;
pub mod place;
pub mod pool;
pub mod reads;
pub mod request;
mod routes;
mod server;
pub mod settings;
pub mod socket;
mod state;
pub mod temp_files;
pub mod token;

pub use config::{EngineSocket, ServeLimits, SidecarConfig};
pub use engine::{About, Details, EngineBytes, EngineError, EnginePath, EngineReads, Wanted};
pub use file_id::FileId;
pub use server::{RunError, Running, begin, run};
pub use settings::{Fallback, ReadFormat, Settings};
pub use wavetank_settings::{BadSetting, Layer, LogFormat, SettingsError};
