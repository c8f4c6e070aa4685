//! What clients have to show, where that is wanted.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use wavetank_settings::{BadSetting, bad, read_secret};

/// Shortest token: 128 bits as hexadecimal digits are twice as long.
const TOKEN_BYTES_MIN: usize = 16;

/// Longest.
const TOKEN_BYTES_MAX: usize = 4096;

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
        let bytes = read_secret("token-file", path, TOKEN_BYTES_MAX)?;
        let len = bytes.len();
        if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&len) || !bytes.iter().all(u8::is_ascii_graphic) {
            let due = format!(
                "{TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible ones, as `openssl rand -hex 32` makes"
            );
            return bad("token-file", format!("{}: a token of {len} bytes; {due}", path.display()));
        }
        Ok(Token(bytes.into()))
    }

    /// Whether this is it. How long that takes says nothing about how much of it was right.
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.ct_eq(shown).into()
    }
}
