//! A file that grows, read as it grows; and bytes that come in pieces, shown as whole lines.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// A file that somebody else appends to.
#[derive(Debug)]
pub(crate) struct Follow {
    path: PathBuf,
    read: u64,
}

impl Follow {
    /// From its beginning. It need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Follow {
        Follow { path, read: 0 }
    }

    /// What came since the last time.
    pub(crate) fn more(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Ok(mut file) = File::open(&self.path) else {
            return bytes;
        };
        // What cannot be read now may be the next time; what was read counts in any case.
        let _ = file.seek(SeekFrom::Start(self.read)).and_then(|_| file.read_to_end(&mut bytes));
        self.read += bytes.len() as u64;
        bytes
    }
}

/// Lines made whole from pieces, each behind a name: two guests may speak at once.
#[derive(Debug)]
pub(crate) struct Lines {
    name: &'static str,
    rest: Vec<u8>,
}

impl Lines {
    /// Of somebody of this name.
    pub(crate) fn of(name: &'static str) -> Lines {
        Lines { name, rest: Vec::new() }
    }

    /// The lines that became whole.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else {
            return Vec::new();
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        String::from_utf8_lossy(&whole).lines().map(|l| format!("    {} | {l}", self.name)).collect()
    }

    /// What is left when nothing more comes.
    pub(crate) fn end(&mut self) -> Vec<String> {
        if self.rest.is_empty() { Vec::new() } else { self.push(b"\n") }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_growing_file_is_read_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("stdout");
        let mut follow = Follow::new(path.clone());
        assert_eq!(follow.more(), b"");
        fs::write(&path, "one").expect("a file");
        assert_eq!((follow.more(), follow.more()), (b"one".to_vec(), Vec::new()));
        fs::write(&path, "one, two").expect("a file");
        assert_eq!(follow.more(), b", two");
    }

    #[test]
    fn lines_are_shown_whole_and_the_last_one_even_without_its_end() {
        let mut lines = Lines::of("smoke");
        assert!(lines.push(b"he").is_empty());
        assert_eq!(lines.push(b"llo\nyou\nth"), ["    smoke | hello", "    smoke | you"]);
        assert_eq!(lines.end(), ["    smoke | th"]);
        assert!(lines.end().is_empty());
    }
}
