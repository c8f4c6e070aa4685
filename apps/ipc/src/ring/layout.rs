//! Where things are in a ring's memory. Offsets and sizes in bytes.
//!
//! | offset | what | who writes it |
//! |---|---|---|
//! | 0 | magic, then version and entries | the engine, once |
//! | 128 | submissions taken | the engine |
//! | 256 | flag: the engine sleeps | the engine |
//! | 384 | completions taken | the client |
//! | 512 | flag: the client sleeps | the client |
//! | 1024 | submissions, 64 each | the client |
//! | then | completions, 128 each, twice as many | the engine |
//! | then | texts, 512 each, one per completion | the engine |

use wavetank_contract::SharedMemory;

/// Submissions that a ring has at least.
pub const ENTRIES_MIN: u32 = 8;

/// Submissions that a ring has at most.
pub const ENTRIES_MAX: u32 = 4096;

/// What stands at the beginning: "WTRING" and a version.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"WTRING\x01\0");
pub(super) const AT_MAGIC: u64 = 0;
pub(super) const AT_ENTRIES: u64 = 8;
// Two lines apart: processors fetch lines in pairs.
pub(super) const AT_SUBMISSIONS_TAKEN: u64 = 128;
pub(super) const AT_ENGINE_SLEEPS: u64 = 256;
pub(super) const AT_COMPLETIONS_TAKEN: u64 = 384;
pub(super) const AT_CLIENT_SLEEPS: u64 = 512;
const AT_SUBMISSIONS: u64 = 1024;
const SUBMISSION_BYTES: u64 = 64;
const COMPLETION_BYTES: u64 = 128;
const TEXT_BYTES: u64 = 512;

/// Bytes of a ring with so many submissions.
///
/// `None` where that is no power of two from [`ENTRIES_MIN`] to [`ENTRIES_MAX`].
pub fn ring_bytes(entries: u32) -> Option<u64> {
    Some(Layout::new(entries)?.bytes())
}

/// Where the entries of a ring are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) entries: u32,
}

impl Layout {
    pub(super) fn new(entries: u32) -> Option<Layout> {
        (entries.is_power_of_two() && (ENTRIES_MIN..=ENTRIES_MAX).contains(&entries))
            .then_some(Layout { entries })
    }

    pub(super) fn completions(self) -> u64 {
        2 * u64::from(self.entries)
    }

    fn bytes(self) -> u64 {
        self.at_texts() + self.completions() * TEXT_BYTES
    }

    fn at_completions(self) -> u64 {
        AT_SUBMISSIONS + u64::from(self.entries) * SUBMISSION_BYTES
    }

    fn at_texts(self) -> u64 {
        self.at_completions() + self.completions() * COMPLETION_BYTES
    }

    /// Where the submission with this number, counted from 0, is.
    #[inline]
    pub(super) fn submission(self, number: u64) -> u64 {
        AT_SUBMISSIONS + (number & u64::from(self.entries - 1)) * SUBMISSION_BYTES
    }

    /// Where the completion with this number is.
    #[inline]
    pub(super) fn completion(self, number: u64) -> u64 {
        self.at_completions() + (number & (self.completions() - 1)) * COMPLETION_BYTES
    }

    /// Where the texts of the completion with this number are.
    pub(super) fn texts(self, number: u64) -> u64 {
        self.at_texts() + (number & (self.completions() - 1)) * TEXT_BYTES
    }

    /// Whether all of it is in this memory.
    pub(super) fn fits(self, memory: &SharedMemory) -> bool {
        memory.is_writable() && memory.len() >= self.bytes()
    }
}
