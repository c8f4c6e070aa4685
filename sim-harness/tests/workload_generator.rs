//! Generated operations: valid, deterministic, and distributed as asked.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

use std::path::Path;

use wavetank_contract::chance::{Quiet, Seeded};
use wavetank_harness::workload::{Generator, Planned, Workload};

const FRAME: &str = r#"profile = "cx6"
[[node]]
name = "a"
[[node]]
name = "b"
[[region]]
name = "r"
node = "b"
size = "1MiB"
"#;

/// A workload with these operations and this load.
fn workload(ops: &[&str], load: &str) -> Workload {
    let mut text = FRAME.to_owned();
    for op in ops {
        text.push_str(&format!("[[op]]\nfrom = \"a\"\n{op}\n"));
    }
    text.push_str(&format!("[load]\n{load}\n"));
    Workload::parse(Path::new("w.toml"), text.as_bytes()).unwrap()
}

fn read(rest: &str) -> String {
    format!("kind = \"read\"\nregion = \"r\"\n{rest}")
}

fn run(workload: &Workload, seed: u64) -> Vec<Planned> {
    let (mut generator, mut chance) = (Generator::new(workload), Seeded::new(seed));
    std::iter::from_fn(|| generator.next(&mut chance)).collect()
}

fn mixed() -> Workload {
    Workload::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/mixed.toml"))).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_operations_and_another_seed_others() {
    let workload = mixed();
    assert_eq!(run(&workload, 1), run(&workload, 1));
    assert_ne!(run(&workload, 1), run(&workload, 2));
}

/// Pinned, so that a change of any draw is seen: these must be the same on every machine and in every build.
#[test]
fn the_operations_of_the_mixed_workload_are_these() {
    let digest = run(&mixed(), 1).iter().fold(0u64, |digest, p| {
        let word = p.offset ^ (u64::from(p.len) << 32) ^ (u64::from(p.line) << 52);
        wavetank_contract::chance::mix64(digest ^ word)
    });
    assert_eq!(format!("{digest:016x}"), "4da50296da4e2057");
    let open = workload(&[&read("size = 8")], "arrival = \"open\"\nrate = \"1M/s\"\ncount = 10000");
    assert_eq!(run(&open, 1).last().unwrap().at.unwrap().0, 9_875_436);
}

#[test]
fn every_operation_is_inside_its_region_and_aligned() {
    let workload = mixed();
    for seed in 0..5 {
        for planned in run(&workload, seed) {
            assert!(planned.len > 0 && planned.from != planned.to);
            let Some(region) = planned.region else { continue };
            let region = &workload.regions[region.0 as usize];
            assert!(planned.offset + u64::from(planned.len) <= region.bytes, "{planned:?}");
            assert!(planned.offset.is_multiple_of(8) && region.node == planned.to, "{planned:?}");
        }
    }
}

#[test]
fn quiet_choices_give_the_first_operation_at_its_smallest_and_lowest() {
    let ops = [
        read("weight = 0\nsize = 1"),
        read("weight = 2\nsize = { list = [[\"8KiB\", 5], [512, 1], [16, 0]] }"),
        read("weight = 9\nsize = 4"),
    ];
    let ops: Vec<&str> = ops.iter().map(String::as_str).collect();
    let workload = workload(&ops, "arrival = \"open\"\nrate = \"1k/s\"\nduration = \"5ns\"");
    let mut generator = Generator::new(&workload);
    let all: Vec<_> = std::iter::from_fn(|| generator.next(&mut Quiet)).collect();
    let times: Vec<_> = all.iter().map(|p| p.at.unwrap().0).collect();
    assert_eq!(times, [1, 2, 3, 4]);
    assert!(all.iter().all(|p| (p.len, p.offset, p.line) == (512, 0, 16)), "{all:?}");
    for place in ["\"uniform\"", "\"sequential\"", "{ zipf = 0.99, objects = 64 }"] {
        let op = read(&format!("size = {{ uniform = [512, 1024] }}\nplace = {place}"));
        let first = Generator::new(&self::workload(&[&op], "count = 1")).next(&mut Quiet).unwrap();
        assert_eq!(first.offset, 0);
    }
}

#[test]
fn operations_come_by_weight() {
    let [a, b] = [read("weight = 70\nsize = 8"), read("weight = 30\nsize = 16")];
    let all = run(&workload(&[&a, &b], "count = 100000"), 3);
    let share = all.iter().filter(|p| p.len == 8).count() as f64 / all.len() as f64;
    assert!((share - 0.7).abs() < 0.01, "{share}");
}

#[test]
fn sizes_of_a_list_come_by_weight() {
    let op = read("size = { list = [[\"8KiB\", 1], [\"4KiB\", 3]] }");
    let all = run(&workload(&[&op], "count = 100000"), 3);
    let share = all.iter().filter(|p| p.len == 4096).count() as f64 / all.len() as f64;
    assert!((share - 0.75).abs() < 0.01, "{share}");
    assert!(all.iter().all(|p| p.len == 4096 || p.len == 8192));
}

