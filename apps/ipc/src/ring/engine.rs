//! The engine's side of a ring.

use std::sync::atomic::{Ordering, fence};

use thiserror::Error;
use wavetank_contract::SharedMemory;

use super::entry::{COMPLETION_WORDS, Completion, SUBMISSION_WORDS, Submission, Task};
use super::layout::{
    AT_CLIENT_SLEEPS, AT_COMPLETIONS_TAKEN, AT_ENGINE_SLEEPS, AT_ENTRIES, AT_MAGIC, AT_SUBMISSIONS_TAKEN,
    Layout, MAGIC,
};

/// The client said that it took completions that were never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the client says it took {said} completions of {written} that were written; its ring is of no more use"
)]
pub struct Broken {
    /// What it said.
    pub said: u64,
    /// How many there were.
    pub written: u64,
}

/// Takes submissions and writes completions.
#[derive(Debug)]
pub struct EngineRing {
    memory: SharedMemory,
    layout: Layout,
    /// Submissions taken.
    taken: u64,
    /// Submissions taken whose completion is not written.
    owed: u64,
    /// Completions written.
    written: u64,
    /// Completions that the client took, as far as it was asked.
    freed: u64,
}

impl EngineRing {
    /// Lays a ring out in zeroed memory of our own. `None` where it does not fit, or `entries` is no size of a ring.
    pub fn create(memory: SharedMemory, entries: u32) -> Option<EngineRing> {
        let layout = Layout::new(entries)?;
        if !layout.fits(&memory) {
            return None;
        }
        memory.word(AT_ENTRIES).store(u64::from(entries));
        memory.word(AT_MAGIC).store(MAGIC);
        Some(EngineRing { memory, layout, taken: 0, owed: 0, written: 0, freed: 0 })
    }

    /// Its memory, to be handed to the client.
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Submissions that fit.
    pub fn entries(&self) -> u32 {
        self.layout.entries
    }

    /// Whether a submission is there.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.memory.word(self.layout.submission(self.taken)).load() == self.taken + 1
    }

    /// The next submission, if there is one and a completion of it would fit.
    ///
    /// # Errors
    /// [`Broken`].
    #[inline]
    pub fn take(&mut self) -> Result<Option<Submission>, Broken> {
        if !self.is_ready() || !self.has_room()? {
            return Ok(None);
        }
        let at = self.layout.submission(self.taken);
        let mut words = [0; SUBMISSION_WORDS - 1];
        for (place, word) in (1u64..).zip(&mut words) {
            *word = self.memory.word(at + 8 * place).load();
        }
        self.taken += 1;
        self.memory.word(AT_SUBMISSIONS_TAKEN).store(self.taken);
        let submission = Submission::from_words(words);
        if !matches!(submission.task, Task::Release { .. } | Task::Cancel { .. }) {
            self.owed += 1;
        }
        Ok(Some(submission))
    }

    /// Whether one completion more than are owed fits.
    #[inline]
    fn has_room(&mut self) -> Result<bool, Broken> {
        let room = self.layout.completions();
        if self.written - self.freed + self.owed < room {
            return Ok(true);
        }
        let said = self.memory.word(AT_COMPLETIONS_TAKEN).load();
        let more = said.wrapping_sub(self.freed);
        if more > self.written - self.freed {
            return Err(Broken { said, written: self.written });
        }
        self.freed += more;
        Ok(self.written - self.freed + self.owed < room)
    }

    /// Writes the completion of a submission that was taken. Answers whether the client sleeps and has to be woken.
    ///
    /// # Panics
    /// When nothing is owed.
    #[inline]
    pub fn complete(&mut self, completion: &Completion) -> bool {
        assert!(self.owed > 0, "a completion of nothing");
        let at = self.layout.completion(self.written);
        let (words, texts) = completion.words();
        debug_assert!(words.len() < COMPLETION_WORDS);
        // A pong has no more than two words, which share the stamp's line.
        let used = if matches!(completion.answer, super::Answer::Pong) { 2 } else { words.len() };
        for (place, word) in (1u64..).zip(&words[..used]) {
            self.memory.word(at + 8 * place).store(*word);
        }
        if let Some([mime, name]) = texts {
            let texts = self.layout.texts(self.written);
            self.memory.write(texts, mime.as_bytes());
            self.memory.write(texts + mime.len() as u64, name.as_bytes());
        }
        self.owed -= 1;
        self.written += 1;
        self.memory.word(at).store(self.written);
        fence(Ordering::SeqCst);
        self.memory.half(AT_CLIENT_SLEEPS).load(Ordering::Relaxed) != 0
    }

    /// The engine is about to sleep. Answers whether it may: nothing is there. Whether or not, [`wake`](Self::wake) comes next.
    ///
    /// A submission that waits for room is no reason to stay: who frees room wakes the engine too.
    pub fn sleep(&mut self) -> bool {
        self.memory.half(AT_ENGINE_SLEEPS).store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !(self.is_ready() && self.has_room().unwrap_or(true))
    }

    /// The engine does not sleep any more.
    pub fn wake(&mut self) {
        self.memory.half(AT_ENGINE_SLEEPS).store(0, Ordering::Relaxed);
    }
}
