//! Exit status 1: what a workload expects is held against what was measured.

use crate::files::{GOOD, file};
use crate::program::replay;

/// Line of the first key of what is added to the right workload.
fn line() -> usize {
    GOOD.lines().count() + 2
}

#[track_caller]
fn misses(expect: &str, line: usize, parts: &[&str]) {
    let (_folder, path) = file("work.toml", format!("{GOOD}{expect}\n"));
    let (report, first) = replay(&path, &["--json"]).missed();
    assert_eq!(report["failures"], 1);
    let place = format!("{}:{line}: ", path.display());
    for part in parts.iter().chain([&place.as_str()]) {
        assert!(first.contains(part), "{first:?} should say {part:?}");
    }
    // The rest of the report is as good as ever.
    assert_eq!((&report["ops"], &report["mismatches"]), (&200.into(), &0.into()));
}

#[test]
fn a_latency_that_no_device_has_fails_at_its_line() {
    let line = line() + 2;
    misses("[expect]\n[[expect.latency]]\nop = \"read\"\np99 = \"100ns\"", line, &["p99 of read", "100 ns"]);
}

#[test]
fn a_throughput_that_no_link_has_fails_at_its_line() {
    misses("[expect]\nthroughput_min = \"1TiB/s\"", line(), &["throughput_min", "1099511627776"]);
}

#[test]
fn the_table_says_that_checks_failed_and_stderr_says_which_first() {
    let expect = "[expect]\nthroughput_min = \"1TiB/s\"\n[[expect.latency]]\nop = \"read\"\np50 = \"1ns\"\n";
    let (_folder, path) = file("work.toml", format!("{GOOD}{expect}"));
    let ended = replay(&path, &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("2 checks FAILED"), "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{ended:?}");
    assert!(lines[0].contains("throughput_min") && lines[1].contains("p50 of read"), "{ended:?}");
}
