//! Why a buffer is not registered.

use thiserror::Error;
use wavetank_contract::error::RegisterError;

/// Why a buffer is not registered. Nothing has changed but that unused registrations may have been given up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Longer than all that may be kept: this will never succeed.
    #[error(
        "a buffer of {len_bytes} bytes is longer than all that this cache may keep ({limit_bytes}); register it by itself, \
         or raise bytes_max"
    )]
    TooLong {
        /// The buffer.
        len_bytes: u64,
        /// All that may be kept.
        limit_bytes: u64,
    },
    /// Everything that is kept is used.
    #[error(
        "no room for a buffer of {len_bytes} bytes: {count} of {count_max} registrations with {bytes} of {bytes_max} bytes \
         are kept, and not enough of them are unused; drop guards, wait for works to complete, or raise the limits"
    )]
    Full {
        /// The buffer.
        len_bytes: u64,
        /// Registrations kept.
        count: u32,
        /// The limit.
        count_max: u32,
        /// Bytes kept.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The device refused, and again after everything unused was given up, if that was any.
    #[error("a buffer could not be registered: {0}")]
    Register(#[from] RegisterError),
}
