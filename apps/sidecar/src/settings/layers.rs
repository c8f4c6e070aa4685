//! Files of settings, and one layer over another.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Settings;

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

impl Settings {
    /// Settings from a TOML file.
    ///
    /// # Errors
    /// [`SettingsError`], naming file, line and key.
    pub fn read(path: &Path) -> Result<Settings, SettingsError> {
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

    /// These, and where they say nothing, those.
    #[must_use]
    pub fn over(self, below: Settings) -> Settings {
        macro_rules! over {
            ($($field:ident)*) => { Settings { $($field: self.$field.or(below.$field)),* } };
        }
        over!(listen port rdma_socket enable_rdma max_connections master volume_server allow_volume_server local_host data_center lookup_ttl fallback timeout_ms engine_timeout_ms http_timeout_ms max_read read_format temp_dir temp_above temp_size token_file allow_unauthenticated tls_cert tls_key http_connections requests queue_ms head_timeout_ms body_timeout_ms drain_timeout log_format debug)
    }

    /// As a file would say it.
    ///
    /// # Errors
    /// Never, for settings that came from flags or files.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}
