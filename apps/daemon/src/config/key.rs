//! The key that engines share.

use std::path::Path;

use wavetank_exchange::{KEY_BYTES_MAX, SharedKey};
use wavetank_settings::{BadSetting, bad, read_secret};

/// The key in a file, without the line's end that editors leave.
///
/// # Errors
/// A file that cannot be read, that others can read, or in which no key is.
pub fn read_key(path: &Path) -> Result<SharedKey, BadSetting> {
    let key = SharedKey::new(&read_secret("key-file", path, KEY_BYTES_MAX)?);
    key.or_else(|why| bad("key-file", format!("{}: {why}; `openssl rand -hex 32` makes one", path.display())))
}
