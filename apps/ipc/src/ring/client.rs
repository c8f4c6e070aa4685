//! The client's side of a ring.

use std::sync::atomic::{Ordering, fence};

use thiserror::Error;
use wavetank_contract::SharedMemory;

use super::entry::{COMPLETION_WORDS, Completion, Submission};
use super::layout::{
    AT_CLIENT_SLEEPS, AT_COMPLETIONS_TAKEN, AT_ENGINE_SLEEPS, AT_ENTRIES, AT_MAGIC, AT_SUBMISSIONS_TAKEN,
    Layout, MAGIC,
};

/// No place for another submission: completions have to be taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("all {entries} places of the ring are taken; take completions first")]
pub struct Full {
    /// How many there are.
    pub entries: u32,
}

/// Writes submissions and takes completions.
#[derive(Debug)]
pub struct ClientRing {
    memory: SharedMemory,
    layout: Layout,
    /// Submissions written.
    written: u64,
    /// Submissions that the engine took, as far as it was asked.
    freed: u64,
    /// Completions taken.
    taken: u64,
}

impl ClientRing {
    /// A ring that an engine laid out. `None` where it is none of this version.
    pub fn attach(memory: SharedMemory) -> Option<ClientRing> {
        if memory.len() < 4096 || memory.word(AT_MAGIC).load() != MAGIC {
            return None;
        }
        let entries = u32::try_from(memory.word(AT_ENTRIES).load()).ok()?;
        let layout = Layout::new(entries).filter(|layout| layout.fits(&memory))?;
        Some(ClientRing { memory, layout, written: 0, freed: 0, taken: 0 })
    }

    /// Submissions that fit.
    pub fn entries(&self) -> u32 {
        self.layout.entries
    }

    /// Writes a submission. Answers whether the engine sleeps and has to be woken.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn submit(&mut self, submission: Submission) -> Result<bool, Full> {
        let room = u64::from(self.layout.entries);
        if self.written.wrapping_sub(self.freed) >= room {
            // More than was written would be an engine's lie; it is one's own memory that suffers.
            self.freed = self.memory.word(AT_SUBMISSIONS_TAKEN).load().min(self.written);
            if self.written - self.freed >= room {
                return Err(Full { entries: self.layout.entries });
            }
        }
        let at = self.layout.submission(self.written);
        for (place, word) in (1u64..).zip(submission.words()) {
            self.memory.word(at + 8 * place).store(word);
        }
        self.written += 1;
        self.memory.word(at).store(self.written);
        fence(Ordering::SeqCst);
        Ok(self.engine_sleeps())
    }

    fn engine_sleeps(&self) -> bool {
        self.memory.half(AT_ENGINE_SLEEPS).load(Ordering::Relaxed) != 0
    }

    /// Whether a completion is there.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.memory.word(self.layout.completion(self.taken)).load() == self.taken + 1
    }

    /// The next completion, if there is one; `Some(None)` for one that makes no sense.
    #[inline]
    pub fn take(&mut self) -> Option<Option<Completion>> {
        if !self.is_ready() {
            return None;
        }
        let at = self.layout.completion(self.taken);
        let mut words = [0; COMPLETION_WORDS - 1];
        for (place, word) in (1u64..).zip(&mut words) {
            *word = self.memory.word(at + 8 * place).load();
        }
        let texts = self.layout.texts(self.taken);
        let completion = Completion::from_words(words, |bytes| self.memory.read(texts, bytes));
        self.taken += 1;
        self.memory.word(AT_COMPLETIONS_TAKEN).store(self.taken);
        Some(completion)
    }

    /// Whether the engine sleeps while submissions are there that it has not taken, and has to be woken: it found no room for
    /// their completions, and there may be some now. To be asked after taking.
    pub fn engine_waits(&self) -> bool {
        fence(Ordering::SeqCst);
        self.engine_sleeps() && self.memory.word(AT_SUBMISSIONS_TAKEN).load() != self.written
    }

    /// The client is about to sleep. Answers whether it may: nothing is there. Whether or not, [`wake`](Self::wake) comes next.
    pub fn sleep(&mut self) -> bool {
        self.memory.half(AT_CLIENT_SLEEPS).store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !self.is_ready()
    }

    /// The client does not sleep any more.
    pub fn wake(&mut self) {
        self.memory.half(AT_CLIENT_SLEEPS).store(0, Ordering::Relaxed);
    }
}
