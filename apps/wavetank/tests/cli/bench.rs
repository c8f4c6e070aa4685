//! Benchmarks report; how fast they are is not a test's business.

use crate::program::wavetank;
#[cfg(feature = "ucx")]
use crate::program::{Ended, command};

#[test]
fn every_benchmark_has_its_figures_as_json() {
    // One after the other: in parallel they would only disturb each other.
    let figures: [(&str, &[&str]); 7] = [
        ("sessions", &["/cycles_per_s", "/cycles_per_s_among_a_million", "/bytes_per_session"]),
        (
            "memory",
            &[
                "/hit_ns",
                "/hit_among_ns",
                "/miss_ns",
                "/raw_ns",
                "/miss_ratio",
                "/lease_ns",
                "/exposed_lease_ns",
                "/sessions/cycles_per_s",
            ],
        ),
        (
            "messenger",
            &["/simulated/0/messages_per_core_s", "/simulated/1/messages_per_core_s", "/simulated/2/depth"],
        ),
        (
            "chunks",
            &[
                "/simulated/0/bytes_per_core_s",
                "/simulated/2/bytes_per_core_s",
                "/simulated/5/bytes_per_core_s",
            ],
        ),
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

/// The figures of every element of an array are there.
#[track_caller]
fn every_one_has(json: &serde_json::Value, array: &str, count: usize, keys: &[&str]) {
    let all = json[array].as_array().expect("an array");
    assert_eq!(all.len(), count, "{json}");
    for one in all {
        for key in keys {
            assert!(one[key].as_f64().is_some_and(|figure| figure > 0.0), "{key}: {one}");
        }
    }
}

#[test]
fn what_local_programs_see_is_measured_beside_bare_sockets_and_memory() {
    let json = wavetank(["bench", "ipc", "--rounds", "1", "--ops", "100", "--json"]).json();
    every_one_has(&json, "cells", 10, &["ours", "p99_ns", "bare", "ratio"]);
    let told = wavetank(["bench", "ipc", "--rounds", "1", "--ops", "10"]).good();
    for part in ["ping, socket", "reads, ring, 64 in flight", "SeaweedFS's protocol", "<= 1.15"] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
}

/// Every way to read has its figures, each of its own kind.
#[track_caller]
fn needles_have(json: &serde_json::Value, cells: usize, bare: bool) {
    every_one_has(json, "cells", cells, if bare { &["bytes", "bare"] } else { &["bytes"] });
    for cell in json["cells"].as_array().expect("cells") {
        let ways: Vec<_> = cell["ways"].as_array().expect("ways").iter().map(|way| &way["way"]).collect();
        assert_eq!(ways, ["pull, ring", "pull, socket", "push, ring", "push, socket"], "{cell}");
        every_one_has(cell, "ways", 4, if bare { &["times_http", "by_bare"] } else { &["times_http"] });
        for key in ["/http/median_ns", "/ways/0/figures/per_s", "/ways/3/figures/servers_core_ns"] {
            let figure = cell.pointer(key).and_then(|figure| figure.as_f64());
            assert!(figure.is_some_and(|figure| figure > 0.0), "{key}: {cell}");
        }
    }
}

const FEW_NEEDLES: [&str; 8] = ["bench", "needles", "--rounds", "1", "--ops", "40", "--sizes", "4KiB,64KiB"];

#[test]
fn needles_through_simulated_nics_are_measured_beside_http() {
    needles_have(&wavetank(FEW_NEEDLES.into_iter().chain(["--json"])).json(), 4, false);
    let told = wavetank(FEW_NEEDLES.into_iter().chain(["--window", "2"])).good();
    for part in ["4 KiB over simulated, pull, ring", "push, socket", "HTTP's CPU"] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
}

#[cfg(feature = "ucx")]
#[test]
fn needles_through_engines_in_processes_are_measured_beside_the_bare_backend() {
    needles_have(&wavetank(FEW_NEEDLES.into_iter().chain(["--device", "shm", "--json"])).json(), 4, true);
}

#[test]
fn an_index_is_measured_beside_bare_memory() {
    let json = wavetank(["bench", "index", "--needles", "1000", "--json"]).json();
    let keys = ["bytes_per_needle", "loaded_per_s", "hit_ns", "miss_ns", "chained_ns", "chained_by_bare"];
    every_one_has(&json, "cells", 8, &keys);
    wavetank(["bench", "index", "--needles", "0"]).misused(&["--needles"]);
}

#[test]
fn memory_is_told_with_its_yardstick_and_as_an_operator_sees_it() {
    let told = wavetank(["bench", "memory"]).good();
    for part in [
        "raw deregister + register",
        "ratio of the two",
        "create + look up + close",
        "extents  ",
        " misses, 0 evicted",
    ] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
}

#[test]
fn memory_of_a_device_that_is_not_named_is_not_measured_on_another() {
    wavetank(["bench", "memory", "--device", "rxe0"])
        .refused("--device rxe0 names a real device", &["--backend"]);
}

#[test]
fn a_million_sessions_fit_and_the_table_says_in_what() {
    let told = wavetank(["bench", "sessions"]).good();
    for part in ["create + look up + close", "each of a million open", " M/s", " B"] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
}

#[cfg(not(feature = "ucx"))]
#[test]
fn ucx_is_measured_by_a_build_that_has_it() {
    wavetank(["bench", "ucx"]).refused("the ucx backend is not in this build", &["cargo feature `ucx`"]);
}

#[cfg(feature = "ucx")]
#[test]
fn ucx_is_measured_beside_a_yardstick_that_is_there() {
    let output =
        command().args(["bench", "ucx"]).env("PATH", "/nowhere").output().expect("the program starts");
    Ended::from(output).refused("bench ucx measures beside ucx_perftest", &["install ucx-utils"]);
}

#[cfg(feature = "ucx")]
#[test]
fn ucx_within_one_process_is_not_measured_between_two() {
    wavetank(["bench", "ucx", "--device", "self"]).refused("--device self", &["two processes", "shm"]);
}

#[test]
fn cells_and_sizes_of_ucx_are_told() {
    wavetank(["bench", "ucx", "--cells", "am"]).misused(&["am-lat, am-bw, get-lat, get-bw, put-lat, put-bw"]);
    wavetank(["bench", "ucx", "--sizes", "8,0"]).misused(&["1 to 67108864 bytes"]);
}

#[cfg(feature = "ucx")]
#[test]
#[ignore = "needs ucx_perftest, libucp and two CPUs"]
fn ucx_has_its_figures_as_json() {
    let args = ["bench", "ucx", "--device", "shm", "--sizes", "8", "--rounds", "1", "--ops", "200", "--json"];
    let json = wavetank(args).json();
    for cell in 0..6 {
        for key in ["wavetank", "perftest", "ratio", "engine_ns", "backend_ns"] {
            let figure = json.pointer(&format!("/cells/{cell}/{key}")).and_then(|figure| figure.as_f64());
            assert!(figure.is_some_and(|figure| figure > 0.0), "{cell}: {key}: {json}");
        }
    }
}

#[cfg(feature = "ucx")]
#[test]
fn messengers_in_two_processes_are_measured_beside_perftest() {
    let args = ["bench", "messenger", "--device", "shm", "--rounds", "1", "--ops", "200", "--json"];
    let ended: Ended = command().args(args).output().expect("the program starts").into();
    if ended.stderr.contains("install ucx-utils") {
        return;
    }
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).expect("stdout is one JSON document");
    for at in 0..3 {
        let ours = json["processes"][at]["ours"].as_f64();
        assert!(ours.is_some_and(|ours| ours > 0.0), "{ended:?}");
    }
}

#[cfg(feature = "ucx")]
#[test]
fn chunks_between_two_processes_are_measured_beside_the_bare_backend() {
    let sizes = ["--sizes", "4KiB,64KiB", "--rounds", "1", "--ops", "40", "--json"];
    let json = wavetank(["bench", "chunks", "--device", "shm"].into_iter().chain(sizes)).json();
    for at in 0..4 {
        for key in ["rendezvous_bytes_per_s", "auto_bytes_per_s", "bare_bytes_per_s", "auto_by_bare"] {
            let figure = json["processes"][at][key].as_f64();
            assert!(figure.is_some_and(|figure| figure > 0.0), "{key} of {at}: {json}");
        }
    }
}
