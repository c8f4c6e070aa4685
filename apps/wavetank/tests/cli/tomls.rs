//! Exit status 2: TOML workloads that cannot be run. Each error names file, line and key.

use crate::files::{GOOD, file, workload};
use crate::program::replay;

/// Replaces `from` by `to` in the right workload; what is refused is at `place`, `LINE: KEY: `.
#[track_caller]
fn broken(from: &str, to: &str, place: &str, parts: &[&str]) {
    let (_folder, path) = workload(from, to);
    replay(&path, &["--json"]).refused(&format!("{}:{place}", path.display()), parts);
}

#[test]
fn the_right_workload_holds() {
    let (_folder, path) = file("work.toml", GOOD);
    assert_eq!(replay(&path, &["--json"]).json()["ops"], 200);
}

#[test]
fn an_unknown_key_is_named_with_those_that_are_known() {
    broken("count = 200", "count = 200\ncuont = 3", "17: load.cuont: ", &["unknown key", "count"]);
    broken("[load]", "[laod]", "15: laod: ", &["unknown key", "load"]);
}

#[test]
fn a_wrong_type_is_named() {
    broken("count = 200", "count = \"many\"", "16: load.count: ", &["\"many\"", "an integer"]);
    broken("size = \"1MiB\"", "size = 1.5", "9: region[0].size: ", &["1.5"]);
    broken("name = \"client\"", "name = 7", "3: node[0].name: ", &["7"]);
}

#[test]
fn an_operation_larger_than_its_region_is_refused() {
    broken("\"8KiB\"", "\"2MiB\"", "14: op[0].size: ", &["2MiB", "\"pages\"", "1MiB"]);
}

#[test]
fn a_workload_needs_two_nodes() {
    let (_folder, path) = file("work.toml", "profile = \"cx6\"\n[load]\ncount = 1\n");
    replay(&path, &[]).refused(&format!("{}:1: node: ", path.display()), &["0 nodes", "at least two"]);
}

#[test]
fn zero_is_not_a_rate_a_count_or_a_size() {
    broken("count = 200", "arrival = \"open\"\nrate = 0\ncount = 9", "17: load.rate: ", &["found 0"]);
    broken("count = 200", "count = 0", "16: load.count: ", &["found 0"]);
    broken("\"8KiB\"", "0", "14: op[0].size: ", &["found 0"]);
}

#[test]
fn numbers_that_nothing_can_be_are_refused_and_nothing_is_allocated_from_them() {
    let numbers = [
        ("9223372036854775808", "found 9223372036854775808"),
        ("18446744073709551616", "past 2^64 - 1"),
        ("-1", "negative"),
        ("\"18446744073709551616\"", "past 2^64 - 1"),
        ("\"16777216TiB\"", "past 2^64 - 1"),
    ];
    for (number, part) in numbers {
        broken("\"1MiB\"", number, "9: region[0].size: ", &[part]);
    }
    for number in ["9223372036854775808", "18446744073709551616", "-9223372036854775808"] {
        broken("count = 200", &format!("count = {number}"), "16: load.count: ", &[]);
        broken("count = 200", &format!("count = 9\nconcurrency = {number}"), "17: load.concurrency: ", &[]);
    }
}

#[test]
fn regions_whose_sizes_overflow_together_are_refused() {
    let region = |name, size| format!("[[region]]\nname = \"{name}\"\nnode = \"storage\"\nsize = {size}\n");
    let huge = format!("{}{}[[op]]", region("a", "9223372036854775807"), region("b", "9223372036854775807"));
    broken("[[op]]", &huge, "13: region[1].size: ", &["9223372036854775807", "16GiB"]);
    let large = format!("{}{}[[op]]", region("a", "\"15GiB\""), region("b", "\"15GiB\""));
    broken("[[op]]", &large, "17: region[2].size: ", &["together", "16GiB"]);
}

#[test]
fn what_is_no_workload_at_all_is_refused() {
    let (folder, empty) = file("empty.toml", "");
    replay(&empty, &[]).refused(&format!("{}:1: ", empty.display()), &["profile", "missing"]);
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [b"name = 1\n".as_slice(), &[0xff, 0x00, 0xfe, 0x80]].concat()).expect("a file");
    replay(&binary, &[]).refused(&format!("{}:2: ", binary.display()), &["not UTF-8", "iolog"]);
    let zeroes = folder.path().join("zeroes");
    std::fs::write(&zeroes, [0; 4096]).expect("a file");
    replay(&zeroes, &[]).refused(&format!("{}:1: ", zeroes.display()), &[]);
    let missing = folder.path().join("missing.toml");
    replay(&missing, &[]).refused(&missing.display().to_string(), &["cannot be read", "No such file"]);
    replay(folder.path(), &[])
        .refused(&folder.path().display().to_string(), &["cannot be read", "directory"]);
}

#[test]
fn an_endless_file_is_refused() {
    if cfg!(unix) {
        replay("/dev/zero".as_ref(), &[]).refused("/dev/zero:1: ", &["at most 1MiB"]);
    }
}

#[test]
fn nothing_is_expected_of_operations_that_never_happen() {
    let expect = "count = 200\n[[expect.latency]]\nop = \"write\"\np50 = \"1s\"";
    broken("count = 200", expect, "18: expect.latency[0].op: ", &["no write is ever posted"]);
}

#[test]
fn only_a_recording_has_a_pace() {
    let (_folder, path) = file("work.toml", GOOD);
    replay(&path, &["--pace"]).refused(&format!("{}:1: pace: ", path.display()), &["only an iolog"]);
}
