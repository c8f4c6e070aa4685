//! Workloads: what `wavetank replay FILE` reads, checked before anything is allocated or run.
//!
//! A workload is a TOML file, or a recording: a fio iolog, a SeaweedFS volume or a [recorded run](crate::record). All become
//! one [`Workload`], and a [`Generator`] yields its operations, the same ones for the same file and seed on every machine.
//!
//! ```toml
//! seed = 1                       # default 1
//! profile = "cx6"                # the device to simulate: ideal, rxe, cx6, or a file as in "mine.toml": see `profile`
//! mtu = 4096                     # 256, 512, 1024, 2048 or 4096 (default)
//! queue_pairs = 1                # per pair of nodes
//! chunk = "256KiB"               # transfers are cut into chunks of this size
//! window = 8                     # chunks in flight per transfer
//! deadline = "2s"                # per operation; default: none
//! signal_every = 1               # every n-th work is signalled
//!
//! [[node]]
//! name = "client"
//! [[node]]
//! name = "storage"
//!
//! [[region]]
//! name = "pages"
//! node = "storage"
//! size = "64MiB"
//!
//! [[op]]
//! kind = "read"                  # read, write, write_imm, fetch_add, compare_swap; or send, with `to` for `region`
//! from = "client"
//! region = "pages"
//! size = "8KiB"                  # or a distribution: see `size`
//! place = "uniform"              # or sequential, or zipf: see `place`
//! align = 8                      # of offsets, a power of two
//! weight = 70                    # among all operations; default 1
//!
//! [load]
//! arrival = "closed"             # or "open", with rate = "1M/s"
//! concurrency = 32               # operations in flight at most
//! count = 100000                 # or duration = "10ms"
//!
//! [expect]
//! throughput_min = "1GiB/s"
//! [[expect.latency]]
//! op = "read"
//! size = "8KiB"                  # default: any
//! p99 = "20us"                   # any of p50, p90, p99, p999, max
//! ```
//!
//! A recording takes `[source]` (see [`source`]) in place of nodes, regions and operations. Sizes are bytes or
//! strings with binary units, durations are strings (or integers under `duration_ns`, `deadline_ns`, `p99_ns`).
//! Every bound is in [`limits`]. Every error names file, line and key.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::WorkloadError;
pub(crate) use error::quote as quoted;
pub use expect::{Ceiling, Expect, LatencyCeiling, Percentile, ThroughputFloor};
pub use generator::{Generator, Planned};
pub use iolog::Iolog;
pub use load::{Arrival, Load, Stop};
pub use op::Op;
pub use place::Place;
pub use profile::{load_profile, named_profile, profile_text};
pub use recording::Recording;
pub use settings::{Patience, Settings};
pub use size::Sizes;
pub use source::Source;
pub(crate) use topology::listed;
pub use topology::{Node, NodeId, Region, RegionId};

use crate::record::{self, RecordedRun};

pub(crate) mod document;
mod error;
mod expect;
mod generator;
pub mod iolog;
pub mod limits;
mod load;
mod mix;
mod op;
pub mod place;
pub(crate) mod profile;
pub mod recording;
mod settings;
pub mod size;
pub mod source;
mod toml_file;
mod topology;
pub mod units;
mod weights;
mod zipf;

/// A validated workload: everything in it can be run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name: the file's, unless the file gives another.
    pub name: String,
    /// The file it came from.
    pub path: PathBuf,
    /// Seed, device and transfer settings.
    pub settings: Settings,
    /// The nodes, at least two.
    pub nodes: Vec<Node>,
    /// The regions. A volume has none until it is brought.
    pub regions: Vec<Region>,
    /// How operations arrive and when they end.
    pub load: Load,
    /// Where the operations come from.
    pub source: Source,
    /// What the run must keep to.
    pub expect: Expect,
}

impl Workload {
    /// Reads a workload: a fio iolog or a recorded run if the file begins like one, otherwise TOML.
    ///
    /// # Errors
    /// [`WorkloadError`] with file, line and key.
    pub fn load(path: &Path) -> Result<Workload, WorkloadError> {
        let unreadable = |e| WorkloadError::unreadable(path, e);
        let mut input = BufReader::new(File::open(path).map_err(unreadable)?);
        let beginning = input.fill_buf().map_err(unreadable)?;
        if beginning.starts_with(iolog::HEADER) {
            return Workload::of_iolog(path, Iolog::parse(path, input)?);
        }
        if beginning.starts_with(record::HEADER) {
            return Workload::of_run(path, RecordedRun::parse(path, input)?);
        }
        let mut bytes = Vec::new();
        input.take(limits::MAX_TOML_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Workload::parse(path, &bytes)
    }

    /// Parses the text of a TOML workload. Files it names are found relative to `path`.
    ///
    /// # Errors
    /// [`WorkloadError`] with file, line and key.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Workload, WorkloadError> {
        let neither = "not UTF-8, so neither a TOML workload nor a fio iolog";
        toml_file::parse(path, document::text(path, text, "a workload", neither)?)
    }

    /// A fio iolog under default settings: `cx6`, a closed load of 32 operations in flight, all of the log.
    ///
    /// # Errors
    /// [`WorkloadError`] with file, line and field.
    pub fn from_iolog(path: &Path) -> Result<Workload, WorkloadError> {
        Workload::of_iolog(path, Iolog::load(path)?)
    }

