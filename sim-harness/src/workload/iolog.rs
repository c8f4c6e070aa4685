//! fio iologs, versions 2 and 3: what a program really read and wrote.
//!
//! ```text
//! fio version 3 iolog              fio version 2 iolog
//! 0 base/2691 add                  base/2691 add
//! 0 base/2691 open                 base/2691 open
//! 1667 base/2691 read 16384 8192   base/2691 read 16384 8192
//! 5446 base/2691 close             base/2691 wait 3779 0
//! ```
//!
//! Version 3 begins every line with a time in microseconds; version 2 has `wait` instead, whose offset is the time
//! in microseconds since the `wait` before. After the file name come the action and, for I/O, offset and length in
//! bytes. (fio, HOWTO, "Trace file format"; `iolog.c`, `read_iolog`.)
//!
//! fio skips what it cannot read and goes on. Here every line must be right, since a replay that silently left out
//! a line would still report that all is well:
//!
//! * A file must be added before it is opened, and be open when it is read or written. Adding or opening it again
//!   is legal (several processes share files); it stays open until it was closed as often as it was opened.
//! * `sync`, `datasync` and `trim` have no RDMA counterpart. They are counted in [`Ignored`] for the report.
//! * The last line must end with a newline: a cut inside a number would otherwise pass as a smaller number.
//! * Times may run backwards (they do when threads log through one buffer) unless the recorded pace is asked for.
//!   They count from the first line's, so that a log cut out of a longer one begins at 0.
//! * fio drops waits below 100 us, which no sleep can keep. Virtual time can: every wait counts here.
//!
//! A file's extent, from byte 0 to the last byte touched, becomes a region in memory. The extents of one log must
//! stay within [`MAX_MEMORY_BYTES`](super::limits::MAX_MEMORY_BYTES) together, so a sparse file with one block at
//! a terabyte is refused at the line that touches it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use super::error::WorkloadError;
use super::recording::Recording;
use builder::Builder;
use lines::Lines;

mod action;
mod builder;
mod lines;

/// How an iolog begins, whatever its version.
pub(super) const HEADER: &[u8] = b"fio version ";

/// A parsed iolog.
#[derive(Clone, Debug)]
pub struct Iolog {
    /// Version of the format.
    pub version: Version,
    /// The files that were read or written, in the order of their first I/O, and what was done to them.
    pub recording: Arc<Recording>,
    /// What the log holds and a replay leaves out.
    pub ignored: Ignored,
    /// The first line whose time is before that of the line above it.
    backwards_at: Option<u32>,
}

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Without times; `wait` lines pace it.
    V2,
    /// Every line begins with its time.
    V3,
}

/// What an iolog holds and a replay leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// `sync` lines.
    pub sync: u64,
    /// `datasync` lines.
    pub datasync: u64,
    /// `trim` lines.
    pub trim: u64,
    /// Files that were added and never read or written.
    pub untouched_files: u64,
}

impl Iolog {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// [`WorkloadError::Unreadable`] when the file cannot be read, and [`WorkloadError::Invalid`] with line and
    /// field when a line is wrong, or the log holds no I/O or more than the limits allow.
    pub fn load(path: &Path) -> Result<Iolog, WorkloadError> {
        let file = fs::File::open(path).map_err(|e| WorkloadError::unreadable(path, e))?;
        Iolog::parse(path, BufReader::new(file))
    }

    /// Parses a stream, line by line. `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Iolog::load`].
    pub fn parse(path: &Path, input: impl BufRead) -> Result<Iolog, WorkloadError> {
        let mut lines = Lines::new(path, input);
        let Some(header) = lines.next()? else {
            return Err(WorkloadError::invalid(path, 1, "header", "the file is empty"));
        };
        let version =
            action::version(header.text).map_err(|problem| header.invalid(path, "header", problem))?;
        if !header.whole {
            return Err(header.invalid(
                path,
                "header",
                "the file is cut after this line: no newline ends it",
            ));
        }
        let mut builder = Builder::new(path, version);
        while let Some(line) = lines.next()? {
            builder.line(&line)?;
        }
        builder.finish()
    }

    /// Checks that the log can be replayed at its own pace.
    pub(super) fn check_pace(&self, path: &Path) -> Result<(), WorkloadError> {
        if let Some(line) = self.backwards_at {
            let problem =
                "the clock runs backwards here; a log is replayed at its pace only if times never fall";
            return Err(WorkloadError::invalid(path, line, "time", problem));
        }
        if self.version == Version::V2 && self.recording.ops.iter().all(|op| op.at_ns == 0) {
            let problem =
                "version 2 without a wait between its operations has no pace; replay it without pace";
            return Err(WorkloadError::invalid(path, 1, "time", problem));
        }
        Ok(())
    }
}
