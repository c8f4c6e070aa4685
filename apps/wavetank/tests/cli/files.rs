//! Inputs, written to folders that go away with the test.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A right workload of 200 READs; each test changes one thing.
pub(crate) const GOOD: &str = r#"profile = "cx6"
[[node]]
name = "client"
[[node]]
name = "storage"
[[region]]
name = "pages"
node = "storage"
size = "1MiB"
[[op]]
kind = "read"
from = "client"
region = "pages"
size = "8KiB"
[load]
count = 200
"#;

/// A file in a folder of its own.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file");
    (folder, path)
}

/// The right workload, with `from` replaced by `to`.
#[track_caller]
pub(crate) fn workload(from: &str, to: &str) -> (TempDir, PathBuf) {
    assert!(GOOD.contains(from), "{from:?} is not in the right workload");
    file("work.toml", GOOD.replacen(from, to, 1))
}
