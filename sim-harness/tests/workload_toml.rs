//! TOML workloads: each wrong input gives its own error, with file, line and key.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

use std::path::Path;

use wavetank_harness::workload::{Arrival, Percentile, Place, Source, Stop, Workload};
use wavetank_mock::Profile;

/// A right workload; each test breaks one thing.
const GOOD: &str = r#"seed = 7
profile = "cx6"
[[node]]
name = "client"
[[node]]
name = "storage"
[[region]]
name = "pages"
node = "storage"
size = "64MiB"
[[op]]
kind = "read"
from = "client"
region = "pages"
size = "8KiB"
weight = 3
[load]
concurrency = 16
count = 1000
"#;

fn parse(text: &str) -> Result<Workload, String> {
    Workload::parse(Path::new("w/mixed.toml"), text.as_bytes()).map_err(|e| e.to_string())
}

/// Asserts the whole message, `w/mixed.toml:` left out, after replacing `from` by `to` in the right workload.
#[track_caller]
fn broken(from: &str, to: &str, error: &str) {
    assert!(GOOD.contains(from), "{from:?} is not in the right workload");
    let text = GOOD.replacen(from, to, 1);
    assert_eq!(parse(&text).unwrap_err(), format!("w/mixed.toml:{error}"));
}

#[test]
fn a_right_workload_is_read_with_its_defaults() {
    let w = parse(GOOD).unwrap();
    assert_eq!((w.name.as_str(), w.settings.seed, &w.settings.profile), ("mixed", 7, &Profile::CX6));
    assert_eq!((w.settings.mtu, w.settings.queue_pairs, w.settings.chunk_bytes), (4096, 1, 256 << 10));
    assert_eq!((w.settings.window, w.settings.deadline_ns, w.settings.signal_every), (8, None, 1));
    assert_eq!((w.load.arrival, w.load.concurrency, w.load.stop), (Arrival::Closed, 16, Stop::Count(1000)));
    assert_eq!(w.memory_bytes(), (64 << 20) + 16 * 8192);
    let Source::Mix(mix) = &w.source else { panic!("{:?}", w.source) };
    assert_eq!((mix[0].align, mix[0].place, mix[0].line), (8, Place::Uniform, 11));
}

#[test]
fn every_setting_is_read() {
    let text = GOOD.replace(
        "profile = \"cx6\"",
        "profile = \"rxe\"\nname = \"x\"\nmtu = 1024\nqueue_pairs = 4\nchunk = 4096\nwindow = 2\ndeadline = \"1.5ms\"\nsignal_every = 8",
    );
    let w = parse(&text).unwrap();
    assert_eq!((w.name.as_str(), &w.settings.profile, w.settings.mtu), ("x", &Profile::RXE, 1024));
    assert_eq!((w.settings.queue_pairs, w.settings.chunk_bytes, w.settings.window), (4, 4096, 2));
    assert_eq!((w.settings.deadline_ns, w.settings.signal_every), (Some(1_500_000), 8));
}

#[test]
fn unknown_keys_are_named_with_the_known_ones() {
    broken(
        "weight = 3",
        "wieght = 3",
        "16: op[0].wieght: unknown key; known here: kind, from, to, region, weight, size, place, align",
    );
    broken(
        "[load]",
        "[laod]",
        "17: laod: unknown key; known here: name, seed, profile, mtu, queue_pairs, chunk, window, deadline, deadline_ns, signal_every, node, region, op, load, source, expect",
    );
    broken("name = \"client\"", "name = \"client\"\nip = 1", "5: node[0].ip: unknown key; known here: name");
}

#[test]
fn broken_syntax_names_its_line() {
    let error = parse("seed = 1\nprofile = \"cx6").unwrap_err();
    assert!(error.starts_with("w/mixed.toml:2: syntax: "), "{error}");
    let error = parse("seed = 1\nseed = 2").unwrap_err();
    assert!(error.starts_with("w/mixed.toml:2: syntax: duplicate key"), "{error}");
    let error = Workload::parse(Path::new("w.toml"), b"seed = 1\nname = \"\xff\"").unwrap_err();
    assert_eq!(error.to_string(), "w.toml:2: syntax: not UTF-8, so neither a TOML workload nor a fio iolog");
    let error = Workload::parse(Path::new("w.toml"), &vec![b'#'; (1 << 20) + 1]).unwrap_err();
    assert_eq!(error.to_string(), "w.toml:1: syntax: a workload is at most 1MiB");
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&format!("a = {}", "[".repeat(100_000))).is_err());
}

