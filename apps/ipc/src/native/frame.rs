//! Frames out of a stream of bytes that may be cut anywhere.

use super::BODY_BYTES_MAX;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;

/// A frame: its body is still bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u16,
    /// Which request it is, or answers.
    pub id: u64,
    /// The rest.
    pub body: Vec<u8>,
}

/// A frame was announced that is too long, or not by this protocol. Nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes announced.
    pub len: u32,
    /// Its id.
    pub id: u64,
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Frames {
    heard: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// Bytes came.
    pub fn heard(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.heard.drain(..self.taken);
            self.taken = 0;
        }
        self.heard.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is here.
    ///
    /// # Errors
    /// [`TooLong`]: the stream is of no more use.
    pub fn take(&mut self) -> Result<Option<Frame>, TooLong> {
        let rest = &self.heard[self.taken..];
        let Some((header, rest)) = rest.split_at_checked(HEADER_BYTES) else { return Ok(None) };
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let kind = u16::from_le_bytes([header[4], header[5]]);
        let mut id = [0; 8];
        id.copy_from_slice(&header[8..]);
        let id = u64::from_le_bytes(id);
        if len > BODY_BYTES_MAX {
            return Err(TooLong { len, id });
        }
        let Some(body) = rest.get(..len as usize) else { return Ok(None) };
        let body = body.to_vec();
        self.taken += HEADER_BYTES + body.len();
        Ok(Some(Frame { kind, id, body }))
    }

    /// Bytes heard and not yet taken.
    pub fn waiting(&self) -> usize {
        self.heard.len() - self.taken
    }
}

/// Appends a frame whose body is what `fill` appends.
pub(super) fn put(to: &mut Vec<u8>, kind: u16, id: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend([0; 4]);
    to.extend(kind.to_le_bytes());
    to.extend([0; 2]);
    to.extend(id.to_le_bytes());
    fill(to);
    let len = (to.len() - start - HEADER_BYTES) as u32;
    debug_assert!(len <= BODY_BYTES_MAX, "a frame of kind {kind} with {len} bytes");
    to[start..start + 4].copy_from_slice(&len.to_le_bytes());
}
