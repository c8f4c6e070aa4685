//! Fault schedules as files: what is done to a run and when, in TOML. The same schedule runs on the simulated network and,
//! as far as `tc(8)` and `ip(8)` can do it, between devices.
//!
//! ```toml
//! [connection]                       # how long connections hold out
//! timeout = 14                       # ACK timeout code: 4.096 us * 2^14 = 67 ms (the default)
//! retry_cnt = 6                      # repetitions after silence, at most 6 (the default)
//!
//! [[fault]]
//! at = "2ms"                         # when: at a time,
//! # op = 17                          # or as operation 17 begins, counted from 0;
//! # connection = 3                   #    with `connection`: as its operation 17 begins
//! # one_in = 1000                    # or by chance, as any operation begins
//! between = ["client", "storage"]    # where: both directions, or one: from = "client", to = "storage"
//! lose = { one_in = 100, burst = 3 } # what: see below
//! for = "30ms"                       # how long; without it until the end
//!
//! [[fault]]
//! op = 100
//! node = "storage"
//! device = "port-down"               # or host = "pause"
//! for = "1ms"
//!
//! [[fault]]
//! one_in = 5000
//! region = "pages"
//! memory = "roll-key"
//! ```
//!
//! | where | what |
//! |---|---|
//! | `between`, or `from` and `to` | `cut = true`, `lose_nth = 4`, `lose = { one_in, burst }`, `duplicate = { one_in }`, `reorder = { one_in, by }`, `delay = "5ms"`, `corrupt = { one_in }`, `truncate = { one_in }`, `throttle = 25` (percent left), `mend = true` |
//! | `node`, `device` | `port-down`, `port-up`, `remove`, `change-gid`, `lose-notification`, `fail-registration` (with `nth`), `place-out-of-order`, `shuffle-completions`, `pause` (with `for`), `shallow-buffer` (with `bytes`), `mark-congestion` |
//! | `node`, `host` | `pause`, `resume`, `crash`, `restart`, `restart-same`, `client-death` |
//! | `region`, `memory` | `deregister`, `roll-key`, `revoke-window`, `change-source` |

mod read;
mod what;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Fault;
use crate::workload::document::{self, Document};
use crate::workload::limits::MAX_TOML_BYTES;
use crate::workload::{Patience, Workload, WorkloadError};

/// Faults of a schedule, at most: each is looked at as every operation begins.
pub const MAX_FAULTS: usize = 1024;

/// The names that a schedule may use, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Nodes.
    pub nodes: Vec<String>,
    /// Regions.
    pub regions: Vec<String>,
}

impl Names {
    /// The names of a workload.
    pub fn of(workload: &Workload) -> Names {
        Names {
            nodes: workload.nodes.iter().map(|node| node.name.clone()).collect(),
            regions: workload.regions.iter().map(|region| region.name.clone()).collect(),
        }
    }
}

/// A fault schedule: everything in it can be asked of a run over the nodes and regions it was read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The file it came from.
    pub path: PathBuf,
    /// What connections are set to.
    pub patience: Patience,
    /// The faults, in the order of the file; one `between` two nodes is two, one for each direction.
    pub faults: Vec<Fault>,
    /// The line of each fault in the file.
    pub lines: Vec<u32>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        let (path, faults, lines) = (PathBuf::new(), Vec::new(), Vec::new());
        Schedule { path, patience: Patience::DISTURBED, faults, lines }
    }
}

impl Schedule {
    /// Reads a schedule for a run over these nodes and regions.
    ///
    /// # Errors
    /// [`WorkloadError`] with file, line and key.
    pub fn read(path: &Path, names: &Names) -> Result<Schedule, WorkloadError> {
        let unreadable = |e| WorkloadError::unreadable(path, e);
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_TOML_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Schedule::parse(path, &bytes, names)
    }

    /// Parses the text of a schedule; errors name `path`.
    ///
    /// # Errors
    /// [`WorkloadError`] with file, line and key.
    pub fn parse(path: &Path, text: &[u8], names: &Names) -> Result<Schedule, WorkloadError> {
        let text = document::text(path, text, "a schedule", "not UTF-8, so no TOML schedule")?;
        let document = Document::new(path, text);
        let tree = document.tree()?;
        read::schedule(path, &document.top(&tree, &["connection", "fault"])?, names)
    }

    /// The schedule as TOML, which reads as the same schedule again: one table for each fault.
    ///
    /// Faults that programs draw may say what a schedule cannot; [`super::parse_line`] reads those.
    pub fn to_toml(&self, names: &Names) -> String {
        write::toml(self, names)
    }

    /// A fault's place, as `file:line`.
    pub fn cite(&self, fault: usize) -> String {
        format!("{}:{}", self.path.display(), self.lines.get(fault).copied().unwrap_or_default())
    }
}
