//! What is still to be sent.

use super::frame::Frame;

/// Frames on their way out, and how much of them is gone.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(super) fn put(&mut self, frame: &Frame) {
        frame.encode(&mut self.bytes);
    }

    pub(super) fn bytes_allocated(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The first `count` bytes of the rest are gone; more than there are is all of them.
    pub(super) fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}
