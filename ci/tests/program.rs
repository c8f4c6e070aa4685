//! The whole program, with a script in the place of cargo.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const STEPS: [&str; 8] = ["fmt", "clippy", "build", "unit", "docs", "determinism", "swarm", "tidy"];

/// Steps that need a virtual machine, or its libraries.
const GUEST_STEPS: [&str; 6] = ["tshark", "native", "ucx", "boot", "rxe", "siw"];

const TEST: [&str; 2] = ["test", "--no-guest"];

/// Runs `cargo ci ARGS` from a folder that is not the root, in a small tree of its own.
fn ci(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let root = tempfile::tempdir().expect("a temporary folder");
    for folder in ["ci", "workloads", "sim-harness/corpus"] {
        fs::create_dir_all(root.path().join(folder)).expect("a folder");
    }
    fs::write(root.path().join("workloads/a.toml"), "seed = 1\n").expect("a workload");
    fs::write(root.path().join("sim-harness/corpus/1-a.sim"), "").expect("a run");
    let output = Command::new(env!("CARGO_BIN_EXE_wavetank-ci"))
        .args(args)
        .env("CARGO", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake-cargo.sh"))
        .env("CARGO_MANIFEST_DIR", root.path().join("ci"))
        .envs(env.iter().copied())
        .current_dir(root.path().join("workloads"))
        .output();
    let Output { status, stdout, stderr } = output.expect("the program starts");
    let place = root.path().canonicalize().expect("the root").display().to_string();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&place, "ROOT");
    (status.code(), text(stdout), text(stderr))
}

/// The line of the summary about a step, as words.
fn result<'a>(stdout: &'a str, step: &str) -> Vec<&'a str> {
    let line = stdout.lines().rev().find(|l| l.split_whitespace().next() == Some(step) && !l.contains(':'));
    line.expect("the summary names the step").split_whitespace().skip(1).take(1).collect()
}

#[test]
fn a_good_tree_passes_every_step_and_the_tests_own_output_is_passed_through() {
    let (code, stdout, stderr) = ci(&TEST, &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for step in STEPS {
        assert_eq!(result(&stdout, step), ["ok"], "{stdout}");
        assert!(stdout.contains(&format!("<== {step}: ok after ")), "{stdout}");
    }
    assert!(stdout.contains("\ntest result: ok. 3 passed\n"), "{stdout}");
}

#[test]
fn every_call_of_cargo_is_made_in_the_root() {
    let (_, _, stderr) = ci(&TEST, &[]);
    assert!(stderr.lines().count() >= 10, "{stderr}");
    assert!(stderr.lines().all(|l| l.starts_with("fake cargo in ROOT: ")), "{stderr}");
}

#[test]
fn a_failing_step_is_named_with_its_command_and_the_others_still_run() {
    for (subcommand, step) in [("fmt", "fmt"), ("clippy", "clippy"), ("test", "unit"), ("doc", "docs")] {
        let (code, stdout, stderr) = ci(&TEST, &[("FAKE_FAIL", subcommand)]);
        assert_eq!(code, Some(1), "{stdout}");
        assert!(stderr.contains(&format!("{subcommand} fails")), "its output is hidden: {stderr}");
        for s in STEPS {
            assert_eq!(result(&stdout, s), [if s == step { "FAILED" } else { "ok" }], "{stdout}");
        }
        assert!(stdout.contains(&format!("repeat it with: cargo ci {step}\n")), "{stdout}");
    }
}

#[test]
fn what_needs_a_build_is_not_run_and_not_called_green_when_the_build_fails() {
    let (code, stdout, _) = ci(&TEST, &[("FAKE_FAIL", "build")]);
    assert_eq!(code, Some(1), "{stdout}");
    assert_eq!(result(&stdout, "build"), ["FAILED"]);
    for step in ["unit", "docs", "determinism", "swarm"] {
        assert!(stdout.contains(&format!("{step} was not run: it needs build")), "{stdout}");
    }
    assert_eq!(result(&stdout, "tidy"), ["ok"]);
}

#[test]
fn debug_and_release_that_differ_fail_with_both_values() {
    let (code, stdout, _) = ci(&["determinism"], &[("FAKE_DEBUG_HASH", "18446744073709551615")]);
    assert_eq!(code, Some(1), "{stdout}");
    let why = "workloads/a.toml: trace_hash is 18446744073709551615 in debug and 1 in release";
    assert!(stdout.contains(why), "{stdout}");
}

#[test]
fn a_replay_that_finds_something_wrong_fails_and_shows_what_it_printed() {
    let (code, stdout, _) = ci(&["determinism"], &[("FAKE_OK", "false")]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("found something wrong") && stdout.contains("\"ok\": false"), "{stdout}");
}

#[test]
fn canaries_that_are_not_told_fail_the_swarm() {
    let (code, stdout, _) = ci(&["swarm"], &[("FAKE_CANARY", "0")]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("two canaries should have failed and did not"), "{stdout}");
}

#[test]
fn steps_that_are_left_out_are_said_not_to_have_run_and_are_not_called_green() {
    let (code, stdout, _) = ci(&TEST, &[]);
    assert_eq!(code, Some(0), "{stdout}");
    for step in GUEST_STEPS {
        assert_eq!(result(&stdout, step), ["NOT"], "{stdout}");
        assert!(stdout.contains(&format!("{step} was NOT RUN: --no-guest leaves it out")), "{stdout}");
        assert!(!stdout.contains(&format!("==> {step}")), "{stdout}");
    }
}

#[test]
fn a_group_that_is_not_there_is_refused_before_anything_is_fetched() {
    let (code, stdout, stderr) = ci(&["rxe", "--only", "no-such-group"], &[]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("rxe has no group \"no-such-group\"; it has: smoke"), "{stdout}");
    assert_eq!(stderr, "");
}

#[test]
fn the_groups_of_a_step_are_listed_with_what_they_run_on() {
    let (code, stdout, stderr) = ci(&["rxe", "--list"], &[]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.lines().any(|l| l.starts_with("smoke ") && l.contains(" two-rxe ")), "{stdout}");
}

#[test]
fn one_step_alone_runs_nothing_else() {
    let (code, stdout, stderr) = ci(&["fmt"], &[]);
    assert_eq!(code, Some(0), "{stdout}");
    assert_eq!(stderr, "fake cargo in ROOT: fmt --all --check\n");
}

#[test]
fn the_list_and_the_help_name_every_step() {
    for args in [["list"], ["--help"]] {
        let (code, stdout, _) = ci(&args, &[]);
        assert_eq!(code, Some(0));
        assert!(STEPS.iter().chain(&GUEST_STEPS).all(|s| stdout.contains(s)), "{stdout}");
    }
    assert_eq!(ci(&["no-such-step"], &[]).0, Some(2));
}
