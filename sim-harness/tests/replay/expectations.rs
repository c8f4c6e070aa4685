//! What a workload expects, and the report for machines.

use wavetank_harness::Check;
use wavetank_harness::report::{Spent, per_second};

use crate::support::{failed, failed_only, load, op, reads, run, run_ok, tell, two_nodes};

fn expecting(expect: &str) -> wavetank_harness::Workload {
    two_nodes(&(reads(1, 50) + expect))
}

#[test]
fn a_latency_above_its_ceiling_cites_its_line() {
    let kept = "[[expect.latency]]\nop = \"read\"\nsize = \"4KiB\"\np50 = \"1ms\"\nmax_ns = 10000000\n";
    run_ok(expecting(kept));
    for percentile in ["p50", "p90", "p99", "p999", "max"] {
        let missed = format!("[[expect.latency]]\nop = \"read\"\nsize = \"4KiB\"\n{percentile}_ns = 1999\n");
        let report = run(expecting(&missed));
        let place = format!("test.toml:27: {percentile} of read/4096 is at most 1999 ns, the run had 2");
        failed_only(&report, Check::Expectation, &[&place]);
        assert!(!report.ok());
    }
}

#[test]
fn a_latency_of_any_size_is_held_against_all_sizes_together() {
    let text = op("read", "pages", "4KiB") + &op("read", "pages", "64KiB") + &load(1, 50);
    let expect = "[[expect.latency]]\nop = \"read\"\nmax_ns = 5000\n";
    failed_only(&run(two_nodes(&(text + expect))), Check::Expectation, &["max of read is at most 5000 ns"]);
}

#[test]
fn a_throughput_below_its_floor_cites_its_line() {
    run_ok(expecting("[expect]\nthroughput_min = \"1MiB/s\"\n"));
    let report = run(expecting("[expect]\nthroughput_min = \"100GiB/s\"\n"));
    let asked = (100u64 << 30).to_string();
    failed_only(&report, Check::Expectation, &["test.toml:25: throughput_min is", &asked]);
}

#[test]
fn an_expected_operation_that_was_never_drawn_is_a_miss() {
    let text =
        op("read", "pages", "4KiB") + "weight = 1000000000\n" + &op("write", "log", "64") + &load(1, 5);
    let expect = "[[expect.latency]]\nop = \"write\"\np50 = \"1s\"\n";
    let report = run(two_nodes(&(text + expect)));
    failed_only(&report, Check::Expectation, &["a latency of write", "none was done"]);
}

#[test]
fn a_watched_size_has_a_row_of_its_own_though_sizes_are_grouped() {
    let sizes = "size = { uniform = [\"1KiB\", \"32KiB\"], step = \"1KiB\" }\n";
    let text = op("read", "pages", "1").replace("size = \"1\"\n", sizes) + &load(1, 400);
    let expect = "[[expect.latency]]\nop = \"read\"\nsize = \"5KiB\"\nmax = \"1ms\"\n";
    let report = run_ok(two_nodes(&(text + expect)));
    let labels: Vec<String> = report.latencies.rows().map(|row| row.label()).collect();
    for label in ["read", "read/5120", "read/<=8192", "read/<=32768", "read/<=1024"] {
        assert!(labels.contains(&label.to_owned()), "{label} in {labels:?}");
    }
    assert_eq!(labels.iter().filter(|label| !label.contains("<=")).count(), 2, "{labels:?}");
    let counts = |all: bool| -> u64 {
        let rows = report.latencies.rows().filter(|row| row.size.is_none() == all);
        rows.map(|row| row.latency.len()).sum()
    };
    assert_eq!((counts(true), counts(false)), (400, 400));
    let exact = report.latencies.rows().find(|row| row.size == Some(5120)).unwrap();
    assert_eq!(exact.bytes, 5120 * exact.latency.len());
}

#[test]
fn the_report_for_machines_has_the_keys_it_promises() {
    let text = op("read", "pages", "8KiB") + &op("write", "log", "64") + &load(2, 100);
    let report = run_ok(two_nodes(&text));
    let json = report.to_json(&Spent { wall_s: 0.5, core_s: 0.25 });
    for key in
        ["ok", "ops", "bytes_verified", "mismatches", "trace_hash", "virtual_ns", "wall_s", "ops_per_core_s"]
    {
        assert!(json.get(key).is_some(), "{key} in {json}");
    }
    assert_eq!(json["ok"], true);
    assert_eq!((&json["ops"], &json["mismatches"]), (&100.into(), &0.into()));
    assert_eq!(json["trace_hash"], format!("{:016x}", report.trace.hash()));
    assert_eq!((&json["wall_s"], &json["ops_per_core_s"]), (&0.5.into(), &400.into()));
    assert_eq!(json["virtual_ns"], report.elapsed_ns);
    let (read, write) = (&json["latency"]["read/8192"], &json["latency"]["write/64"]);
    for row in [read, write, &json["latency"]["read"]] {
        for key in ["count", "bytes", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"] {
            assert!(row[key].is_u64(), "{key} in {row}");
        }
        assert!(row["p50_ns"].as_u64() <= row["p99_ns"].as_u64());
        assert!(row["p99_ns"].as_u64() <= row["max_ns"].as_u64());
    }
    let (reads, writes) = (read["count"].as_u64().unwrap(), write["count"].as_u64().unwrap());
    assert_eq!(reads + writes, 100);
    assert_eq!(json["bytes_verified"], reads * 8192 + writes * 64);
    assert_eq!(json["latency"].as_object().unwrap().len(), 4);
}

#[test]
fn failures_are_counted_all_and_told_in_part() {
    let liar = crate::lying::Liar::new(crate::lying::Lie::FlipRead(0), 0, 30);
    let report = crate::support::prepare_lying(two_nodes(&reads(4, 100)), &liar).run(&mut |_| ());
    assert_eq!((report.failures.told().len(), report.failures.total()), (20, 30), "{}", tell(&report));
    let json = report.to_json(&Spent::default());
    assert_eq!((&json["failures"], &json["mismatches"]), (&30.into(), &30.into()));
    let first = json["failures_told"][0].as_str().unwrap().to_owned();
    assert!(first.starts_with("bytes check failed at "), "{first}");
    failed(&report, Check::Bytes, &["operation 0 "]);
}

#[test]
fn no_wall_time_is_no_division_by_zero() {
    assert_eq!((per_second(5, 0.0), per_second(5, -1.0), per_second(5, 2.0)), (0, 0, 2));
}
