//! Submissions and completions as words.

use crate::code::Code;
use crate::wanted::{Details, Found, ReadPath, TEXT_BYTES_MAX};

/// Words of a submission, its stamp included.
pub(super) const SUBMISSION_WORDS: usize = 8;

/// Words of a completion that are in use, its stamp included.
pub(super) const COMPLETION_WORDS: usize = 10;

/// What a client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A sign of life.
    Ping,
    /// A range of a needle.
    Read {
        /// The volume's number.
        volume: u32,
        /// The needle's number.
        needle: u64,
        /// Its cookie.
        cookie: u32,
        /// First byte.
        offset: u64,
        /// Bytes; 0 is to the end.
        len: u64,
        /// Nanoseconds it may take; 0 is what the engine gives by itself.
        timeout_ns: u64,
        /// A server that was given this number over the socket; 0 is none.
        server: u16,
    },
    /// Bytes go back. Has no completion.
    Release {
        /// Where they lie.
        offset: u64,
        /// Which loan.
        generation: u64,
    },
    /// The submission with this name is wanted no more. Has no completion of its own.
    Cancel {
        /// Its name.
        name: u64,
    },
    /// Nothing that this version knows.
    Unknown(u8),
}

/// An entry of the first ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Its completion bears it. Distinct among those under way.
    pub name: u64,
    /// What is wanted.
    pub task: Task,
}

impl Submission {
    /// The words after the stamp.
    pub(super) fn words(self) -> [u64; SUBMISSION_WORDS - 1] {
        let name = self.name;
        match self.task {
            Task::Ping => [name, 1, 0, 0, 0, 0, 0],
            Task::Read { volume, needle, cookie, offset, len, timeout_ns, server } => {
                let op = 2 | u64::from(server) << 16 | u64::from(volume) << 32;
                [name, op, u64::from(cookie), needle, offset, len, timeout_ns]
            }
            Task::Release { offset, generation } => [name, 3, 0, generation, offset, 0, 0],
            Task::Cancel { name: other } => [name, 4, 0, other, 0, 0, 0],
            Task::Unknown(op) => [name, u64::from(op), 0, 0, 0, 0, 0],
        }
    }

    pub(super) fn from_words(words: [u64; SUBMISSION_WORDS - 1]) -> Submission {
        let [name, op, cookie, needle, offset, len, timeout_ns] = words;
        let task = match op as u8 {
            1 => Task::Ping,
            2 => Task::Read {
                volume: (op >> 32) as u32,
                needle,
                cookie: cookie as u32,
                offset,
                len,
                timeout_ns,
                server: (op >> 16) as u16,
            },
            3 => Task::Release { offset, generation: needle },
            4 => Task::Cancel { name: needle },
            other => Task::Unknown(other),
        };
        Submission { name, task }
    }
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A sign of life.
    Pong,
    /// Bytes.
    Found(Box<Found>),
    /// None, and why.
    Refused {
        /// Which outcome.
        code: Code,
        /// A number to it.
        detail: u64,
    },
}

/// An entry of the second ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The submission's name.
    pub name: u64,
    /// What became of it.
    pub answer: Answer,
}

impl Completion {
    /// The words after the stamp, and what stands in the place of texts.
    pub(super) fn words(&self) -> ([u64; COMPLETION_WORDS - 1], Option<[&str; 2]>) {
        let mut words = [0; COMPLETION_WORDS - 1];
        words[0] = self.name;
        match &self.answer {
            Answer::Pong => words[1] = 1 << 16,
            Answer::Refused { code, detail } => {
                words[1] = u64::from(code.number());
                words[5] = *detail;
            }
            Answer::Found(found) => {
                let details = &found.details;
                let texts = [&details.mime, &details.name].map(|text| cut(text.as_deref().unwrap_or("")));
                words[1] = 2 << 16
                    | u64::from(found.path.number()) << 24
                    | u64::from(found.crc32c) << 32
                    | u64::from(details.flags);
                words[2] = found.offset;
                words[3] = found.len;
                words[4] = found.generation;
                words[5] = found.whole_len;
                words[6] = details.last_modified_s.unwrap_or(0);
                words[7] = u64::from(details.etag.unwrap_or(0));
                words[8] =
                    u64::from(details.known()) | (texts[0].len() as u64) << 8 | (texts[1].len() as u64) << 16;
                return (words, Some(texts).filter(|[mime, name]| mime.len() + name.len() > 0));
            }
        }
        (words, None)
    }

    /// The reverse. `texts` is asked for so many bytes, at most twice 255. `None` where it makes no sense.
    pub(super) fn from_words(
        words: [u64; COMPLETION_WORDS - 1],
        texts: impl FnOnce(&mut [u8]),
    ) -> Option<Completion> {
        let [name, head, offset, len, generation, whole_len, last_modified_s, etag, known] = words;
        let answer = match (head >> 16) as u8 {
            1 => Answer::Pong,
            2 => {
                let lens = [(known >> 8) as u8, (known >> 16) as u8].map(usize::from);
                let mut bytes = [0; 2 * TEXT_BYTES_MAX];
                let both = &mut bytes[..lens[0] + lens[1]];
                if !both.is_empty() {
                    texts(both);
                }
                let (mime, title) = both.split_at(lens[0]);
                let (mime, title) = (str::from_utf8(mime).ok()?, str::from_utf8(title).ok()?);
                let (flags, etag) = (head as u8, etag as u32);
                let details = Details::from_known(known as u8, flags, last_modified_s, etag, mime, title);
                let (crc32c, path) = ((head >> 32) as u32, ReadPath::from_number((head >> 24) as u8)?);
                Answer::Found(Box::new(Found { offset, len, generation, whole_len, crc32c, path, details }))
            }
            0 => Answer::Refused {
                code: Code::from_number(head as u16).unwrap_or(Code::Internal),
                detail: whole_len,
            },
            _ => return None,
        };
        Some(Completion { name, answer })
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