#[test]
fn uniform_sizes_reach_both_ends_and_keep_to_their_step() {
    let op = read("size = { uniform = [100, 131], step = 10 }");
    let mut sizes: Vec<_> = run(&workload(&[&op], "count = 1000"), 3).iter().map(|p| p.len).collect();
    sizes.sort();
    sizes.dedup();
    assert_eq!(sizes, [100, 110, 120, 130]);
    let op = read("size = { uniform = [1, 4] }");
    let mut sizes: Vec<_> = run(&workload(&[&op], "count = 1000"), 3).iter().map(|p| p.len).collect();
    sizes.sort();
    sizes.dedup();
    assert_eq!(sizes, [1, 2, 3, 4]);
}

#[test]
fn uniform_places_reach_both_ends() {
    let op = read("size = \"256KiB\"\nalign = \"256KiB\"");
    let mut offsets: Vec<_> =
        run(&workload(&[&op], "count = 1000"), 3).iter().map(|p| p.offset >> 18).collect();
    offsets.sort();
    offsets.dedup();
    assert_eq!(offsets, [0, 1, 2, 3]);
}

#[test]
fn sequential_places_follow_each_other_and_begin_again() {
    let op = read("size = 393216\nplace = \"sequential\"\nalign = \"64KiB\"");
    let offsets: Vec<_> = run(&workload(&[&op], "count = 4"), 3).iter().map(|p| p.offset).collect();
    assert_eq!(offsets, [0, 393_216, 0, 393_216]);
    let op = read("size = 100\nplace = \"sequential\"\nalign = 64");
    let offsets: Vec<_> = run(&workload(&[&op], "count = 3"), 3).iter().map(|p| p.offset).collect();
    assert_eq!(offsets, [0, 128, 256]);
}

/// How often each of `objects` is drawn, of a million.
fn zipf_counts(exponent: &str, objects: u64) -> Vec<f64> {
    let op = read(&format!("size = 8\nplace = {{ zipf = {exponent}, objects = {objects} }}"));
    let slot = (1 << 20) / objects / 8 * 8;
    let mut counts = vec![0.0; objects as usize];
    for planned in run(&workload(&[&op], "count = 1000000"), 5) {
        assert!(planned.offset.is_multiple_of(slot));
        counts[(planned.offset / slot) as usize] += 1.0;
    }
    counts
}

#[test]
fn zipf_has_its_exact_probabilities() {
    for (text, exponent, objects) in
        [("0.99", 0.99, 1000u64), ("0", 0.0, 10), ("1.5", 1.5, 7), ("10", 10.0, 100)]
    {
        let weights: Vec<f64> = (1..=objects).map(|k| (k as f64).powf(-exponent)).collect();
        let total: f64 = weights.iter().sum();
        let counts = zipf_counts(text, objects);
        for (object, (count, weight)) in counts.iter().zip(&weights).enumerate() {
            let wanted = 1e6 * weight / total;
            // Five standard deviations: a right generator fails one of these checks in a million.
            assert!(
                (count - wanted).abs() <= 5.0 * wanted.sqrt() + 3.0,
                "{text}: {object}: {count} of {wanted}"
            );
        }
    }
}

#[test]
fn an_object_keeps_its_size() {
    let op = read("size = { uniform = [1, 1000] }\nplace = { zipf = 0.5, objects = 1000 }");
    let mut sizes = std::collections::BTreeMap::new();
    for planned in run(&workload(&[&op], "count = 20000"), 9) {
        assert_eq!(*sizes.entry(planned.offset).or_insert(planned.len), planned.len);
    }
    let mean = sizes.values().map(|len| f64::from(*len)).sum::<f64>() / sizes.len() as f64;
    assert!((mean - 500.0).abs() < 50.0, "{mean}");
}

#[test]
fn open_arrivals_have_the_mean_and_spread_of_a_poisson_process() {
    for (rate, mean) in [("\"1M/s\"", 1000.0), ("\"100M/s\"", 10.0), ("3", 1e9 / 3.0)] {
        let load = format!("arrival = \"open\"\nrate = {rate}\ncount = 200000");
        let times: Vec<_> =
            run(&workload(&[&read("size = 8")], &load), 4).iter().map(|p| p.at.unwrap().0).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / mean).collect();
        let average = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - average).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (average - 1.0).abs() < 0.015 && (variance - 1.0).abs() < 0.04,
            "{rate}: {average} {variance}"
        );
    }
}

#[test]
fn an_open_load_ends_at_its_duration() {
    let all =
        run(&workload(&[&read("size = 8")], "arrival = \"open\"\nrate = \"1M/s\"\nduration = \"10ms\""), 4);
    assert!((9_500..10_500).contains(&all.len()) && all.last().unwrap().at.unwrap().0 < 10_000_000);
}

#[test]
fn a_generator_that_has_ended_stays_ended() {
    let workload = workload(&[&read("size = 8")], "count = 2");
    let (mut generator, mut chance) = (Generator::new(&workload), Seeded::new(1));
    let yields: Vec<bool> = (0..4).map(|_| generator.next(&mut chance).is_some()).collect();
    assert_eq!(yields, [true, true, false, false]);
}

#[test]
fn one_operation_of_one_size_takes_one_choice() {
    let workload = workload(&[&read("size = \"4KiB\"\nweight = 70")], "count = 100");
    let (mut generator, mut chance) = (Generator::new(&workload), Seeded::new(1));
    while generator.next(&mut chance).is_some() {}
    assert_eq!(chance.draws(), 100);
}
