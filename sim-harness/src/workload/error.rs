//! What is wrong with an input, and where: always a file, and a line and key wherever there are any.

use std::io;
use std::path::{Path, PathBuf};

/// An input that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The file could not be opened or read.
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// The file was read, and says something that cannot be.
    #[error("{}:{line}: {key}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line of the key or field, from 1.
        line: u32,
        /// Key of a TOML file (`op[0].size`) or field of an iolog line (`offset`).
        key: String,
        /// What was found, and what would be right.
        problem: String,
    },
    /// What was recorded in a binary file, which has no lines, cannot be replayed.
    #[error("{}: {problem}", path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// What was found, and what would be right.
        problem: String,
    },
}

impl WorkloadError {
    pub(crate) fn unreadable(path: &Path, error: io::Error) -> WorkloadError {
        WorkloadError::Unreadable { path: path.to_owned(), error }
    }

    pub(crate) fn invalid(path: &Path, line: u32, key: &str, problem: impl ToString) -> WorkloadError {
        WorkloadError::Invalid {
            path: path.to_owned(),
            line,
            key: key.to_owned(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn recording(path: &Path, problem: impl ToString) -> WorkloadError {
        WorkloadError::Recording { path: path.to_owned(), problem: problem.to_string() }
    }

    /// The line the error is about, from 1; none when the file has no lines or could not be read at all.
    pub fn line(&self) -> Option<u32> {
        match self {
            WorkloadError::Unreadable { .. } | WorkloadError::Recording { .. } => None,
            WorkloadError::Invalid { line, .. } => Some(*line),
        }
    }

    /// The key or field the error is about; none when the file has none or could not be read at all.
    pub fn key(&self) -> Option<&str> {
        match self {
            WorkloadError::Unreadable { .. } | WorkloadError::Recording { .. } => None,
            WorkloadError::Invalid { key, .. } => Some(key),
        }
    }
}

/// Quotes text found in a file: escaped, so that it cannot draw on a terminal, and short enough to read.
pub(crate) fn quote(found: &str) -> String {
    const SHOWN: usize = 60;
    match found.char_indices().nth(SHOWN) {
        None => format!("{found:?}"),
        Some((end, _)) => format!("{:?}...", &found[..end]),
    }
}
