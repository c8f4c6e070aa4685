//! The workloads that come with the project hold, and their reports are whole.

use serde_json::Value;

use crate::program::{Ended, replay, shipped};

const WORKLOADS: [&str; 4] = ["pgbench-8k.toml", "mixed.toml", "incast.toml", "open-loop.toml"];

fn pgbench(args: &[&str]) -> Ended {
    replay(&shipped("pgbench-8k.toml"), args)
}

fn number(json: &Value, key: &str) -> u64 {
    json[key].as_u64().unwrap_or_else(|| panic!("{key} is a whole number: {json}"))
}

#[test]
fn every_shipped_workload_holds_and_reports_every_key() {
    for name in WORKLOADS {
        let report = replay(&shipped(name), &["--json"]).json();
        assert_eq!(report["ok"], true, "{name}");
        assert_eq!(number(&report, "mismatches"), 0, "{name}");
        for key in ["ops", "bytes_verified", "virtual_ns", "ops_per_core_s"] {
            assert!(number(&report, key) > 0, "{name}: {key}");
        }
        assert!(report["wall_s"].as_f64().is_some_and(|wall_s| wall_s > 0.0), "{name}");
        let hash = report["trace_hash"].as_str().expect("a hash");
        assert!(hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}: {hash}");
        let latency = report["latency"].as_object().expect("latencies");
        assert!(!latency.is_empty(), "{name}");
        for (operation, figures) in latency {
            let rising = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(|key| number(figures, key));
            assert!(rising.is_sorted() && rising[0] > 0, "{name}: {operation}: {figures}");
            assert!(number(figures, "count") > 0 && number(figures, "bytes") > 0, "{name}: {operation}");
        }
    }
}

#[test]
fn a_real_database_s_reads_and_writes_are_all_there() {
    let report = pgbench(&["--json"]).json();
    assert_eq!((number(&report, "ops"), number(&report, "bytes_verified")), (20_000, 166_633_472));
    let latency = &report["latency"];
    let counts = ["read/8192", "write/8192", "write/16384", "read", "write"];
    assert_eq!(counts.map(|row| number(&latency[row], "count")), [8_602, 11_057, 341, 8_602, 11_398]);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |args: &[&str]| {
        let mut report = pgbench(args).json();
        // The only figures of this machine.
        for key in ["wall_s", "core_s", "ops_per_core_s"] {
            report[key] = Value::Null;
        }
        report
    };
    let one = run(&["--json"]);
    assert_eq!(one, run(&["--json", "--seed", "1"]));
    let two = run(&["--json", "--seed", "2"]);
    assert_eq!((&two["ok"], &two["seed"]), (&true.into(), &2.into()));
    assert_ne!(one["trace_hash"], two["trace_hash"]);
    // Another order, the same work.
    assert_eq!(one["bytes_verified"], two["bytes_verified"]);
}

#[test]
fn two_runs_are_compared_when_asked() {
    let told = pgbench(&["--check-determinism"]).good();
    assert!(told.contains("two runs, the same trace: deterministic"), "{told}");
    let report = replay(&shipped("mixed.toml"), &["--check-determinism", "--json"]).json();
    assert_eq!(report["deterministic"], true);
}

#[test]
fn an_iolog_is_replayed_as_it_is_and_at_its_own_pace() {
    let iolog = shipped("pgbench-8k.iolog");
    let fast = replay(&iolog, &["--json"]).json();
    let paced = replay(&iolog, &["--json", "--pace"]).json();
    assert_eq!(fast["ops"], paced["ops"]);
    assert_eq!(fast["bytes_verified"], paced["bytes_verified"]);
    // PostgreSQL took 3.4 s over it.
    let seconds = [&fast, &paced].map(|report| number(report, "virtual_ns") / 1_000_000_000);
    assert_eq!(seconds, [0, 3]);
}

#[test]
fn at_the_recorded_pace_only_latency_is_expected() {
    let told = pgbench(&["--json", "--pace"]).json();
    assert_eq!(told["ok"], Value::Bool(true), "its floor of throughput is for the fast run");
    assert!(number(&told, "bytes_per_virtual_s") < 1 << 30);
}

#[test]
fn the_table_has_kinds_in_order_and_fits_a_hundred_columns() {
    let told = replay(&shipped("mixed.toml"), &[]).good();
    let widest = told.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?}:\n{told}");
    let kind = |line: &str| line.split(['/', ' ']).next().unwrap_or_default().to_owned();
    let mut kinds: Vec<_> = told.lines().skip(2).take_while(|line| !line.is_empty()).map(kind).collect();
    kinds.dedup();
    assert_eq!(kinds, ["read", "write", "write_imm", "send", "fetch_add", "compare_swap"]);
    assert_eq!(told.lines().filter(|line| line.contains('─')).count(), 1, "{told}");
    for part in ["every check held", "simulated", "no device took part", "50,000 operations", " GiB/s"] {
        assert!(told.contains(part), "{part:?} is missing:\n{told}");
    }
}
