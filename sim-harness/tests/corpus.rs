//! Runs that once found something do what they should since.

use std::path::{Path, PathBuf};

use wavetank_harness::Check;
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{Expected, Outcome, SimFile, caught};
use wavetank_harness::swarm::{Guilt, Plan, run};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Its names, in order.
fn names() -> Vec<String> {
    let entries = corpus().read_dir().expect("the folder is there");
    let names = entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".sim")).collect();
    names.sort();
    names
}

fn load(name: &str) -> SimFile {
    SimFile::load(&corpus().join(name)).expect("it is well-formed")
}

fn again(file: &SimFile, plan: &Plan, choices: SwarmChoices) -> Outcome {
    let mut outcome = caught(|| run(plan, choices));
    if let (true, Ok(verdict)) = (file.canary, &mut outcome) {
        let what = "this one has to fail".to_owned();
        verdict.failure = Some(Guilt { check: Check::Canary, at: verdict.took, op: None, what });
    }
    outcome
}

/// The run of this name ends as its file says.
fn replayed(name: &str) {
    let file = load(name);
    let (_, differences) = file.replay(&mut |plan, choices| again(&file, plan, choices));
    assert!(differences.is_empty(), "{name}: {differences:#?}");
}

#[test]
fn every_run_ends_as_its_file_says() {
    assert!(!names().is_empty());
    names().iter().for_each(|name| replayed(name));
}

#[test]
fn every_file_is_named_after_an_issue_and_says_what_it_found() {
    for name in names() {
        let (issue, slug) = name.split_once('-').expect("<issue>-<slug>.sim");
        assert!(issue.parse::<u32>().is_ok() && !slug.is_empty(), "{name}");
        let file = load(&name);
        assert!(file.notes.first().is_some_and(|note| note.len() > 10), "{name} says what it found");
        assert!(file.to_string().lines().count() < 100, "{name} is small");
    }
}

#[test]
fn the_canary_fails_and_nothing_else_does() {
    for name in names() {
        let fails = load(&name).expected.failing().is_some();
        assert_eq!(fails, name == "4-canary.sim", "{name}");
    }
    assert!(names().iter().any(|name| name == "4-canary.sim"));
}

#[test]
fn a_run_that_ends_otherwise_is_noticed() {
    for name in names() {
        let mut file = load(&name);
        let plan = file.case.plan.clone();
        let hash = again(&file, &plan, SwarmChoices::sparse(&file.case.loud)).expect("no panic").trace_hash;
        file.expected = Expected::Passes(hash ^ 1);
        let (_, differences) = file.replay(&mut |plan, choices| again(&file, plan, choices));
        assert_eq!(differences.len(), 1, "{name}: {differences:?}");
    }
}
