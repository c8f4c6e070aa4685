//! Looking on at a run: packets for Wireshark, and the story of an operation.

use std::fs;

use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{SimFile, caught};
use wavetank_harness::swarm::{draw, run};

use crate::files::{GOOD, file};
use crate::program::{replay, wavetank};

/// A seed's run, kept in a file.
fn swarm_run(seed: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    let (plan, choices) = (draw(seed), SwarmChoices::seeded(seed).record());
    let outcome = caught(|| run(&plan, choices.clone()));
    file("run.sim", SimFile::of(Some(seed), &plan, &choices, &outcome).to_string())
}

#[test]
fn a_capture_is_a_pcapng_file_and_changes_nothing() {
    let (folder, path) = file("work.toml", GOOD);
    let capture = folder.path().join("run.pcapng");
    let hash = |args: &[&str]| replay(&path, args).json()["trace_hash"].clone();
    let alone = hash(&["--json"]);
    assert_eq!(hash(&["--json", "--pcap", &capture.display().to_string()]), alone);
    let bytes = fs::read(&capture).expect("written");
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    // 200 READs of 8 KiB: that and the requests.
    assert!(bytes.len() > 200 * (8192 + 2 * 58), "{}", bytes.len());
}

#[test]
fn of_two_runs_the_first_is_captured() {
    let (folder, path) = file("work.toml", GOOD);
    let capture = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let name = file.display().to_string();
        replay(&path, &[&["--pcap", &name[..]], more].concat()).good();
        fs::read(&file).expect("written")
    };
    assert_eq!(capture("twice.pcapng", &["--check-determinism"]), capture("once.pcapng", &[]));
}

#[test]
fn a_capture_that_ends_early_is_told_and_the_run_goes_on() {
    let (folder, path) = file("work.toml", GOOD);
    let capture = folder.path().join("run.pcapng").display().to_string();
    let ended = replay(&path, &["--pcap", &capture, "--pcap-max", "64KiB"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("every check held"), "{ended:?}");
    for part in [&capture[..], "packets and ends at", "more are not in it (raise --pcap-max)"] {
        assert!(ended.stderr.contains(part), "{ended:?}");
    }
    assert!(fs::metadata(&capture).expect("written").len() <= 64 << 10);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_is_no_pass() {
    let (_folder, path) = file("work.toml", GOOD);
    let ended = replay(&path, &["--pcap", "/dev/full"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("/dev/full: cannot be written: No space left on device"), "{ended:?}");
}

#[test]
fn a_capture_that_cannot_be_had_is_refused_before_the_run() {
    let (folder, path) = file("work.toml", GOOD);
    let nowhere = folder.path().join("no/such/run.pcapng").display().to_string();
    replay(&path, &["--pcap", &nowhere]).refused(&format!("{nowhere}: cannot be written"), &[]);
    let itself = path.display().to_string();
    replay(&path, &["--pcap", &itself]).refused("--pcap ", &["would overwrite what is replayed"]);
    assert_eq!(fs::read_to_string(&path).expect("still there"), GOOD);
    replay(&path, &["--pcap-max", "1MiB"]).misused(&["--pcap <FILE>"]);
}

#[cfg(feature = "verbs")]
#[test]
fn packets_of_devices_are_for_tcpdump() {
    let (folder, path) = file("work.toml", GOOD);
    let capture = folder.path().join("run.pcapng").display().to_string();
    replay(&path, &["--backend", "verbs", "--device", "rxe0", "--pcap", &capture])
        .refused("--pcap captures the simulated network", &["tcpdump -i NETDEV -w FILE udp port 4791"]);
}

#[test]
fn a_swarm_run_is_captured_and_explained_from_its_file() {
    let (folder, run) = swarm_run(1);
    let capture = folder.path().join("run.pcapng");
    replay(&run, &["--pcap", &capture.display().to_string()]).good();
    assert!(fs::metadata(&capture).expect("written").len() > 1000);
    let run = run.display().to_string();
    let story = wavetank(["explain", &run, "--op", "0"]).good();
    assert!(story.contains("+0 ns  submitted: ") && story.contains("ended: "), "{story}");
    wavetank(["explain", &run]).refused(&format!("{run}: no operation is to blame"), &["--op"]);
}

#[test]
fn an_operation_of_a_workload_is_explained() {
    let (_folder, path) = file("work.toml", GOOD);
    let path = path.display().to_string();
    let story = wavetank(["explain", &path, "--op", "199"]).good();
    for part in ["submitted: read of 8KiB from region 0", "READ response PSN", "ended: well, 8KiB done"] {
        assert!(story.contains(part), "{story}");
    }
    let none = wavetank(["explain", &path, "--op", "200"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""), "{none:?}");
    assert!(none.stderr.contains("operation 200 was never submitted"), "{none:?}");
    wavetank(["explain", &path]).refused(&format!("{path}: say which operation"), &["--op"]);
}
