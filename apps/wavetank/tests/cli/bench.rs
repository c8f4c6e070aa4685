//! Benchmarks report; how fast they are is not a test's business.

use crate::program::wavetank;

#[test]
fn every_benchmark_has_its_figures_as_json() {
    // One after the other: in parallel they would only disturb each other.
    let figures: [(&str, &[&str]); 4] = [
        ("sessions", &["/cycles_per_s", "/cycles_per_s_among_a_million", "/bytes_per_session"]),
        ("dispatch", &["/enum_ns", "/bare_ns", "/ratio"]),
        ("post-poll", &["/runs/0/context_ns", "/runs/0/backend_ns", "/runs/1/context_ns"]),
        ("sim", &["/ops_per_core_s", "/runs/0/ops_per_core_s", "/runs/1/ops_per_core_s"]),
    ];
    for (what, keys) in figures {
        let json = wavetank(["bench", what, "--json"]).json();
        for key in keys {
            let figure = json.pointer(key).and_then(|figure| figure.as_f64());
            assert!(figure.is_some_and(|figure| figure > 0.0), "{what}: {key}: {json}");
        }
        if what == "sim" {
            assert_eq!(json["ok"], true, "{json}");
        }
    }
}

#[test]
fn a_million_sessions_fit_and_the_table_says_in_what() {
    let told = wavetank(["bench", "sessions"]).good();
    for part in ["create + look up + close", "each of a million open", " M/s", " B"] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
}
