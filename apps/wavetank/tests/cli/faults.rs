//! `replay --faults`: the shipped schedules, what they cost, and schedules that are not right.

use crate::files::{GOOD, file};
use crate::program::{replay, shipped};

#[test]
fn every_shipped_schedule_comes_and_is_survived() {
    for (name, dies) in [
        ("lossy", false),
        ("slow", false),
        ("reorder", false),
        ("blackout", true),
        ("chance", true),
        ("flap", true),
    ] {
        let (work, faults) = (shipped("guest/faults.toml"), shipped(&format!("faults/{name}.toml")));
        let path = faults.to_str().expect("UTF-8");
        let report = replay(&work, &["--json", "--faults", path]).json();
        let toll = &report["faults"];
        assert_eq!((&report["ok"], &report["ops"]), (&true.into(), &3000.into()), "{name}");
        for came in toll["came"].as_array().expect("a list") {
            assert!(came["times"].as_u64() > Some(0), "{name}: {came} never came");
        }
        assert_eq!(toll["renewed"].as_u64() > Some(0), dies, "{name}: {toll}");
        assert!(!toll["marks"].as_object().expect("marks").is_empty(), "{name}: {toll}");
    }
}

#[test]
fn faults_are_told_to_people_and_repeat() {
    let faults = shipped("faults/lossy.toml");
    let args = ["--faults", faults.to_str().expect("UTF-8"), "--check-determinism"];
    let told = replay(&shipped("guest/faults.toml"), &args).good();
    for part in [
        "lossy.toml:12 came: at 0 link 0 1 lose one-in 200",
        "0 operations failed by faults",
        "packet-lost",
        "deterministic",
    ] {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
}

#[test]
fn a_cut_for_ever_fails_the_run_and_names_the_fault() {
    let cut = "[[fault]]\nop = 20\nbetween = [\"client\", \"storage\"]\ncut = true\n";
    let (_folder, faults) = file("cut.toml", cut);
    let ended =
        replay(&shipped("guest/faults.toml"), &["--json", "--faults", faults.to_str().expect("UTF-8")]);
    let (_, first) = ended.missed();
    for part in ["success check failed", "RETRY_EXC_ERR", "broke 9 times", "cut.toml:1: link"] {
        assert!(first.contains(part), "{part:?} is not in: {first}");
    }
}

#[test]
fn a_schedule_that_is_not_right_is_refused() {
    let (_folder, work) = file("work.toml", GOOD);
    let (_other, faults) = file("bad.toml", "[[fault]]\nat = \"1ms\"\nnode = \"nobody\"\nhost = \"pause\"\n");
    let path = faults.to_str().expect("UTF-8");
    replay(&work, &["--faults", path])
        .refused("", &["bad.toml:3: fault[0].node: there is no node \"nobody\""]);
    let crash = "\n[[fault]]\nat = \"1ms\"\nnode = \"client\"\nhost = \"crash\"\n";
    let (_third, faults) = file("crash.toml", crash);
    let path = faults.to_str().expect("UTF-8");
    replay(&work, &["--faults", path])
        .refused("", &["crash.toml:2: at 1000000 host 0 crash: a replay does not outlive"]);
}
