//! Runs that are kept, issued again, compared and fitted to; and what each of these refuses.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{GOOD, file};
use crate::program::{replay, shipped, wavetank};

/// A recorded run of a small workload.
fn recorded(profile: &str) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = file("work.toml", GOOD);
    let run = folder.path().join("run.sim");
    replay(&path, &["--profile", profile, "--record", &run.display().to_string()]).good();
    (folder, run)
}

#[test]
fn a_run_is_kept_as_text_and_issued_again() {
    let (_folder, run) = recorded("cx6");
    let text = fs::read_to_string(&run).expect("written");
    assert!(text.starts_with("wavetank-sim 1\nbackend mock\nsimulated yes\n"), "{text}");
    assert!(text.ends_with("end 400\n"), "200 operations, 200 ends");
    assert_eq!(replay(&run, &["--json"]).json()["ops"], 200);
    let told = replay(&run, &["--profile", "rxe"]).good();
    assert!(told.contains("on mock/rxe: every check held"), "{told}");
}

#[test]
fn a_shipped_workload_is_the_same_when_it_is_issued_again() {
    let (folder, _) = file("unused", "");
    let run = folder.path().join("mixed.sim");
    replay(&shipped("mixed.toml"), &["--record", &run.display().to_string()]).good();
    assert_eq!(replay(&run, &["--json"]).json()["ops"], 50_000);
}

#[test]
fn a_status_that_does_not_come_again_is_a_failed_check() {
    let (_folder, run) = recorded("cx6");
    let text = fs::read_to_string(&run).expect("written");
    let line = text.lines().position(|line| line.starts_with("finish 7 ")).expect("it ended") + 1;
    let at = text.lines().nth(line - 1).and_then(|line| line.split(' ').nth(2)).expect("a time");
    let failed =
        text.replace(&format!("finish 7 {at} SUCCESS 8192\n"), &format!("finish 7 {at} REM_ACCESS_ERR 0\n"));
    fs::write(&run, failed).expect("written");
    let (report, first) = replay(&run, &["--json"]).missed();
    assert_eq!((&report["ok"], &report["failures"]), (&false.into(), &1.into()));
    let place = format!("{}:{line}: operation 7, read of 8192 bytes", run.display());
    assert!(first.contains(&place) && first.contains("recorded as REM_ACCESS_ERR"), "{first}");
}

#[test]
fn a_damaged_recording_is_refused_by_line() {
    let (_folder, run) = recorded("cx6");
    let text = fs::read_to_string(&run).expect("written");
    fs::write(&run, text.replacen("finish 3 ", "finish 999 ", 1)).expect("written");
    let line = text.lines().position(|line| line.starts_with("finish 3 ")).expect("it ended") + 1;
    replay(&run, &[]).refused(&format!("{}:{line}: finish: ", run.display()), &["found \"999\""]);
    wavetank(["calibrate", &run.display().to_string()])
        .refused(&format!("{}:{line}: finish: ", run.display()), &[]);
}

#[test]
fn a_run_is_not_written_over_what_is_replayed_nor_into_nowhere() {
    let (_folder, run) = recorded("cx6");
    let name = run.display().to_string();
    replay(&run, &["--record", &name]).refused("--record ", &["would overwrite"]);
    let nowhere = run.with_file_name("no/such/folder.sim").display().to_string();
    replay(&run, &["--record", &nowhere]).refused(&nowhere, &["cannot be written"]);
}

fn calibrated(run: &Path, more: &[&str]) -> crate::program::Ended {
    let mut args = vec!["calibrate".to_owned(), run.display().to_string()];
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    wavetank(args.iter().map(String::as_str))
}

#[test]
fn what_calibrate_prints_is_a_profile_that_replay_takes() {
    let (folder, run) = recorded("rxe");
    let text = calibrated(&run, &["--name", "found", "--validate", &run.display().to_string()]).good();
    assert!(text.contains("# Fitted to ") && text.contains("# Held against ") && text.contains("read/8192"));
    let profile = folder.path().join("found.toml");
    fs::write(&profile, &text).expect("written");
    let told =
        replay(&folder.path().join("work.toml"), &["--profile", &profile.display().to_string()]).good();
    assert!(told.contains("on mock/found: every check held"), "{told}");
    // A workload names it beside itself.
    let (_other, path) = file("work.toml", GOOD.replace("\"cx6\"", "\"found.toml\""));
    fs::copy(&profile, path.with_file_name("found.toml")).expect("copied");
    assert_eq!(replay(&path, &["--json"]).json()["device"], "mock/found");
}

#[test]
fn a_profile_is_held_against_a_run_without_being_fitted() {
    let (_folder, run) = recorded("rxe");
    let error = |with| calibrated(&run, &["--with", with, "--json"]).json()["runs"][0]["error"].as_f64();
    let (right, wrong) = (error("rxe").expect("a number"), error("cx6").expect("a number"));
    assert!(right < 0.1 && wrong > 2.0, "{right} {wrong}");
}

#[test]
fn profiles_that_are_not_there_or_not_right_are_refused() {
    let (folder, path) = file("work.toml", GOOD);
    replay(&path, &["--profile", "cx7"]).refused("cx7: cannot be read", &[]);
    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "name = \"bad\"\nbase_ns = -1\n").expect("written");
    replay(&path, &["--profile", &bad.display().to_string()])
        .refused(&format!("{}:2: base_ns: ", bad.display()), &["negative"]);
    let (_other, path) = file("work.toml", GOOD.replace("\"cx6\"", "\"cx7\""));
    replay(&path, &[])
        .refused(&format!("{}:1: profile: ", path.display()), &["ideal, rxe, cx6", "mine.toml"]);
}

#[test]
fn what_only_devices_have_is_refused_on_the_mock() {
    let (_folder, path) = file("work.toml", GOOD);
    replay(&path, &["--device", "rxe0"]).refused("--device rxe0 names a real device", &["--backend verbs"]);
    replay(&path, &["--protocol", "auto"]).refused("--protocol is of UCX", &["--backend is mock"]);
    replay(&path, &["--protocol", "best"]).misused(&["best", "auto, eager, rndv"]);
    replay(&path, &["--spin", "50us"]).refused("--spin is for devices", &["--backend verbs"]);
    replay(&path, &["--deadline", "0s"]).refused("--deadline 0s", &["above 0"]);
    replay(&path, &["--deadline", "soon"]).misused(&["soon", "a duration"]);
    wavetank(["bench", "device"]).refused("bench device is of real devices", &["--backend verbs"]);
}

#[test]
fn expectations_of_another_device_can_be_left_out() {
    let expect = "[expect]\n[[expect.latency]]\nop = \"read\"\np50 = \"1ns\"\n";
    let (_folder, path) = file("work.toml", format!("{GOOD}{expect}"));
    replay(&path, &["--json"]).missed();
    replay(&path, &["--no-expect"]).good();
}
