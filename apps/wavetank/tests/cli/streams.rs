//! Readers that go away, disks that are full.

use std::io::PipeWriter;

use crate::files::{GOOD, file};
use crate::program::{Ended, command};

/// A pipe whose reader has gone.
fn closed() -> PipeWriter {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let (_folder, path) = file("work.toml", GOOD);
    let path = path.to_str().expect("a plain name");
    let lines: [&[&str]; 3] = [&["replay", path], &["replay", path, "--json"], &["--help"]];
    for args in lines {
        let ended: Ended = command().args(args).stdout(closed()).output().expect("the program starts").into();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn an_error_that_nobody_reads_still_is_one() {
    for args in [["replay", "missing.toml"], ["replay", "--nonsense"]] {
        let ended: Ended = command().args(args).stderr(closed()).output().expect("the program starts").into();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let (_folder, path) = file("work.toml", GOOD);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
    let ended: Ended =
        command().arg("replay").arg(&path).stdout(full).output().expect("the program starts").into();
    ended.refused("stdout: cannot be written: ", &["No space left"]);
}
