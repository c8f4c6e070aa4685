//! The sidecar against stand-ins of what it talks to: an engine, masters, volume servers, a mount.
#![allow(clippy::unwrap_used)]

mod abuse;
mod chunks;
mod fallback;
mod finding;
mod page;
mod programs;
mod proof;
mod reading;
mod scripts;
mod serving;
mod settings;
mod stand_in;
mod temp_files;
#[cfg(feature = "tls")]
mod tls;
mod world;
