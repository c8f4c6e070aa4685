//! The daemon: its settings, its health.
#![allow(clippy::unwrap_used)]

mod health;
mod settings;
mod tank;
