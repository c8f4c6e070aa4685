//! Lines of text from a stream, none buffered past its allowed length.

use std::io::{BufRead, Read};
use std::path::Path;

use crate::workload::error::WorkloadError;
use crate::workload::limits::MAX_IOLOG_LINE_BYTES;

/// Reads line after line into one buffer.
#[derive(Debug)]
pub(super) struct Lines<'p, R> {
    path: &'p Path,
    input: R,
    buffer: Vec<u8>,
    number: u32,
}

/// One line, without its newline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'l> {
    pub(super) text: &'l str,
    /// From 1.
    pub(super) number: u32,
    /// Whether a newline ended it.
    pub(super) whole: bool,
}

impl Line<'_> {
    pub(super) fn invalid(&self, path: &Path, field: &str, problem: impl ToString) -> WorkloadError {
        WorkloadError::invalid(path, self.number, field, problem)
    }
}

impl<'p, R: BufRead> Lines<'p, R> {
    pub(super) fn new(path: &'p Path, input: R) -> Lines<'p, R> {
        Lines { path, input, buffer: Vec::new(), number: 0 }
    }

    /// The next line; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, WorkloadError> {
        self.buffer.clear();
        // One byte more than a line may have, and its newline: enough to see that it is too long, and no more.
        let most = MAX_IOLOG_LINE_BYTES as u64 + 2;
        let read = self.input.by_ref().take(most).read_until(b'\n', &mut self.buffer);
        if read.map_err(|e| WorkloadError::unreadable(self.path, e))? == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let whole = self.buffer.pop_if(|last| *last == b'\n').is_some();
        let invalid = |problem: String| Err(WorkloadError::invalid(self.path, self.number, "line", problem));
        if self.number == u32::MAX {
            return invalid("an iolog has at most 2^32 - 2 lines".to_owned());
        }
        if self.buffer.len() > MAX_IOLOG_LINE_BYTES {
            return invalid(format!("longer than {MAX_IOLOG_LINE_BYTES} bytes"));
        }
        let text = match std::str::from_utf8(&self.buffer) {
            Ok(text) => text,
            Err(e) => {
                let (at, byte) = (e.valid_up_to(), self.buffer[e.valid_up_to()]);
                return invalid(format!("byte {byte:#04x} in column {} is not UTF-8", at + 1));
            }
        };
        let control = |b: u8| (b < b' ' && b != b'\t' && b != b'\r') || b == 0x7f;
        if let Some(at) = text.bytes().position(control) {
            let byte = text.as_bytes()[at];
            return invalid(format!("byte {byte:#04x} in column {} is not text", at + 1));
        }
        Ok(Some(Line { text, number: self.number, whole }))
    }
}
