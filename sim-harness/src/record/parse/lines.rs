//! Lines of a recorded run: a word, and what follows it.

use std::io::{BufRead, Read as _};
use std::ops::RangeInclusive;
use std::path::Path;

use super::Result;
use crate::workload::WorkloadError;

/// Bytes of one line.
const LINE_MAX: usize = 8192;

/// Reads line after line, one ahead.
#[derive(Debug)]
pub(super) struct Lines<'p, R> {
    path: &'p Path,
    input: R,
    ahead: Option<Line>,
    number: u32,
}

/// One line, without its newline.
#[derive(Clone, Debug)]
pub(super) struct Line {
    path: std::path::PathBuf,
    /// From 1.
    pub(super) number: u32,
    /// Its first word.
    pub(super) word: String,
    /// What follows the space behind it.
    pub(super) rest: String,
}

impl<'p, R: BufRead> Lines<'p, R> {
    pub(super) fn new(path: &'p Path, input: R) -> Lines<'p, R> {
        Lines { path, input, ahead: None, number: 0 }
    }

    /// The next line; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        if let Some(line) = self.ahead.take() {
            return Ok(Some(line));
        }
        let mut bytes = Vec::new();
        let read = self.input.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|error| WorkloadError::unreadable(self.path, error))? == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let whole = bytes.pop_if(|last| *last == b'\n').is_some();
        if !whole {
            let problem = if bytes.len() > LINE_MAX {
                format!("longer than {LINE_MAX} bytes")
            } else {
                "the file is cut in this line: no newline ends it".to_owned()
            };
            return Err(self.here("line", problem));
        }
        let Ok(text) = String::from_utf8(bytes) else { return Err(self.here("line", "not UTF-8")) };
        if text.chars().any(char::is_control) {
            return Err(self.here("line", "a character in it is not text"));
        }
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let (word, rest) = (word.to_owned(), rest.to_owned());
        Ok(Some(Line { path: self.path.to_owned(), number: self.number, word, rest }))
    }

    /// The next line if it begins with this word.
    pub(super) fn take_if(&mut self, word: &str) -> Result<Option<Line>> {
        match self.next()? {
            Some(line) if line.word == word => Ok(Some(line)),
            other => {
                self.ahead = other;
                Ok(None)
            }
        }
    }

    /// The next line, which has to begin with this word.
    pub(super) fn need(&mut self, word: &str, what: &str) -> Result<Line> {
        match self.take_if(word)? {
            Some(line) => Ok(line),
            None => {
                let found = self
                    .ahead
                    .as_ref()
                    .map_or("the end of the file".to_owned(), |line| crate::workload::quoted(&line.word));
                Err(self.here(word, format!("found {found}; wanted {word:?}: {what}")))
            }
        }
    }

    /// What follows a word, which has to be something.
    pub(super) fn text(&mut self, word: &str) -> Result<String> {
        let line = self.need(word, "a name")?;
        if line.rest.is_empty() { Err(line.invalid("nothing follows")) } else { Ok(line.rest) }
    }

    /// The number that follows a word.
    pub(super) fn number(&mut self, word: &str, range: RangeInclusive<u64>) -> Result<u64> {
        let line = self.need(word, "a number")?;
        line.number(&line.rest, range)
    }

    /// An error about the line that was read last.
    pub(super) fn here(&self, key: &str, problem: impl ToString) -> WorkloadError {
        WorkloadError::invalid(self.path, self.number.max(1), key, problem)
    }
}

impl Line {
    pub(super) fn invalid(&self, problem: impl ToString) -> WorkloadError {
        WorkloadError::invalid(&self.path, self.number, &self.word, problem)
    }

    pub(super) fn quoted(&self) -> String {
        crate::workload::quoted(&self.rest)
    }

    /// Exactly `N` fields.
    pub(super) fn fields<const N: usize>(&self) -> Result<[&str; N]> {
        let mut fields = [""; N];
        let mut found = self.rest.split(' ');
        for field in &mut fields {
            *field = found.next().unwrap_or("");
        }
        match found.next() {
            None if fields.iter().all(|field| !field.is_empty()) => Ok(fields),
            _ => Err(self.invalid(format!("wanted {N} fields"))),
        }
    }

    /// A decimal number in `range`, without sign or leading zeros.
    pub(super) fn number(&self, text: &str, range: RangeInclusive<u64>) -> Result<u64> {
        let digits =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
        match text.parse() {
            Ok(number) if digits && range.contains(&number) => Ok(number),
            _ => Err(self.invalid(format!(
                "found {}; wanted {} to {}",
                crate::workload::quoted(text),
                range.start(),
                range.end()
            ))),
        }
    }
}
