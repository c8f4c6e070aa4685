//! The key that engines share.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use wavetank_exchange::{KEY_BYTES_MAX, SharedKey};

use super::BadSetting;

/// The key in a file, without the line's end that editors leave.
///
/// # Errors
/// A file that cannot be read, that others can read, or in which no key is.
pub fn read_key(path: &Path) -> Result<SharedKey, BadSetting> {
    let bad = |why: String| BadSetting { setting: "key-file", why: format!("{}: {why}", path.display()) };
    let file = File::open(path).map_err(|why| bad(why.to_string()))?;
    let metadata = file.metadata().map_err(|why| bad(why.to_string()))?;
    if !metadata.is_file() {
        return Err(bad("is no regular file".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(bad(format!("others may use it (mode {mode:04o}): chmod 0600 it")));
    }
    let mut bytes = Vec::new();
    // A key and some line ends; what is longer than any key is refused as that.
    file.take(KEY_BYTES_MAX as u64 + 16).read_to_end(&mut bytes).map_err(|why| bad(why.to_string()))?;
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    SharedKey::new(&bytes).map_err(|why| bad(format!("{why}; `openssl rand -hex 32` makes one")))
}
