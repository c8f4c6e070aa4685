//! `doctor`: what it looks at, what it says of a backend that is not there, and its exit statuses.

use serde_json::Value;

use crate::program::wavetank;

/// The verdict on a check.
fn verdict<'a>(json: &'a Value, check: &str) -> &'a str {
    let findings = json["findings"].as_array().expect("a list");
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("{check} is not in {json:#}"))["verdict"].as_str().expect("a verdict")
}

#[test]
fn a_machine_that_runs_this_test_can_simulate() {
    let json = wavetank(["doctor", "--json"]).json();
    assert_eq!((&json["ok"], &json["backend"]), (&Value::from(true), &Value::from("mock")));
    for check in ["build", "trial"] {
        assert_eq!(verdict(&json, check), "ok", "{json:#}");
    }
    for check in ["optimised", "memory", "cores", "lanes"] {
        assert_ne!(verdict(&json, check), "fail", "{json:#}");
    }
    let page = wavetank(["doctor"]).good();
    assert!(page.contains("\nok    trial      2,000 operations, every byte right"), "{page}");
    assert!(
        page.lines().last().is_some_and(|line| line.starts_with("the mock backend is usable here")),
        "{page}"
    );
}

#[test]
#[cfg(not(feature = "verbs"))]
fn a_backend_that_is_not_built_fails_with_how_to_build_it_and_is_examined_from_outside() {
    let ended = wavetank(["doctor", "--backend", "verbs", "--json"]);
    let (json, first) = ended.missed();
    assert_eq!(
        first,
        "build: the verbs backend is not in this build: build wavetank with the cargo feature `verbs`"
    );
    assert_eq!(verdict(&json, "build"), "fail");
    assert_eq!(json["findings"][0]["mend"], "cargo build --release --features verbs");
    for check in ["libibverbs", "memlock", "devices", "nodes"] {
        // Whatever this machine has.
        assert!(["ok", "warn", "fail"].contains(&verdict(&json, check)), "{json:#}");
    }
}

#[test]
fn a_device_that_does_not_exist_is_a_finding_and_not_bad_input() {
    let (json, _) =
        wavetank(["doctor", "--backend", "verbs", "--device", "no-such-device0", "--json"]).missed();
    assert_eq!((verdict(&json, "devices"), &json["device"]), ("fail", &Value::from("no-such-device0")));
}

#[test]
fn whatever_is_wrong_comes_with_what_shows_or_mends_it() {
    for backend in ["mock", "verbs", "ucx"] {
        let stdout = wavetank(["doctor", "--backend", backend, "--json"]).stdout;
        let json: Value = serde_json::from_str(&stdout).expect("stdout is one JSON document");
        for finding in json["findings"].as_array().expect("a list") {
            assert!(finding["verdict"] == "ok" || finding["mend"].is_string(), "{finding:#}");
        }
    }
}

#[test]
fn bad_input_is_refused() {
    wavetank(["doctor", "--device", "rxe0"])
        .refused("--device rxe0 names a real device", &["--backend verbs"]);
    wavetank(["doctor", "--backend", "nonsense"]).misused(&["nonsense", "mock, verbs, ucx"]);
}

#[test]
fn the_help_says_what_it_is_for_and_how_it_ends() {
    let page = wavetank(["doctor", "--help"]).good();
    for part in
        ["wavetank doctor --backend verbs --device rxe0", "Exit status:\n  0  usable", "\n  1  ", "\n  2  "]
    {
        assert!(page.contains(part), "{part:?} is missing:\n{page}");
    }
}