#[test]
fn wrong_types_say_what_was_found() {
    broken("seed = 7", "seed = \"7\"", "1: seed: found \"7\"; wanted an integer");
    broken("seed = 7", "seed = 1.5", "1: seed: found 1.5; wanted an integer");
    broken("\"cx6\"", "6", "2: profile: found 6; wanted a string");
    broken(
        "\"cx6\"",
        "\"cx7\"",
        "2: profile: found \"cx7\"; wanted one of ideal, rxe, cx6, or a file as in \"mine.toml\"",
    );
    broken("count = 1000", "count = [1000]", "19: load.count: found a list; wanted an integer");
    broken("size = \"8KiB\"", "size = true", "15: op[0].size: found true; wanted an integer");
    broken(
        "size = \"8KiB\"",
        "size = \"8KB\"",
        "15: op[0].size: \"8KB\" is not a size: write bytes, or a number with KiB, MiB, GiB or TiB, as in \"64MiB\"",
    );
    broken("[[region]]", "[region]", "7: region: write it as [[region]]");
    broken("[load]\nconcurrency = 16\ncount = 1000", "[[load]]", "17: load: found a list; wanted a table");
}

#[test]
fn missing_keys_are_named() {
    broken(
        "profile = \"cx6\"\n",
        "",
        "1: profile: missing; the device to simulate: profile = \"cx6\" (or rxe, ideal, a file)",
    );
    broken("kind = \"read\"\n", "", "11: op[0].kind: missing; as in kind = \"read\"");
    broken("size = \"8KiB\"\n", "", "11: op[0].size: missing; as in size = \"8KiB\"");
    broken("region = \"pages\"\n", "", "11: op[0].region: missing; name the region it works on");
    broken(
        "[load]\nconcurrency = 16\ncount = 1000",
        "",
        "1: load: missing; add [load] with a count or a duration",
    );
    let cut = &GOOD[..GOOD.find("[[op]]").unwrap()];
    assert_eq!(
        parse(cut).unwrap_err(),
        "w/mixed.toml:1: op: missing; give at least one [[op]], or a [source] to replay"
    );
}

#[test]
fn zero_nodes_and_one_node_are_too_few() {
    broken(
        "[[node]]\nname = \"client\"\n[[node]]\nname = \"storage\"\n",
        "",
        "1: node: missing; found 0 nodes; declare at least two with [[node]]",
    );
    broken(
        "[[node]]\nname = \"client\"\n",
        "",
        "1: node: missing; found 1 nodes; declare at least two with [[node]]",
    );
}

