//! Failing runs made small, and runs of files again.

use std::fs;
use std::path::PathBuf;

use crate::program::{replay, wavetank};

/// A canary, which fails whatever is left of it.
fn canary() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().display().to_string();
    let ended = wavetank(["sim", "--start", "100", "--seeds", "1", "--canary", "--out", &out]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let path = folder.path().join("seed-100.sim");
    (folder, path)
}

#[test]
fn a_failing_run_becomes_a_small_file_and_a_test() {
    let (folder, path) = canary();
    let before = fs::read_to_string(&path).expect("it is there").lines().count();
    let ended = wavetank(["shrink", &path.display().to_string()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("#[test]\nfn seed_100_small_fails_by_canary_no_more() {"), "{ended:?}");
    assert!(ended.stdout.contains("replayed(\"seed-100.small.sim\");"), "{ended:?}");
    let small = folder.path().join("seed-100.small.sim");
    let text = fs::read_to_string(&small).expect("it is there");
    assert!(text.lines().count() < 10 && text.lines().count() < before, "{before} lines became\n{text}");
    assert!(replay(&small, &["--check-determinism"]).good().contains("fails canary"));
    let other = folder.path().join("4-canary.sim");
    let ended =
        wavetank(["shrink", &path.display().to_string(), "-o", &other.display().to_string(), "--runs", "2"]);
    assert!(ended.stdout.contains("fn canary_fails_by_canary_no_more"), "{ended:?}");
    assert!(ended.stderr.contains("more --runs may make it smaller") && other.exists(), "{ended:?}");
}

#[test]
fn a_run_that_ends_otherwise_is_told_with_where_it_parts() {
    let (folder, path) = canary();
    let text = fs::read_to_string(&path).expect("it is there");
    let held = folder.path().join("held.sim");
    let plain: String =
        text.lines().filter(|line| *line != "canary").map(|line| format!("{line}\n")).collect();
    fs::write(&held, &plain).expect("written");
    let name = held.display().to_string();
    assert!(replay(&held, &[]).stderr.contains("it should end as: fails canary\n"));
    // Written down as it is now, it holds.
    replay(&held, &["--record", &name]);
    let now = replay(&held, &["--json"]).json();
    assert_eq!((&now["ok"], &now["differences"]), (&true.into(), &serde_json::json!([])));
    let text = fs::read_to_string(&held).expect("it is there");
    fs::write(&held, text.replace("expect passes ", "checkpoint 900 = 0123456789abcdef\nexpect passes "))
        .expect("written");
    let (report, first) = replay(&held, &["--json"]).missed();
    assert!(first.contains("it is another run by event 921600"), "{first}");
    assert_eq!(report["ended"], report["expected"]);
    wavetank(["shrink", &name]).refused(&name, &["nothing to shrink"]);
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_line() {
    let (folder, path) = canary();
    let text = fs::read_to_string(&path).expect("it is there");
    let line = text.lines().position(|line| line.starts_with("connection ")).expect("it has one") + 1;
    fs::write(&path, text.replacen("connection ", "conection ", 1)).expect("written");
    let place = format!("{}:{line}: line: found \"conection\"", path.display());
    replay(&path, &[]).refused(&place, &["region, connection, engine"]);
    wavetank(["shrink", &path.display().to_string()]).refused(&place, &[]);
    replay(&path, &["--seed", "3"]).refused("--seed is for workloads", &[]);
    let other = folder.path().join("work.toml");
    fs::write(&other, "seed = 1\n").expect("written");
    wavetank(["shrink", &other.display().to_string()])
        .refused(&other.display().to_string(), &["wavetank-swarm"]);
    wavetank(["shrink", "no/such.sim"]).refused("no/such.sim: cannot be read", &[]);
}
