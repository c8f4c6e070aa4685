//! Fuzzing on stable Rust: inputs grown from a corpus by damaging it, one test for each target.
//!
//! `cargo test -p wavetank-harness --test fuzz` tries each file of the corpus and some hundred inputs made of it. A night of
//! one target is
//!
//! ```text
//! PROPTEST_CASES=100000000 cargo test --release -p wavetank-harness --test fuzz -- sim_file --exact
//! ```
//!
//! What fails is shrunk and printed; put it into `sim-harness/fuzz/TARGET/`, where it is tried for ever after. Bodies are in
//! `targets.rs`: functions of bytes, as any other fuzzer wants them.

#![allow(clippy::print_stdout)] // cargo test shows it of failures only

mod damage;
mod targets;

use std::path::Path;
use std::{env, fs};

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

/// What is tried: never panics on any bytes, and checks what it can about those that it takes.
type Target = fn(&[u8]);

/// Every file of the target's corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry of the corpus").path();
            (path.display().to_string(), fs::read(&path).expect("a file of the corpus"))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

/// Tries the corpus, then as many inputs made of it as are asked for.
fn fuzz(name: &str, target: Target, cases: u32) {
    let corpus = corpus(name);
    for (file, bytes) in &corpus {
        // The last line told before a panic names the file.
        println!("{file}");
        target(bytes);
    }
    let cases = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let seeds: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let tried = TestRunner::new(config).run(&damage::inputs(seeds), |input| {
        target(&input.0);
        Ok::<(), TestCaseError>(())
    });
    if let Err(error) = tried {
        panic!("{name}: {error}");
    }
}

#[test]
fn workload() {
    fuzz("workload", targets::workload, 256);
}

#[test]
fn schedule() {
    fuzz("schedule", targets::schedule, 256);
}

#[test]
fn iolog() {
    fuzz("iolog", targets::iolog, 256);
}

#[test]
fn sim_file() {
    fuzz("sim_file", targets::sim_file, 256);
}

#[test]
fn recording() {
    fuzz("recording", targets::recording, 256);
}

#[test]
fn choices() {
    fuzz("choices", targets::choices, 32);
}

/// A target that is wrong about one input: whatever has an `x` behind the first line.
fn brittle(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.split_once('\n').is_some_and(|(_, rest)| rest.contains('x')), "brittle");
}

#[test]
fn a_target_that_breaks_is_found_out() {
    let found = std::panic::catch_unwind(|| fuzz("schedule", brittle, 2000));
    assert!(found.is_err());
}
