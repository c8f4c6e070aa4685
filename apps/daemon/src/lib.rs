//! The engine daemon: one per host, beside a SeaweedFS volume server, whose volumes it exports, and beside clients, for which it reads
//! them.
//!
//! [`reads`] is the seam between those who ask and whatever finds the bytes; [`ipc`] is who asks over the Unix socket. Everything
//! runs on one thread, the one that turns the device.

#[cfg(feature = "mock")]
pub mod bench;
pub mod config;
pub mod engine;
pub mod health;
pub mod ipc;
pub mod log;
pub mod meters;
pub mod reading;
pub mod reads;
pub mod run;
pub mod settings;
#[cfg(feature = "mock")]
pub mod tank;

pub use config::{EngineConfig, SocketConfig, read_key};
pub use settings::{Settings, WaySetting};
pub use wavetank_settings::{BadSetting, Layer, LogFormat, SettingsError};