    fn of_iolog(path: &Path, log: Iolog) -> Result<Workload, WorkloadError> {
        let (regions, recording) = (log.recording.regions(), log.recording.clone());
        let source = Source::Iolog { path: path.to_owned(), log };
        let workload = Workload { regions, ..Workload::recorded(path, source) };
        workload.check_recording_fits(&recording)?;
        Ok(workload)
    }

    /// A recorded run, to be issued again as it was: the same operations in the same order, each when as many others had
    /// ended.
    ///
    /// # Errors
    /// [`WorkloadError::Invalid`] when what was in flight at a time takes more memory than a run may have.
    pub fn of_run(path: &Path, run: RecordedRun) -> Result<Workload, WorkloadError> {
        let (load, run) = (
            Load { arrival: Arrival::Closed, concurrency: run.concurrency().max(1), stop: Stop::End },
            Arc::new(run),
        );
        let workload = Workload {
            name: run.workload.clone(),
            path: path.to_owned(),
            settings: run.settings.clone(),
            nodes: run.nodes.clone(),
            regions: run.regions.clone(),
            load,
            source: Source::Run { path: path.to_owned(), run },
            expect: Expect::default(),
        };
        let (needed, limit) = (units::Bytes(workload.memory_bytes()), units::Bytes(limits::MAX_MEMORY_BYTES));
        if needed > limit {
            let problem = format!("what was in flight, and the regions, need {needed}; the limit is {limit}");
            return Err(WorkloadError::recording(path, problem));
        }
        Ok(workload)
    }

    /// Defaults must fit too: 32 operations of 1 GiB in flight do not.
    fn check_recording_fits(&self, recording: &Recording) -> Result<(), WorkloadError> {
        let (needed, limit) = (units::Bytes(self.memory_bytes()), units::Bytes(limits::MAX_MEMORY_BYTES));
        if needed <= limit {
            return Ok(());
        }
        let in_flight = self.load.concurrency;
        let problem = format!(
            "{in_flight} operations like this in flight, and all files, need {needed}; the limit is {limit}, so \
             write a workload with [source] and a smaller load.concurrency"
        );
        Err(match recording.ops.iter().max_by_key(|op| op.len) {
            Some(largest) if largest.line > 0 => {
                WorkloadError::invalid(&self.path, largest.line, "length", problem)
            }
            _ => WorkloadError::recording(&self.path, problem),
        })
    }

    /// A SeaweedFS volume under default settings. Its needles are still to be brought.
    pub fn from_volume(path: &Path) -> Workload {
        Workload::recorded(path, Source::Volume { path: path.to_owned(), needles: None })
    }

    fn recorded(path: &Path, source: Source) -> Workload {
        Workload {
            name: stem(path),
            path: path.to_owned(),
            settings: Settings::default(),
            nodes: topology::client_and_storage(),
            regions: Vec::new(),
            load: Load { arrival: Arrival::Closed, concurrency: load::CONCURRENCY, stop: Stop::End },
            source,
            expect: Expect::default(),
        }
    }

    /// Gives a volume workload the contents of its volume: one file, and a read for each needle.
    ///
    /// # Errors
    /// [`WorkloadError::Recording`] when a needle is outside the volume or all of it needs too much memory.
    pub fn bring_volume(&mut self, recording: Recording) -> Result<(), WorkloadError> {
        let Source::Volume { path, needles } = &mut self.source else {
            return Err(WorkloadError::invalid(
                &self.path,
                1,
                "volume",
                "this workload has no volume to bring",
            ));
        };
        recording.check(path)?;
        self.regions = recording.regions();
        let recording = Arc::new(recording);
        *needles = Some(recording.clone());
        self.check_recording_fits(&recording)
    }

    /// Asks for the recorded pace. Only an iolog has one.
    ///
    /// # Errors
    /// [`WorkloadError::Invalid`] when there is no recording, or its clock stands still or runs backwards.
    pub fn set_recorded_pace(&mut self) -> Result<(), WorkloadError> {
        let Source::Iolog { path, log } = &self.source else {
            return Err(WorkloadError::invalid(&self.path, 1, "pace", "only an iolog has a recorded pace"));
        };
        log.check_pace(path)?;
        self.load.arrival = Arrival::Recorded;
        Ok(())
    }

    /// Bytes a run needs: the regions, and a buffer for each operation that may be in flight.
    pub fn memory_bytes(&self) -> u64 {
        let buffers = u64::from(self.load.concurrency).saturating_mul(self.source.largest_buffers_bytes());
        self.regions.iter().fold(buffers, |sum, region| sum.saturating_add(region.bytes))
    }

    /// An error about a line of this workload.
    pub(crate) fn problem(&self, line: u32, key: &str, problem: String) -> WorkloadError {
        WorkloadError::invalid(&self.path, line, key, problem)
    }

    /// A place in the file that operations come from, as `file:line`.
    pub fn cite_source(&self, line: u32) -> String {
        match &self.source {
            Source::Iolog { path, .. } | Source::Run { path, .. } => format!("{}:{line}", path.display()),
            Source::Mix(_) | Source::Volume { .. } => self.cite(line),
        }
    }

    /// A place in the file, as `file:line`.
    pub fn cite(&self, line: u32) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
