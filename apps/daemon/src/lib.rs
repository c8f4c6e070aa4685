//! The engine daemon: one per host, beside a SeaweedFS volume server, whose volumes it exports, and beside clients, for which it reads
//! them.

pub mod config;
pub mod health;
pub mod log;
pub mod meters;
pub mod settings;
#[cfg(feature = "mock")]
pub mod tank;

pub use config::{BadSetting, EngineConfig, SharedKey, SocketConfig};
pub use settings::{LogFormat, Settings, SettingsError, WaySetting};
