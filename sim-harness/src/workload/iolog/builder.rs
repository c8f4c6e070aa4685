//! Lines put together: which files exist and are open, what time it is, what was read and written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::action::{self, Action, Entry, FieldError};
use super::lines::Line;
use super::{Ignored, Iolog, Version};
use crate::workload::error::{WorkloadError, quote};
use crate::workload::limits::{MAX_IOLOG_OPS, MAX_MEMORY_BYTES, MAX_REGIONS, MAX_TIME_NS};
use crate::workload::recording::{File, IoKind, IoOp, Recording};
use crate::workload::units::{Bytes, Nanos};

#[derive(Debug)]
pub(super) struct Builder<'p> {
    path: &'p Path,
    version: Version,
    names: BTreeMap<String, Named>,
    recording: Recording,
    extents_bytes: u64,
    ignored: Ignored,
    /// Time of the first line: version 3 counts from it.
    origin_us: Option<u64>,
    now_us: u64,
    backwards_at: Option<u32>,
    last_line: u32,
}

/// What is known of a file name.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    /// Opened this often more than closed.
    open: u32,
    /// Index into the recording's files, from the first I/O on.
    file: Option<u32>,
}

impl<'p> Builder<'p> {
    pub(super) fn new(path: &'p Path, version: Version) -> Builder<'p> {
        Builder {
            path,
            version,
            names: BTreeMap::new(),
            recording: Recording::default(),
            extents_bytes: 0,
            ignored: Ignored::default(),
            origin_us: None,
            now_us: 0,
            backwards_at: None,
            last_line: 1,
        }
    }

    pub(super) fn line(&mut self, line: &Line<'_>) -> Result<(), WorkloadError> {
        self.last_line = line.number;
        if !line.whole {
            let field = action::last_field(self.version, line.text);
            let last = quote(line.text.split_ascii_whitespace().last().unwrap_or(""));
            let problem = format!("the file is cut at {last}: no newline ends its last line");
            return Err(line.invalid(self.path, field, problem));
        }
        action::entry(self.version, line.text)
            .and_then(|entry| self.entry(&entry, line.number))
            .map_err(|(field, problem)| line.invalid(self.path, field, problem))
    }

    fn entry(&mut self, entry: &Entry<'_>, line: u32) -> Result<(), FieldError> {
        if self.version == Version::V3 {
            let origin_us = *self.origin_us.get_or_insert(entry.time_us);
            let time_us = entry.time_us.saturating_sub(origin_us);
            if (time_us < self.now_us || entry.time_us < origin_us) && self.backwards_at.is_none() {
                self.backwards_at = Some(line);
            }
            self.set_time(time_us, "time")?;
        }
        match entry.action {
            Action::Add => self.add(entry.file),
            Action::Open => {
                let named = self.named(entry.file)?;
                named.open = named.open.saturating_add(1);
                Ok(())
            }
            Action::Close => self.close(entry.file),
            Action::Io { kind, offset, len, end } => self.io(entry.file, kind, offset, len, end, line),
            Action::Wait { us } => self.set_time(self.now_us.saturating_add(us), "offset"),
            Action::Sync => count(&mut self.ignored.sync),
            Action::Datasync => count(&mut self.ignored.datasync),
            Action::Trim => count(&mut self.ignored.trim),
        }
    }

    fn set_time(&mut self, us: u64, field: &'static str) -> Result<(), FieldError> {
        if us > MAX_TIME_NS / 1000 {
            let limit = Nanos(MAX_TIME_NS);
            return Err((field, format!("{us} us after the start is more than a run may take ({limit})")));
        }
        self.now_us = us;
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<(), FieldError> {
        if self.names.contains_key(name) {
            return Ok(());
        }
        if self.names.len() as u64 == MAX_REGIONS {
            return Err(("file", format!("more than {MAX_REGIONS} files; each becomes a region")));
        }
        self.names.insert(name.to_owned(), Named::default());
        Ok(())
    }

    fn named(&mut self, name: &str) -> Result<&mut Named, FieldError> {
        let unknown =
            || ("file", format!("{} was never added; a file is added, then opened, then used", quote(name)));
        self.names.get_mut(name).ok_or_else(unknown)
    }

    fn open_file(&mut self, name: &str) -> Result<&mut Named, FieldError> {
        let named = self.named(name)?;
        if named.open == 0 {
            return Err((
                "file",
                format!("{} is not open here; a file is added, then opened, then used", quote(name)),
            ));
        }
        Ok(named)
    }

    fn close(&mut self, name: &str) -> Result<(), FieldError> {
        self.open_file(name)?.open -= 1;
        Ok(())
    }

    fn io(
        &mut self,
        name: &str,
        kind: IoKind,
        offset: u64,
        len: u32,
        end: u64,
        line: u32,
    ) -> Result<(), FieldError> {
        let next = self.recording.files.len() as u32;
        let file = *self.open_file(name)?.file.get_or_insert(next);
        if file == next {
            self.recording.files.push(File { name: name.to_owned(), extent_bytes: 0 });
        }
        let extent = &mut self.recording.files[file as usize].extent_bytes;
        let growth = end.saturating_sub(*extent);
        *extent += growth;
        self.extents_bytes = self.extents_bytes.saturating_add(growth);
        if self.extents_bytes > MAX_MEMORY_BYTES {
            let (total, limit) = (Bytes(self.extents_bytes), Bytes(MAX_MEMORY_BYTES));
            let why = "each file is held in memory from byte 0 to the last byte touched";
            return Err(("offset", format!("makes the files {total} together, the limit is {limit}; {why}")));
        }
        if self.recording.ops.len() as u64 == MAX_IOLOG_OPS {
            return Err((
                "action",
                format!("more than {MAX_IOLOG_OPS} reads and writes; replay a part of the log"),
            ));
        }
        self.recording.ops.push(IoOp { at_ns: self.now_us * 1000, offset, len, file, line, kind });
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Iolog, WorkloadError> {
        if self.recording.ops.is_empty() {
            let problem = "the log ends without a read or a write: there is nothing to replay";
            return Err(WorkloadError::invalid(self.path, self.last_line, "action", problem));
        }
        self.ignored.untouched_files =
            self.names.values().filter(|named| named.file.is_none()).count() as u64;
        Ok(Iolog {
            version: self.version,
            recording: Arc::new(self.recording),
            ignored: self.ignored,
            backwards_at: self.backwards_at,
        })
    }
}

fn count(ignored: &mut u64) -> Result<(), FieldError> {
    *ignored += 1;
    Ok(())
}
