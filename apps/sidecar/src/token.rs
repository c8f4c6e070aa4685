//! What clients have to show, where that is wanted.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::config::BadSetting;

/// Shortest token: 128 bits as hexadecimal digits are twice as long.
const TOKEN_BYTES_MIN: usize = 16;

/// Longest.
const TOKEN_BYTES_MAX: u64 = 4096;

/// A token. It is never printed.
#[derive(Clone)]
pub struct Token(Arc<[u8]>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

impl Token {
    /// The token in a file, without the line's end that editors leave.
    ///
    /// # Errors
    /// A file that cannot be read, that others can read, or that is too short.
    pub fn read(path: &Path) -> Result<Token, BadSetting> {
        let bad =
            |why: String| BadSetting { setting: "token-file", why: format!("{}: {why}", path.display()) };
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
        file.take(TOKEN_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|why| bad(why.to_string()))?;
        while bytes.last().is_some_and(u8::is_ascii_whitespace) {
            bytes.pop();
        }
        let len = bytes.len();
        if len < TOKEN_BYTES_MIN || len as u64 > TOKEN_BYTES_MAX || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(bad(format!(
                "a token of {len} bytes; {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible ones, as `openssl rand -hex 32` makes"
            )));
        }
        Ok(Token(bytes.into()))
    }

    /// Whether this is it. How long that takes says nothing about how much of it was right.
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(shown).into()
    }
}
