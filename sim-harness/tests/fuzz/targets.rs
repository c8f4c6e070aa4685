//! The targets: functions of bytes that never panic.

use std::fmt::Display;
use std::path::Path;

use wavetank_harness::WorkloadError;
use wavetank_harness::fault::schedule::{Names, Schedule};
use wavetank_harness::record::RecordedRun;
use wavetank_harness::swarm::choices::Bytes;
use wavetank_harness::swarm::file::SimFile;
use wavetank_harness::swarm::{draw, run};
use wavetank_harness::workload::limits::MAX_MEMORY_BYTES;
use wavetank_harness::workload::{Iolog, Workload};

/// What is not taken is refused with a line, in one line.
fn taken<T>(parsed: Result<T, WorkloadError>) -> Option<T> {
    if let Err(error) = &parsed {
        assert!(error.line().is_some_and(|line| line > 0), "{error}");
        in_one_line(error);
    }
    parsed.ok()
}

fn in_one_line(error: &dyn Display) {
    assert!(!error.to_string().contains(|c: char| c.is_control()), "{error}");
}

/// A workload in TOML: one that is taken keeps the limits.
pub(crate) fn workload(bytes: &[u8]) {
    if let Some(workload) = taken(Workload::parse(Path::new("w.toml"), bytes)) {
        assert!(workload.memory_bytes() <= MAX_MEMORY_BYTES);
    }
}

/// A schedule of faults: one that is taken is written as one that is the same.
pub(crate) fn schedule(bytes: &[u8]) {
    let words = |words: [&str; 2]| words.map(str::to_owned).to_vec();
    let names = Names { nodes: words(["client", "storage"]), regions: words(["pages", "log"]) };
    let Some(schedule) = taken(Schedule::parse(Path::new("s.toml"), bytes, &names)) else { return };
    let written = schedule.to_toml(&names);
    let again = Schedule::parse(Path::new("s.toml"), written.as_bytes(), &names);
    let again = again.unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!((again.patience, &again.faults), (schedule.patience, &schedule.faults), "{written}");
}

/// A log of fio: one that is taken stays inside its extents.
pub(crate) fn iolog(bytes: &[u8]) {
    let Some(log) = taken(Iolog::parse(Path::new("x.iolog"), bytes)) else { return };
    let files = &log.recording.files;
    for op in &log.recording.ops {
        assert!(op.len > 0 && op.offset + u64::from(op.len) <= files[op.file as usize].extent_bytes);
    }
}

/// A swarm run: one that is taken is written as one that is the same.
pub(crate) fn sim_file(bytes: &[u8]) {
    let Some(file) = taken(SimFile::parse(Path::new("r.sim"), bytes)) else { return };
    let written = file.to_string();
    let again = SimFile::parse(Path::new("r.sim"), written.as_bytes());
    assert_eq!(again.unwrap_or_else(|error| panic!("{error}\n{written}")), file, "{written}");
}

/// A recorded run.
pub(crate) fn recording(bytes: &[u8]) {
    let parsed = RecordedRun::parse(Path::new("r.sim"), bytes);
    let Ok(run) = parsed.inspect_err(|error| in_one_line(error)) else { return };
    let mut written = Vec::new();
    run.write(&mut written).expect("memory has room");
    let again = RecordedRun::parse(Path::new("r.sim"), &written[..]);
    assert!(again.is_ok(), "{}", String::from_utf8_lossy(&written));
}

/// Chance as bytes: 8 for the seed that draws the plan, the rest for every choice of its run. Whatever they are, every check
/// holds, and it comes to an end.
pub(crate) fn choices(bytes: &[u8]) {
    let (seed, rest) = bytes.split_at(bytes.len().min(8));
    let mut little_endian = [0; 8];
    little_endian[..seed.len()].copy_from_slice(seed);
    let plan = draw(u64::from_le_bytes(little_endian));
    let verdict = run(&plan, Bytes::new(rest));
    assert!(verdict.failure.is_none(), "{:?}", verdict.failure);
}
