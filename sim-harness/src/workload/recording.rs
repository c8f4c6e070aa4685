//! Operations that were recorded and not drawn: files, and what was done to them in which order.

use std::path::Path;

use wavetank_contract::OpKind;

use super::error::WorkloadError;
use super::limits::{FILE_OFFSET_END, MAX_MEMORY_BYTES, MAX_OP_BYTES};
use super::topology::{Region, STORAGE};
use super::units::Bytes;

/// Files and what was done to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The files, each of which becomes a region on the storage node.
    pub files: Vec<File>,
    /// What was done, in order.
    pub ops: Vec<IoOp>,
}

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Bytes from its start to the last byte that was touched.
    pub extent_bytes: u64,
}

/// One read or write of a recording. 32 bytes: recordings are long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoOp {
    /// When it began, in ns since the start of the recording.
    pub at_ns: u64,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes, at least 1.
    pub len: u32,
    /// Index into [`Recording::files`].
    pub file: u32,
    /// Line that recorded it, or 0 where the recording has no lines.
    pub line: u32,
    /// Which way the bytes go.
    pub kind: IoKind,
}

/// Which way the bytes of a recorded operation go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoKind {
    /// From the file.
    Read,
    /// To the file.
    Write,
}

impl IoKind {
    /// The RDMA operation it becomes.
    pub const fn op(self) -> OpKind {
        match self {
            IoKind::Read => OpKind::Read,
            IoKind::Write => OpKind::Write,
        }
    }
}

impl Recording {
    pub(super) fn posts(&self, kind: OpKind, size: Option<u64>) -> bool {
        let fits = |op: &IoOp| op.kind.op() == kind && size.is_none_or(|bytes| bytes == u64::from(op.len));
        self.ops.iter().any(fits)
    }

    pub(super) fn largest_op_bytes(&self) -> u64 {
        self.ops.iter().map(|op| u64::from(op.len)).max().unwrap_or(0)
    }

    /// One region per file, of the same index.
    pub(super) fn regions(&self) -> Vec<Region> {
        let region =
            |file: &File| Region { name: file.name.clone(), node: STORAGE, bytes: file.extent_bytes };
        self.files.iter().map(region).collect()
    }

    /// Checks a recording that was not parsed here, so that it keeps what the rest relies on.
    pub(super) fn check(&self, path: &Path) -> Result<(), WorkloadError> {
        let total = self.files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.extent_bytes));
        if total.is_none_or(|total| total > MAX_MEMORY_BYTES) {
            let limit = Bytes(MAX_MEMORY_BYTES);
            return Err(WorkloadError::invalid(path, 0, "size", format!("needs more memory than {limit}")));
        }
        for op in &self.ops {
            let file = self.files.get(op.file as usize);
            let end = op.offset.checked_add(u64::from(op.len)).filter(|end| *end < FILE_OFFSET_END);
            let inside = matches!((file, end), (Some(file), Some(end)) if end <= file.extent_bytes);
            if !inside || op.len == 0 || u64::from(op.len) > MAX_OP_BYTES {
                let problem = format!("{} bytes at {} are not inside file {}", op.len, op.offset, op.file);
                return Err(WorkloadError::recording(path, problem));
            }
        }
        Ok(())
    }
}
