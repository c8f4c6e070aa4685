//! Exit status 2: inputs that need more memory than there is. The limit is on the process, so that the tests are the same
//! on small and on large machines; a process that hits it unprepared is aborted.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use wavetank_volume::{Cookie, NeedleId, NewNeedle, VolumeWriter, WriterOptions};

use crate::files::workload;
use crate::program::Ended;

/// `wavetank ARGS` with at most 4 GB of addresses.
fn confined<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> Ended {
    let line = "ulimit -v 4000000; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_wavetank")]).args(args);
    shell.output().expect("a shell").into()
}

#[test]
fn regions_that_do_not_fit_are_refused_with_what_is_needed_and_what_there_is() {
    let (_folder, path) = workload("\"1MiB\"", "\"6GiB\"");
    let ended = confined(["replay".as_ref(), path.as_os_str()]);
    ended.refused(&path.display().to_string(), &["needs 6144 MiB", "MiB are available"]);
}

#[test]
fn what_fits_runs_under_the_same_limit() {
    let (_folder, path) = workload("\"1MiB\"", "\"64MiB\"");
    let report = confined(["replay".as_ref(), path.as_os_str(), "--json".as_ref()]).json();
    assert_eq!(report["ok"], true);
}

#[test]
fn a_volume_that_does_not_fit_is_refused_before_it_is_read() {
    let mut writer = VolumeWriter::new(WriterOptions::default());
    writer.put(&NewNeedle::new(NeedleId(1), Cookie(7), b"small")).expect("it fits");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dat = writer.write_to(folder.path(), "3").expect("two files");
    // A hole: nothing of it is on the disk.
    fs::File::options().write(true).open(&dat).and_then(|dat| dat.set_len(8 << 30)).expect("a longer file");
    let ended = confined(["replay".as_ref(), "--volume".as_ref(), dat.as_os_str()]);
    ended.refused(&dat.display().to_string(), &["needs 16384 MiB", "MiB are available"]);
}
