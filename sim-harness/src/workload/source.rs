//! Where the operations come from: a mix that is drawn, or something recorded (`[source]`).
//!
//! ```toml
//! [source]
//! iolog = "pgbench-8k.iolog"   # a fio iolog, relative to this file
//! pace = true                  # as fast as it was recorded; default: as fast as the window allows
//! # or
//! volume = "7.dat"             # a SeaweedFS volume, with its .idx beside it
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wavetank_contract::OpKind;

use super::document::{Table, Value};
use super::error::WorkloadError;
use super::iolog::Iolog;
use super::load::Arrival;
use super::op::Op;
use super::recording::{IoKind, Recording};
use crate::record::RecordedRun;

/// Where the operations come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Drawn from `[[op]]` tables.
    Mix(Vec<Op>),
    /// A fio iolog: each file a region of the storage node, each read a READ and each write a WRITE of the client.
    Iolog {
        /// The iolog.
        path: PathBuf,
        /// What it says.
        log: Iolog,
    },
    /// A SeaweedFS volume: each needle a READ of the client.
    Volume {
        /// The `.dat` file.
        path: PathBuf,
        /// Its needles, once [`Workload::bring_volume`](super::Workload::bring_volume) has brought them.
        needles: Option<Arc<Recording>>,
    },
    /// A recorded run: its operations, as they were submitted.
    Run {
        /// The file.
        path: PathBuf,
        /// What it says.
        run: Arc<RecordedRun>,
    },
}

impl Source {
    /// Reads `[source]`, and the iolog it names.
    pub(super) fn read(value: &Value<'_>, workload: &Path) -> Result<(Source, Arrival), WorkloadError> {
        let table = value.table(&["iolog", "volume", "pace"])?;
        let pace = match table.get("pace") {
            Some(pace) => pace.flag()?.then_some(pace),
            None => None,
        };
        let (source, arrival) = match (table.get("iolog"), table.get("volume")) {
            (Some(iolog), None) => {
                let path = beside(workload, &iolog)?;
                let log = Iolog::load(&path)?;
                if pace.is_some() {
                    log.check_pace(&path)?;
                }
                (Source::Iolog { path, log }, pace.map_or(Arrival::Closed, |_| Arrival::Recorded))
            }
            (None, Some(volume)) => {
                if let Some(pace) = pace {
                    return Err(pace.error("a volume has no pace; remove it"));
                }
                (Source::Volume { path: beside(workload, &volume)?, needles: None }, Arrival::Closed)
            }
            _ => return Err(table.error("give exactly one of iolog and volume")),
        };
        Ok((source, arrival))
    }

    /// Refuses what only a mix has.
    pub(super) fn refuse_mix_keys(top: &Table<'_>) -> Result<(), WorkloadError> {
        for key in ["node", "region", "op"] {
            if let Some(value) = top.get(key) {
                return Err(
                    value.error("[source] brings its own nodes, regions and operations; remove one of them")
                );
            }
        }
        Ok(())
    }

    /// Whether an operation like this is ever posted. A volume that is not brought yet may hold any size.
    pub(super) fn posts(&self, kind: OpKind, size: Option<u64>) -> bool {
        match self {
            Source::Mix(mix) => mix.iter().any(|op| op.posts(kind, size)),
            Source::Iolog { log, .. } => log.recording.posts(kind, size),
            Source::Volume { needles: Some(needles), .. } => needles.posts(kind, size),
            Source::Volume { needles: None, .. } => kind == OpKind::Read,
            Source::Run { run, .. } => {
                run.submits().any(|op| op.kind == kind && size.is_none_or(|bytes| bytes == u64::from(op.len)))
            }
        }
    }

    fn recording(&self) -> Option<&Recording> {
        match self {
            Source::Mix(_) | Source::Run { .. } => None,
            Source::Iolog { log, .. } => Some(&log.recording),
            Source::Volume { needles, .. } => needles.as_deref(),
        }
    }

    /// How many operations were recorded; none for a mix, which goes on as long as it is asked to.
    pub(crate) fn recorded_ops(&self) -> Option<u64> {
        match self {
            Source::Run { run, .. } => Some(run.submits().count() as u64),
            _ => self.recording().map(|recording| recording.ops.len() as u64),
        }
    }

    /// The longest operation, in bytes.
    pub(crate) fn largest_op_bytes(&self) -> u64 {
        match (self, self.recording()) {
            (Source::Mix(mix), _) => mix.iter().map(|op| op.sizes.max().into()).max().unwrap_or(0),
            (Source::Run { run, .. }, _) => run.submits().map(|op| op.len.into()).max().unwrap_or(0),
            (_, recording) => recording.map_or(0, Recording::largest_op_bytes),
        }
    }

    /// The files of a recording that it writes to.
    pub(crate) fn written_files(&self) -> BTreeSet<u32> {
        let ops = self.recording().into_iter().flat_map(|recording| &recording.ops);
        ops.filter(|op| op.kind == IoKind::Write).map(|op| op.file).collect()
    }

    /// How many different sizes its operations have; for a distribution, as many as it can give.
    pub(crate) fn distinct_sizes(&self) -> usize {
        match (self, self.recording()) {
            (Source::Mix(mix), _) => mix.iter().map(|op| op.sizes.count()).fold(0, usize::saturating_add),
            (Source::Run { run, .. }, _) => run.submits().map(|op| op.len).collect::<BTreeSet<_>>().len(),
            (_, Some(recording)) => recording.ops.iter().map(|op| op.len).collect::<BTreeSet<_>>().len(),
            (_, None) => 0,
        }
    }

    /// The bytes of buffers that one operation in flight may need: at the poster, and for a SEND at the receiver.
    pub(super) fn largest_buffers_bytes(&self) -> u64 {
        match self {
            Source::Mix(mix) => mix.iter().map(buffers_bytes).max().unwrap_or(0),
            Source::Iolog { log, .. } => log.recording.largest_op_bytes().next_power_of_two(),
            // A message has a buffer at either end.
            Source::Run { .. } => 2 * self.largest_op_bytes().next_power_of_two(),
            Source::Volume { needles, .. } => {
                needles.as_ref().map_or(0, |n| n.largest_op_bytes().next_power_of_two())
            }
        }
    }
}

fn buffers_bytes(op: &Op) -> u64 {
    let sides = if op.kind == OpKind::Send { 2 } else { 1 };
    // Buffers come in powers of two.
    sides * u64::from(op.sizes.max()).next_power_of_two()
}

/// A file named relative to the workload, which must be there.
fn beside(workload: &Path, value: &Value<'_>) -> Result<PathBuf, WorkloadError> {
    let path = workload.parent().unwrap_or(Path::new("")).join(value.text()?);
    match path.metadata() {
        Ok(meta) if meta.is_file() => Ok(path),
        Ok(_) => Err(value.error(format!("{} is not a file", path.display()))),
        Err(e) => Err(value.error(format!("{} cannot be read: {e}", path.display()))),
    }
}