#[test]
fn names_are_unique_and_plain() {
    broken(
        "name = \"storage\"",
        "name = \"client\"",
        "6: node[1].name: a node named \"client\" exists already",
    );
    broken(
        "[[op]]",
        "[[region]]\nname = \"pages\"\nnode = \"storage\"\nsize = 8\n[[op]]",
        "12: region[1].name: a region named \"pages\" exists already",
    );
    let wanted = "wanted 1 to 64 letters, digits, '_', '-' or '.'";
    broken("name = \"client\"", "name = \"\"", &format!("4: node[0].name: \"\" is not a name; {wanted}"));
    broken(
        "name = \"client\"",
        r#"name = "a\u001b[2J""#,
        &format!(r#"4: node[0].name: "a\u{{1b}}[2J" is not a name; {wanted}"#),
    );
}

#[test]
fn unknown_nodes_and_regions_are_named_with_the_known_ones() {
    broken(
        "from = \"client\"",
        "from = \"klient\"",
        "13: op[0].from: there is no node \"klient\"; there is client, storage",
    );
    broken(
        "node = \"storage\"",
        "node = \"disk\"",
        "9: region[0].node: there is no node \"disk\"; there is client, storage",
    );
    broken(
        "region = \"pages\"",
        "region = \"page\"",
        "14: op[0].region: there is no region \"page\"; there is pages",
    );
}

#[test]
fn an_operation_needs_two_nodes() {
    broken(
        "from = \"client\"",
        "from = \"storage\"",
        "14: op[0].region: \"pages\" is on storage, which posts it; name a region of another node",
    );
    broken(
        "kind = \"read\"\nfrom = \"client\"\nregion = \"pages\"",
        "kind = \"send\"\nfrom = \"client\"\nto = \"client\"",
        "14: op[0].to: is the node that posts it; name another",
    );
}

#[test]
fn a_send_names_a_node_and_all_others_a_region() {
    let send = |rest: &str| format!("kind = \"send\"\nfrom = \"client\"\nto = \"storage\"\n{rest}");
    let read = "kind = \"read\"\nfrom = \"client\"\nregion = \"pages\"\n";
    assert!(parse(&GOOD.replace(read, &send(""))).is_ok());
    broken(
        read,
        &send("region = \"pages\"\n"),
        "15: op[0].region: a send goes where the receiver wants it; give `to` and remove this",
    );
    broken(
        read,
        &send("align = 8\n"),
        "15: op[0].align: a send goes where the receiver wants it; give `to` and remove this",
    );
    broken(read, &send("size = \"2MiB\"\n").replace("send\"", "send\" # "), "16: syntax: duplicate key");
    broken(
        "region = \"pages\"",
        "to = \"storage\"",
        "14: op[0].to: only a send names a node; a read names a region",
    );
    let big = GOOD.replace(read, &send("")).replace("8KiB", "2MiB");
    let error = "w/mixed.toml:15: op[0].size: 2MiB is larger than a message may be (1MiB); write it instead";
    assert_eq!(parse(&big).unwrap_err(), error);
}

#[test]
fn a_size_is_at_least_1_and_inside_its_region() {
    broken("\"8KiB\"", "\"128MiB\"", "15: op[0].size: 128MiB is larger than region \"pages\" (64MiB)");
    broken("\"8KiB\"", "0", "15: op[0].size: found 0; wanted 1B to 1GiB");
    broken("\"8KiB\"", "-1", "15: op[0].size: -1 is negative");
    broken("\"8KiB\"", "9223372036854775808", "15: op[0].size: found 9223372036854775808; wanted 1B to 1GiB");
    broken("\"8KiB\"", "18446744073709551616", "15: op[0].size: 18446744073709551616 is past 2^64 - 1");
    broken("\"8KiB\"", "\"16777216TiB\"", "15: op[0].size: \"16777216TiB\" is past 2^64 - 1 bytes");
    broken(
        "\"8KiB\"",
        "{ uniform = [\"4KiB\", \"65MiB\"] }",
        "15: op[0].size: 65MiB is larger than region \"pages\" (64MiB)",
    );
    broken("\"64MiB\"", "0", "10: region[0].size: found 0; wanted 1B to 16GiB");
    broken("\"64MiB\"", "\"17GiB\"", "10: region[0].size: found \"17GiB\"; wanted 1B to 16GiB");
    broken("\"64MiB\"", "\"1KiB\"", "15: op[0].size: 8KiB is larger than region \"pages\" (1KiB)");
}

#[test]
fn a_size_distribution_is_whole() {
    let size = "size = \"8KiB\"";
    broken(
        size,
        "size = { uniform = [8, 4] }",
        "15: op[0].size.uniform: the first size is larger than the second; swap them",
    );
    broken(
        size,
        "size = { uniform = [8] }",
        "15: op[0].size.uniform: found a list of 1; wanted two sizes, as in [\"512\", \"64KiB\"]",
    );
    broken(size, "size = { uniform = [0, 4] }", "15: op[0].size.uniform[0]: found 0; wanted 1B to 1GiB");
    broken(size, "size = { uniform = [1, 4], step = 0 }", "15: op[0].size.step: found 0; wanted 1B to 1GiB");
    broken(size, "size = { list = [] }", "15: op[0].size.list: no size has a weight above 0");
    broken(size, "size = { list = [[8, 0]] }", "15: op[0].size.list: no size has a weight above 0");
    broken(
        size,
        "size = { list = [[8, 1, 2]] }",
        "15: op[0].size.list[0]: found a list of 3; wanted a size and its weight, as in [\"4KiB\", 3]",
    );
    broken(
        size,
        "size = { list = [8] }",
        "15: op[0].size.list[0]: found 8; wanted a size and its weight, as in [\"4KiB\", 3]",
    );
    broken(size, "size = { list = [[8, -1]] }", "15: op[0].size.list[0][1]: -1 is negative");
    broken(
        size,
        "size = { list = [[8, 1]], step = 8 }",
        "15: op[0].size.step: a list has no step; remove it",
    );
    broken(size, "size = {}", "15: op[0].size: give exactly one of uniform and list");
    broken(
        size,
        "size = { list = [[8, 1]], uniform = [1, 2] }",
        "15: op[0].size: give exactly one of uniform and list",
    );
    broken(
        size,
        "size = { zipf = 1.0 }",
        "15: op[0].size.zipf: unknown key; known here: uniform, step, list",
    );
}

#[test]
fn an_atomic_is_8_aligned_bytes() {
    broken("\"read\"", "\"fetch_add\"", "15: op[0].size: an atomic works on 8 bytes; leave it out");
    let atomic = GOOD.replace("\"read\"", "\"compare_swap\"").replace("size = \"8KiB\"\n", "");
    assert!(parse(&atomic).is_ok());
    assert_eq!(
        parse(&atomic.replace("weight = 3", "align = 4")).unwrap_err(),
        "w/mixed.toml:15: op[0].align: an atomic needs an alignment of at least 8"
    );
    assert_eq!(
        parse(&atomic.replace("64MiB", "4B")).unwrap_err(),
        "w/mixed.toml:14: op[0].region: 8B is larger than region \"pages\" (4B)"
    );
    broken("weight = 3", "align = 12", "16: op[0].align: 12B is not a power of two");
}

#[test]
fn zipf_is_finite_and_its_objects_hold_the_largest_size() {
    let place = |place: &str| format!("place = {place}");
    let is = |to: &str, error: &str| broken("weight = 3", &place(to), error);
    is("{ zipf = nan, objects = 9 }", "16: op[0].place.zipf: found nan; wanted 0 to 10");
    is("{ zipf = inf, objects = 9 }", "16: op[0].place.zipf: found inf; wanted 0 to 10");
    is("{ zipf = -0.5, objects = 9 }", "16: op[0].place.zipf: found -0.5; wanted 0 to 10");
    is("{ zipf = 0.9, objects = 0 }", "16: op[0].place.objects: found 0; wanted 1 to 1048576");
    is("{ zipf = 0.9 }", "16: op[0].place.objects: missing; how many objects the region is cut into");
    is("{ objects = 9 }", "16: op[0].place.zipf: missing; the exponent, as in zipf = 0.99");
    is(
        "{ zipf = 0.9, objects = 10000 }",
        "16: op[0].place.objects: 10000 objects leave 6704B each of region \"pages\" (64MiB); the largest size is 8KiB",
    );
    is("\"random\"", "16: op[0].place: found \"random\"; wanted one of uniform, sequential");
    is("7", "16: op[0].place: wanted \"uniform\", \"sequential\" or { zipf = 0.99, objects = 1000 }");
}

#[test]
fn zipf_tables_are_bounded_together() {
    let op = "[[op]]\nkind = \"fetch_add\"\nfrom = \"client\"\nregion = \"pages\"\nplace = { zipf = 1, objects = 1000000 }\n";
    let text = GOOD.replace("[load]", &format!("{op}{op}[load]"));
    let error = "w/mixed.toml:22: op[2]: all zipf places together have more than 1048576 objects";
    assert_eq!(parse(&text).unwrap_err(), error);
}

#[test]
fn some_weight_is_above_zero() {
    broken(
        "weight = 3",
        "weight = 0",
        "16: op[0].weight: every weight is 0, so there is nothing to do; give one a weight above 0",
    );
    broken("weight = 3", "weight = -3", "16: op[0].weight: -3 is negative");
    broken(
        "weight = 3",
        "weight = 9223372036854775808",
        "16: op[0].weight: found 9223372036854775808; wanted 0 to 1000000000",
    );
}

#[test]
fn a_load_ends_by_count_or_by_duration() {
    broken(
        "count = 1000",
        "",
        "17: load.count: missing; say when to stop: count = 100000 or duration = \"10ms\"",
    );
    broken(
        "count = 1000",
        "count = 1\nduration = \"1s\"",
        "20: load.duration: count already says when to stop; keep one",
    );
    broken(
        "count = 1000",
        "duration_ns = 5\nduration = \"1s\"",
        "19: load.duration_ns: duration already says it; keep one of the two",
    );
    broken("count = 1000", "count = 0", "19: load.count: found 0; wanted 1 to 1000000000000");
    broken(
        "count = 1000",
        "count = 1000000000001",
        "19: load.count: found 1000000000001; wanted 1 to 1000000000000",
    );
    broken("count = 1000", "duration = \"0s\"", "19: load.duration: found \"0s\"; wanted 1ns to 31536000s");
    broken(
        "count = 1000",
        "duration = \"9223372036854775808ns\"",
        "19: load.duration: found \"9223372036854775808ns\"; wanted 1ns to 31536000s",
    );
    broken("count = 1000", "duration = 5", "19: load.duration: found 5; wanted a string");
    broken(
        "count = 1000",
        "duration = \"5\"",
        "19: load.duration: \"5\" is not a duration: write a number with ns, us, ms or s, as in \"20us\"",
    );
    let w = parse(&GOOD.replace("count = 1000", "duration_ns = 2500")).unwrap();
    assert_eq!(w.load.stop, Stop::After(2500));
}

#[test]
fn an_open_load_has_a_rate_and_a_closed_one_has_none() {
    let open = |rate: &str| format!("arrival = \"open\"\n{rate}\ncount = 1000");
    let is = |rate: &str, error: &str| broken("count = 1000", &open(rate), error);
    is("", "17: load.rate: missing; an open load needs one, as in rate = \"1M/s\"");
    is("rate = 0", "20: load.rate: found 0; wanted 1/s to 100M/s");
    is("rate = \"0/s\"", "20: load.rate: found \"0/s\"; wanted 1/s to 100M/s");
    is("rate = \"1G/s\"", "20: load.rate: found \"1G/s\"; wanted 1/s to 100M/s");
    is(
        "rate = \"fast\"",
        "20: load.rate: \"fast\" is not a rate: write a number with /s, k/s or M/s, as in \"250k/s\"",
    );
    broken(
        "count = 1000",
        "rate = 5\ncount = 1",
        "19: load.rate: a closed load goes as fast as it can; remove it, or set arrival = \"open\"",
    );
    broken(
        "count = 1000",
        "arrival = \"open\"\nrate = 1\ncount = 1_000_000_000",
        "21: load.count: 1000000000 arrivals at 1/s take longer than 31536000s",
    );
    broken(
        "count = 1000",
        "arrival = \"open\"\nrate = \"100M/s\"\nduration = \"31536000s\"",
        "21: load.duration: 31536000s at 100M/s is more than 1000000000000 operations",
    );
    let w = parse(&GOOD.replace("count = 1000", &open("rate = \"250k/s\""))).unwrap();
    assert_eq!(w.load.arrival, Arrival::Open { rate_per_s: 250_000 });
}

#[test]
fn settings_stay_inside_their_limits() {
    let is = |setting: &str, error: &str| broken("seed = 7", setting, error);
    is("seed = -7", "1: seed: -7 is negative");
    is("mtu = 1500", "1: mtu: found 1500; wanted 256, 512, 1024, 2048 or 4096");
    is("queue_pairs = 0", "1: queue_pairs: found 0; wanted 1 to 1024");
    is("queue_pairs = 1025", "1: queue_pairs: found 1025; wanted 1 to 1024");
    is("chunk = 255", "1: chunk: found 255; wanted 256B to 1GiB");
    is("window = 0", "1: window: found 0; wanted 1 to 1024");
    is("signal_every = 0", "1: signal_every: found 0; wanted 1 to 1024");
    is("deadline_ns = 0", "1: deadline_ns: found 0; wanted 1ns to 31536000s");
    is(
        "deadline = \"soon\"",
        "1: deadline: \"soon\" is not a duration: write a number with ns, us, ms or s, as in \"20us\"",
    );
    broken("concurrency = 16", "concurrency = 65537", "18: load.concurrency: found 65537; wanted 1 to 65536");
    broken("concurrency = 16", "concurrency = 0", "18: load.concurrency: found 0; wanted 1 to 65536");
    assert_eq!(
        parse(&GOOD.replace("seed = 7", "seed = 0xffff_ffff_ffff_ffff")).unwrap().settings.seed,
        u64::MAX
    );
}

#[test]
fn memory_is_bounded_before_any_is_allocated() {
    let region = "[[region]]\nname = \"more\"\nnode = \"storage\"\nsize = \"16GiB\"\n[[op]]";
    broken("[[op]]", region, "14: region[1].size: makes the regions 16448MiB together; the limit is 16GiB");
    let huge = GOOD.replace("\"8KiB\"", "\"64MiB\"").replace("concurrency = 16", "concurrency = 65536");
    assert_eq!(
        parse(&huge).unwrap_err(),
        "w/mixed.toml:18: load.concurrency: 65536 operations of up to 64MiB in flight, and the regions, need \
         4194368MiB; the limit is 16GiB"
    );
}

#[test]
fn too_many_nodes_and_operations_are_refused() {
    let nodes: String = (0..255).map(|n| format!("[[node]]\nname = \"n{n}\"\n")).collect();
    let text = GOOD.replace("[[region]]", &format!("{nodes}[[region]]"));
    assert_eq!(parse(&text).unwrap_err(), "w/mixed.toml:515: node[256]: more than 256 nodes");
    let op = &GOOD[GOOD.find("[[op]]").unwrap()..GOOD.find("[load]").unwrap()];
    let text = GOOD.replace("[load]", &format!("{}[load]", op.repeat(256)));
    assert_eq!(parse(&text).unwrap_err(), "w/mixed.toml:11: op[0]: found 257 operations; wanted at most 256");
}

#[test]
fn expectations_are_read_with_their_lines() {
    let text = format!(
        "{GOOD}[expect]\nthroughput_min = \"1GiB/s\"\n[[expect.latency]]\nop = \"read\"\nsize = 8192\np50_ns = 5000\np99 = \"20us\"\nmax = \"1ms\"\n"
    );
    let w = parse(&text).unwrap();
    let floor = w.expect.throughput_min.unwrap();
    assert_eq!((floor.bytes_per_s, w.cite(floor.line)), (1 << 30, "w/mixed.toml:21".to_owned()));
    let latency = &w.expect.latency[0];
    assert_eq!((latency.op.name(), latency.size), ("read", Some(8192)));
    let ceilings: Vec<_> = latency.ceilings.iter().map(|c| (c.percentile, c.ns, c.line)).collect();
    let wanted =
        [(Percentile::P50, 5_000, 25), (Percentile::P99, 20_000, 26), (Percentile::Max, 1_000_000, 27)];
    assert_eq!(ceilings, wanted);
}

#[test]
fn an_expectation_that_cannot_be_checked_is_refused() {
    let is = |expect: &str, error: &str| {
        let found = parse(&format!("{GOOD}{expect}")).unwrap_err();
        assert_eq!(found, format!("w/mixed.toml:{error}"));
    };
    let latency = "[[expect.latency]]\n";
    is(
        &format!("{latency}op = \"write\"\np50 = \"1us\""),
        "21: expect.latency[0].op: no write is ever posted, so its latency cannot be checked",
    );
    is(
        &format!("{latency}op = \"recv\"\np50 = \"1us\""),
        "21: expect.latency[0].op: found \"recv\"; wanted one of read, write, write_imm, send, fetch_add, compare_swap",
    );
    is(
        &format!("{latency}op = \"read\"\nsize = \"4KiB\"\np50 = \"1us\""),
        "22: expect.latency[0].size: no read of 4KiB is ever posted",
    );
    is(
        &format!("{latency}op = \"read\""),
        "20: expect.latency[0]: says nothing to check; give at least one of p50, p90, p99, p999, max",
    );
    is(
        &format!("{latency}op = \"read\"\np95 = \"1us\""),
        "22: expect.latency[0].p95: unknown key; known here: op, size, p50, p50_ns, p90, p90_ns, p99, p99_ns, p999, p999_ns, max, max_ns",
    );
    is(
        &format!("{latency}op = \"read\"\np50 = \"2us\"\np99 = \"1us\""),
        "23: expect.latency[0].p99: is below p50, and no percentile is below a lower one",
    );
    is(
        &format!("{latency}op = \"read\"\np50 = \"-1us\""),
        "22: expect.latency[0].p50: \"-1us\" is not a duration: write a number with ns, us, ms or s, as in \"20us\"",
    );
    is(
        "[expect]\nthroughput_min = \"0GiB/s\"",
        "21: expect.throughput_min: 0 holds for every run; leave it out, or give a throughput above 0",
    );
    is(
        "[expect]\nthroughput_min = \"1GB/s\"",
        "21: expect.throughput_min: \"1GB/s\" is not a throughput: write a number with B/s, KiB/s, MiB/s or GiB/s, as in \"1GiB/s\"",
    );
}
