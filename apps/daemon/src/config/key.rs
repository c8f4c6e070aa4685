//! The key that engines share.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::rc::Rc;

use super::BadSetting;

/// Shortest key: 128 bits.
const KEY_BYTES_MIN: usize = 16;

/// Longest.
const KEY_BYTES_MAX: u64 = 4096;

/// A key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey(Rc<[u8]>);

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedKey({} bytes)", self.0.len())
    }
}

impl SharedKey {
    /// The key in a file, without the line's end that editors leave.
    ///
    /// # Errors
    /// A file that cannot be read, that others can read, or that is too short.
    pub fn read(path: &Path) -> Result<SharedKey, BadSetting> {
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
        file.take(KEY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|why| bad(why.to_string()))?;
        if bytes.len() as u64 > KEY_BYTES_MAX {
            return Err(bad(format!("longer than {KEY_BYTES_MAX} bytes")));
        }
        while bytes.last().is_some_and(u8::is_ascii_whitespace) {
            bytes.pop();
        }
        if bytes.len() < KEY_BYTES_MIN {
            let have = bytes.len();
            return Err(bad(format!(
                "a key of {have} bytes; at least {KEY_BYTES_MIN}, as `openssl rand -hex 32` makes"
            )));
        }
        Ok(SharedKey(bytes.into()))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
