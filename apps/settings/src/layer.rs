//! Files of settings, and one layer over another.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Longest file of settings.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file of settings is none.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It cannot be read.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// It is too long to be one.
    #[error("{}: longer than 1 MiB; a file of settings has a few lines", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is no TOML, or has keys or values that mean nothing.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column, and what would be right.
        why: Box<toml::de::Error>,
    },
}

/// Settings of a program, each of which may be left out.
pub trait Layer: Serialize + DeserializeOwned {
    /// These, and where they say nothing, those.
    #[must_use]
    fn over(self, below: Self) -> Self;

    /// Settings from a TOML file.
    ///
    /// # Errors
    /// [`SettingsError`], naming file, line and key.
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let failed = |why| SettingsError::Io { path: path.to_owned(), why };
        let file = File::open(path).map_err(failed)?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(SettingsError::TooLong { path: path.to_owned() });
        }
        toml::from_str(&text)
            .map_err(|why| SettingsError::Malformed { path: path.to_owned(), why: Box::new(why) })
    }

    /// As a file would say it.
    ///
    /// # Errors
    /// Never, for settings that came from flags or files.
    fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}
