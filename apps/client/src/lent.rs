//! Bytes that the engine has lent.

use std::fmt;
use std::sync::Arc;

use wavetank_ipc::Found;

use crate::error::ReadError;
use crate::link::Link;

/// Bytes in the engine's arena, and what is known of their needle. Dropping it gives them back.
///
/// It is `Send`, `Sync` and `'static`, so that a web server can send it as it is (`Bytes::from_owner`), and it stays good when the
/// client is dropped. When the engine dies, its memory stays mapped here until the last of these is gone.
pub struct Lent {
    link: Arc<Link>,
    found: Found,
}

impl Lent {
    /// Of what an engine said: it is not believed that this lies in the arena.
    pub(crate) fn new(link: &Arc<Link>, found: Found) -> Result<Lent, ReadError> {
        let lies = found.len == 0 || link.arena.bytes(found.offset, found.len).is_some();
        // Made first: whatever was lent goes back.
        let lent = Lent { link: Arc::clone(link), found };
        if lies && (lent.found.len == 0 || lent.found.generation != 0) {
            return Ok(lent);
        }
        let (offset, len, arena) = (lent.found.offset, lent.found.len, link.arena.len());
        Err(ReadError::Nonsense(format!("{len} bytes at {offset} of an arena of {arena}")))
    }

    /// What is known of the bytes and of their needle.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        if self.found.len == 0 {
            return &[];
        }
        self.link.arena.bytes(self.found.offset, self.found.len).unwrap_or_default()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({} of {} bytes)", self.found.len, self.found.whole_len)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.found.generation != 0 {
            self.link.release(self.found.offset, self.found.generation);
        }
    }
}
