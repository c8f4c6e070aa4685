//! Anything at all may be in a file: no parser panics, and what passes keeps the limits.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

use std::path::Path;

use proptest::prelude::*;
use wavetank_contract::chance::{Choices, Site};
use wavetank_harness::workload::limits::{MAX_MEMORY_BYTES, MAX_OP_BYTES};
use wavetank_harness::workload::{Generator, Iolog, Workload};

fn toml(text: &[u8]) -> Option<Workload> {
    let parsed = Workload::parse(Path::new("w.toml"), text);
    if let Err(e) = &parsed {
        assert!(e.line().is_some_and(|line| line > 0) && e.key().is_some_and(|key| !key.is_empty()), "{e}");
        assert!(!e.to_string().contains(|c: char| c.is_control()), "{e}");
    }
    parsed.ok()
}

fn iolog(text: &[u8]) -> Option<Iolog> {
    let parsed = Iolog::parse(Path::new("x.iolog"), text);
    if let Err(e) = &parsed {
        assert!(e.line().is_some_and(|line| line > 0), "{e}");
        assert!(!e.to_string().contains(|c: char| c.is_control()), "{e}");
    }
    parsed.ok()
}

/// Choices taken from a list, then zeros: what a fuzzer or a shrinker hands in.
struct Scripted(Vec<u64>);

impl Choices for Scripted {
    fn choose(&mut self, _site: Site, bound: u64) -> u64 {
        if bound <= 1 { 0 } else { self.0.pop().unwrap_or(0) % bound }
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u64..70_000).prop_map(|n| n.to_string()),
        any::<i128>().prop_map(|n| n.to_string()),
        Just("9223372036854775808".to_owned()),
        Just("nan".to_owned()),
        Just("-1".to_owned()),
        Just("0.99".to_owned()),
        (0u64..70, "(B|KiB|MiB|GiB|us|ms|s|k/s|M/s|GiB/s)").prop_map(|(n, unit)| format!("\"{n}{unit}\"")),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => number(),
        2 => "\"(read|write|write_imm|send|fetch_add|compare_swap|a|b|r|open|closed|uniform|sequential|cx6)\"",
        1 => (number(), number()).prop_map(|(a, b)| format!("{{ uniform = [{a}, {b}] }}")),
        1 => (number(), number()).prop_map(|(a, b)| format!("{{ list = [[{a}, {b}]] }}")),
        1 => (number(), number()).prop_map(|(a, b)| format!("{{ zipf = {a}, objects = {b} }}")),
    ]
}

/// A right workload in which some lines have another value, or are gone.
fn nearly_right() -> impl Strategy<Value = String> {
    const LINES: &[&str] = &[
        "seed = 1",
        "profile = \"cx6\"",
        "deadline = \"1s\"",
        "[[node]]",
        "name = \"a\"",
        "[[node]]",
        "name = \"b\"",
        "[[region]]",
        "name = \"r\"",
        "node = \"b\"",
        "size = \"1MiB\"",
        "[[op]]",
        "kind = \"read\"",
        "from = \"a\"",
        "region = \"r\"",
        "size = 4096",
        "place = \"uniform\"",
        "align = 8",
        "weight = 1",
        "[load]",
        "arrival = \"open\"",
        "rate = 1000",
        "concurrency = 3",
        "count = 50",
        "[[expect.latency]]",
        "op = \"read\"",
        "p50 = \"1us\"",
    ];
    prop::collection::vec((0..LINES.len(), prop::option::of(value())), 0..4).prop_map(|changes| {
        let mut lines: Vec<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
        for (at, value) in changes {
            lines[at] = match (value, lines[at].split_once(" = ")) {
                (Some(value), Some((key, _))) => format!("{key} = {value}"),
                _ => String::new(),
            };
        }
        lines.join("\n")
    })
}

fn log_line() -> impl Strategy<Value = String> {
    let number = prop_oneof![6 => (0u64..10_000).prop_map(|n| n.to_string()), 1 => any::<u128>().prop_map(|n| n.to_string())];
    let word = "(add|open|close|read|read|write|write|sync|trim|wait|oops)";
    ("[0-9]{1,4}", "[fg]", word, prop::collection::vec(number, 0..4))
        .prop_map(|(time, file, word, numbers)| format!("{time} {file} {word} {}", numbers.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        toml(&bytes);
        iolog(&bytes);
        iolog(&[b"fio version 3 iolog\n", bytes.as_slice()].concat());
    }

    #[test]
    fn arbitrary_text_never_panics(text in "([a-z\\[\\]{}=\"., \n0-9#_-]|\\PC){0,200}") {
        toml(text.as_bytes());
        iolog(text.as_bytes());
    }

    #[test]
    fn a_workload_that_passes_can_be_run_within_its_limits(
        text in nearly_right(),
        choices in prop::collection::vec(any::<u64>(), 0..200),
    ) {
        if let Some(workload) = toml(text.as_bytes()) {
            prop_assert!(workload.memory_bytes() <= MAX_MEMORY_BYTES);
            let (mut generator, mut chance) = (Generator::new(&workload), Scripted(choices));
            for _ in 0..60 {
                let Some(planned) = generator.next(&mut chance) else { break };
                prop_assert!((1..=MAX_OP_BYTES).contains(&u64::from(planned.len)));
                prop_assert!(planned.from != planned.to);
                if let Some(region) = planned.region {
                    let bytes = workload.regions[region.0 as usize].bytes;
                    prop_assert!(planned.offset + u64::from(planned.len) <= bytes);
                }
            }
        }
    }

    #[test]
    fn a_log_that_passes_stays_inside_its_extents(lines in prop::collection::vec(log_line(), 0..30)) {
        let text = format!("fio version 3 iolog\n0 f add\n0 f open\n0 g add\n0 g open\n{}\n", lines.join("\n"));
        if let Some(log) = iolog(text.as_bytes()) {
            let files = &log.recording.files;
            prop_assert!(files.iter().map(|file| file.extent_bytes).sum::<u64>() <= MAX_MEMORY_BYTES);
            for op in &log.recording.ops {
                prop_assert!(op.len > 0 && op.offset + u64::from(op.len) <= files[op.file as usize].extent_bytes);
            }
        }
    }

    #[test]
    fn a_log_of_right_lines_passes(ops in prop::collection::vec((any::<bool>(), 0u64..1 << 20, 1u32..1 << 20), 1..50)) {
        let mut text = "fio version 2 iolog\nf add\nf open\n".to_owned();
        for (write, offset, len) in &ops {
            text.push_str(&format!("f {} {offset} {len}\n", if *write { "write" } else { "read" }));
        }
        let log = iolog(text.as_bytes());
        prop_assert_eq!(log.map(|log| log.recording.ops.len()), Some(ops.len()));
    }
}
