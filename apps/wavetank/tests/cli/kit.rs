//! `wavetank kit`: what it tries is tested in the harness, here it is what arrives outside.

use std::fs;

use serde_json::Value;

use crate::program::wavetank;

const CASE: &str = "a_registration_ends_once";

fn quirk(case: &str, expires: &str) -> String {
    format!(
        "[[quirk]]\ndevice = \"mock/*\"\ncase = \"{case}\"\nexpect = \"fail\"\nwhy = \"a test\"\nupstream = \"here\"\n\
         expires = \"{expires}\"\n"
    )
}

#[test]
fn the_simulated_nic_passes_and_the_table_says_what_was_skipped_and_why() {
    let told = wavetank(["kit"]).good();
    for part in [
        "case",
        "group",
        "result",
        "took",
        CASE,
        "mock/ideal: ",
        " 0 failed",
        "skipped: atomics are promised",
    ] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
    let told = wavetank(["kit", "--device", "rxe", "--only", "memory"]).good();
    assert!(told.contains("mock/rxe: 9 passed, 0 failed"), "{told}");
}

#[test]
fn a_run_as_json_has_counts_cases_and_observations() {
    let json = wavetank(["kit", "--json", "--only", "order", "--seed", "3"]).json();
    assert_eq!(json["ok"], true);
    let cases = json["report"]["cases"].as_array().expect("cases");
    assert_eq!(json["counts"]["passed"], cases.len());
    assert!(cases.iter().all(|case| case["group"] == "order" && case["result"]["outcome"] == "passed"));
    assert!(cases.iter().all(|case| case["seen"].as_array().is_some_and(|seen| !seen.is_empty())));
}

#[test]
fn the_list_names_every_case_with_what_it_needs() {
    let told = wavetank(["kit", "--list"]).good();
    assert!(told.contains("144 cases"), "{told}");
    let json =
        wavetank(["kit", "--list", "--json", "--only", "an_atomic_takes_one_piece_of_eight_bytes"]).json();
    assert_eq!(json[0]["needs"][0], "Atomics");
    assert_eq!(json.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_saved_run_is_compared_with_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let saved = folder.path().join("run.json");
    let saved = saved.to_str().expect("a plain path");
    wavetank(["kit", "--only", "errors", "--save", saved]).good();
    let told = wavetank(["kit", "--only", "errors", "--device", "rxe", "--compare", saved]).good();
    assert!(told.contains("mock/rxe and mock/ideal: ") && told.contains(", 0 did not"), "{told}");
    let text = fs::read_to_string(saved).expect("a report");
    fs::write(saved, text.replace("REM_ACCESS_ERR", "REM_OP_ERR")).expect("written");
    let json = wavetank(["kit", "--only", "errors", "--json", "--compare", saved]).json();
    let parted = json["difference"]["cases"].as_array().expect("cases");
    assert!(parted.len() > 5, "{json}");
    assert!(parted[0]["only_one"][0].as_str().is_some_and(|line| line.contains("REM_ACCESS_ERR")), "{json}");
}

#[test]
fn a_quirk_that_is_not_needed_or_has_expired_fails_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("q.toml");
    let path = file.to_str().expect("a plain path");
    fs::write(&file, quirk(CASE, "2030-01-01")).expect("written");
    let args = ["kit", "--only", CASE, "--quirks", path, "--today", "2029-01-01", "--json"];
    let ended = wavetank(args);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let json: Value = serde_json::from_str(&ended.stdout).expect("a report all the same");
    assert_eq!(json["ok"], false);
    assert!(ended.stderr.starts_with(&format!("wavetank: FAILED {CASE}: the quirk at ")), "{ended:?}");
    let ended = wavetank(["kit", "--only", "data", "--quirks", path, "--today", "2030-01-01"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("expired on 2030-01-01"), "{ended:?}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_runs() {
    wavetank(["kit", "--only", "datta"]).refused("--only \"datta\": ", &["data, order, errors", "--list"]);
    wavetank(["kit", "--wire", "va,vb"]).refused("--wire is for devices", &[]);
    wavetank(["kit", "--device", "rxe,cx6"]).refused("--device with the mock is one profile", &[]);
    wavetank(["kit", "--compare", "/nonexistent.json"]).refused("/nonexistent.json: cannot be read", &[]);
    wavetank(["kit", "--save", "/nonexistent/x.json"]).refused("/nonexistent/x.json: cannot be written", &[]);
    wavetank(["kit", "--protocol", "rndv"]).refused("--protocol is of UCX", &["--backend is mock"]);
    wavetank(["kit", "--today", "2026-02-30"]).misused(&["2026-02-30", "is not a day"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("q.toml");
    fs::write(&file, quirk("no_such_case", "2030-01-01")).expect("written");
    let path = file.to_str().expect("a plain path");
    wavetank(["kit", "--quirks", path]).refused(&format!("{path}:3: there is no case"), &["no_such_case"]);
    fs::write(&file, "{}").expect("written");
    wavetank(["kit", "--compare", path]).refused(&format!("{path}: not a saved report"), &["line 1"]);
}
