//! What the programs of this project are told: by flags, by the environment and by a file, which one struct of theirs describes; and
//! files that hold a secret.
//!
//! A program's own struct of settings has a field for each, `None` for what is not said, and is a [`Layer`].

mod bad;
mod layer;
mod secret;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use bad::{BadSetting, bad, within};
pub use layer::{Layer, SettingsError};
pub use secret::read_secret;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines, a document a line.
    Json,
}
