//! Runs that would take for ever say nothing where nobody watches, and stop when told to.

use crate::files::workload;
use crate::program::Ended;

/// `timeout` of coreutils sends SIGTERM after a second, and SIGKILL, which gives another status, after ten more.
#[cfg(target_os = "linux")]
#[test]
fn a_run_of_a_trillion_operations_stops_when_told_to() {
    for stop in ["count = 1_000_000_000_000", "duration_ns = 31_536_000_000_000_000"] {
        let (_folder, path) = workload("count = 200", stop);
        let ended: Ended = std::process::Command::new("timeout")
            .args(["-k", "10", "1", env!("CARGO_BIN_EXE_wavetank"), "replay"])
            .arg(&path)
            .output()
            .expect("coreutils")
            .into();
        // Ended by the clock, and neither a bar nor half a report went into pipes.
        let quiet = (ended.stdout.as_str(), ended.stderr.as_str());
        assert_eq!((ended.code, quiet), (Some(124), ("", "")), "{stop}");
    }
}

#[test]
fn a_run_longer_than_a_year_is_refused() {
    let (_folder, path) = workload("count = 200", "duration_ns = 31_536_000_000_000_001");
    crate::program::replay(&path, &[]).refused(&format!("{}:16: load.duration_ns: ", path.display()), &[]);
}
