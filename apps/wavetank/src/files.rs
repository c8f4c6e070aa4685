//! Files that the program reads and writes beside workloads: recorded runs and profiles.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use wavetank_harness::record::{EVENTS_MAX, RecordedRun};
use wavetank_harness::workload::{WorkloadError, load_profile, named_profile};
use wavetank_mock::Profile;

/// Opens a file to write to.
pub(crate) fn create(path: &Path) -> Result<BufWriter<File>, String> {
    let file =
        File::create(path).map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    Ok(BufWriter::new(file))
}

/// Writes a recorded run.
pub(crate) fn record(
    path: &Path,
    file: &mut BufWriter<File>,
    run: Option<&RecordedRun>,
) -> Result<(), String> {
    let path = path.display();
    let Some(run) = run else {
        return Err(format!("{path}: a recording has at most {EVENTS_MAX} events, and this run had more"));
    };
    run.write(file).and_then(|()| file.flush()).map_err(|error| format!("{path}: cannot be written: {error}"))
}

/// Reads a recorded run.
pub(crate) fn recorded(path: &Path) -> Result<RecordedRun, String> {
    let file = File::open(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    RecordedRun::parse(path, BufReader::new(file)).map_err(|error| error.to_string())
}

/// A profile: one that everybody has, or a file.
pub(crate) fn profile(asked: &str) -> Result<Profile, WorkloadError> {
    match named_profile(asked) {
        Some(profile) => Ok(profile),
        None => load_profile(Path::new(asked)),
    }
}
