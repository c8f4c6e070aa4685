//! What shards printed, added up.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use wavetank_harness::swarm::tally::Tally;

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(super) fn merge(files: &[PathBuf]) -> Result<Tally, String> {
    let parts: Result<Vec<_>, String> =
        files.iter().map(|path| Ok((path.display().to_string(), read(path)?))).collect();
    Tally::merge(parts?).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Tally, String> {
    let name = path.display();
    let unreadable = |error| format!("{name}: cannot be read: {error}");
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{name}: longer than {FILE_BYTES_MAX} bytes"));
    }
    serde_json::from_str(&text).map_err(|error| {
        format!("{name}:{}: not what `wavetank sim --json` prints: {error}", error.line().max(1))
    })
}
