//! Frames out of a stream of bytes that may be cut anywhere.

/// Longest body that an engine takes: 1 MiB, as upstream's.
pub const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Longest body that a client takes: 64 MiB, as upstream's Go client.
pub const REPLY_BYTES_MAX: u32 = 64 << 20;

/// What is at the front of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// A whole body.
    Body(Vec<u8>),
    /// A frame that is too long: so many bytes were announced. They are skipped as they come.
    TooLong(u32),
}

/// Cuts a stream into frames. Holds at most one body and what was heard after it.
#[derive(Debug)]
pub struct Frames {
    heard: Vec<u8>,
    taken: usize,
    /// Bytes of a frame that is too long which are still to come.
    skip: u32,
    limit: u32,
}

impl Frames {
    /// Takes bodies of up to `limit` bytes.
    pub fn new(limit: u32) -> Frames {
        Frames { heard: Vec::new(), taken: 0, skip: 0, limit }
    }

    /// Bytes came.
    pub fn heard(&mut self, mut bytes: &[u8]) {
        if self.skip > 0 && self.taken == self.heard.len() {
            let skipped = bytes.len().min(self.skip as usize);
            self.skip -= skipped as u32;
            bytes = &bytes[skipped..];
        }
        if self.taken > 0 {
            self.heard.drain(..self.taken);
            self.taken = 0;
        }
        self.heard.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is here.
    pub fn take(&mut self) -> Option<Chunk> {
        let rest = &self.heard[self.taken..];
        let skipped = rest.len().min(self.skip as usize);
        self.skip -= skipped as u32;
        self.taken += skipped;
        let rest = &rest[skipped..];
        let len = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
        if len > self.limit {
            self.taken += 4;
            self.skip = len;
            return Some(Chunk::TooLong(len));
        }
        let body = rest.get(4..4 + len as usize)?.to_vec();
        self.taken += 4 + body.len();
        Some(Chunk::Body(body))
    }

    /// Bytes heard and not yet taken.
    pub fn waiting(&self) -> usize {
        self.heard.len() - self.taken
    }

    /// Whether part of a frame is here, or of one that is skipped.
    pub fn is_half(&self) -> bool {
        self.waiting() > 0 || self.skip > 0
    }
}

/// A body with its length before it, to be sent with one write: the Go client reads each with a single call.
///
/// # Panics
/// For a body of 4 GiB, which no message of ours has.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a message is shorter than 4 GiB");
    let mut framed = Vec::with_capacity(4 + body.len());
    framed.extend(len.to_le_bytes());
    framed.extend_from_slice(body);
    framed
}
