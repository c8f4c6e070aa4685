//! What waits to be sent: bytes, and descriptors that go with the first of them.

use std::collections::VecDeque;

/// Descriptors that go with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The arena's.
    Arena,
    /// The ring's memory, and one end of the pair to wake each other by.
    Ring,
}

/// Bytes in order. Descriptors are never merged with bytes of before.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What goes with the first byte of each part, and the part.
    parts: VecDeque<(Option<Passed>, Vec<u8>)>,
    /// Bytes of the first part that are sent.
    sent: usize,
    waiting: usize,
}

impl Outbox {
    /// A place to append a whole message to.
    pub(crate) fn put(&mut self, passed: Option<Passed>, fill: impl FnOnce(&mut Vec<u8>)) {
        if passed.is_some() || self.parts.is_empty() {
            self.parts.push_back((passed, Vec::new()));
        }
        if let Some((_, part)) = self.parts.back_mut() {
            let before = part.len();
            fill(part);
            self.waiting += part.len() - before;
        }
    }

    /// What is to be sent next.
    pub(crate) fn front(&self) -> Option<(Option<Passed>, &[u8])> {
        let (passed, part) = self.parts.front()?;
        Some((passed.filter(|_| self.sent == 0), &part[self.sent..]))
    }

    /// So many bytes of it were sent.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent += count;
        self.waiting -= count;
        if self.parts.front().is_some_and(|(_, part)| part.len() == self.sent) {
            self.parts.pop_front();
            self.sent = 0;
        }
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_goes_with_the_first_byte_of_its_message_and_once() {
        let mut outbox = Outbox::default();
        outbox.put(None, |to| to.extend(b"ab"));
        outbox.put(None, |to| to.extend(b"c"));
        outbox.put(Some(Passed::Arena), |to| to.extend(b"de"));
        outbox.put(None, |to| to.extend(b"f"));
        assert_eq!((outbox.front(), outbox.waiting()), (Some((None, &b"abc"[..])), 6));
        outbox.sent(2);
        assert_eq!(outbox.front(), Some((None, &b"c"[..])));
        outbox.sent(1);
        assert_eq!(outbox.front(), Some((Some(Passed::Arena), &b"def"[..])));
        outbox.sent(1);
        assert_eq!(outbox.front(), Some((None, &b"ef"[..])));
        outbox.sent(2);
        assert_eq!((outbox.front(), outbox.waiting()), (None, 0));
    }
}
