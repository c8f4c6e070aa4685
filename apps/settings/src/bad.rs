//! Settings that cannot be.

use thiserror::Error;

/// A setting that cannot be.
#[derive(Debug, Error)]
#[error("{setting}: {why}")]
pub struct BadSetting {
    /// Its name, which is that of the flag and of the key in the file.
    pub setting: &'static str,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// The setting of that name cannot be.
///
/// # Errors
/// Always: it is for the end of a check.
pub fn bad<T>(setting: &'static str, why: impl Into<String>) -> Result<T, BadSetting> {
    Err(BadSetting { setting, why: why.into() })
}

/// A number, if it is within bounds, both included.
///
/// # Errors
/// It is not.
pub fn within(setting: &'static str, value: u64, min: u64, max: u64) -> Result<u64, BadSetting> {
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => bad(setting, format!("{value} is not within {min} to {max}")),
    }
}
