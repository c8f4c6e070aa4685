//! Runs that once found something, canaries, and seeds of this commit: what `wavetank sim` finds in a minute.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::released::Released;
use crate::step::Failure;
use crate::stopwatch::Stopwatch;
use crate::tool;

/// Seeds of one commit.
const SEEDS: &str = "3000";

/// Seeds of one commit over messengers.
const MESSENGER_SEEDS: &str = "600";

/// Runs all of it.
pub(crate) fn check(released: &Released<'_>) -> Result<(), Failure> {
    released.build()?;
    let watch = Stopwatch::start();
    corpus(released)?;
    canary(released)?;
    seeds(released, "engine", SEEDS)?;
    seeds(released, "messenger", MESSENGER_SEEDS)?;
    println!("    {:.1} s for all of it", watch.elapsed().as_secs_f64());
    Ok(())
}

fn corpus(released: &Released<'_>) -> Result<(), Failure> {
    let folder = "sim-harness/corpus";
    let entries = released.workspace().root().join(folder).read_dir();
    let entries = entries.map_err(|e| Failure(format!("{folder} cannot be read: {e}")))?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|n| n.ends_with(".sim")).collect();
    names.sort();
    for name in names {
        let file = format!("{folder}/{name}");
        let (held, told, _) = released.read(&["replay", &file])?;
        if !held {
            return Err(Failure(format!("{file} does not end as it says:\n{told}")));
        }
    }
    Ok(())
}

/// Two seeds that have to fail, through jobs, files and replay. If they are not told, no failure is.
fn canary(released: &Released<'_>) -> Result<(), Failure> {
    let out = "target/canary";
    let args = ["sim", "--start", "100", "--seeds", "101", "--jobs", "2", "--canary", "--keep-going"];
    let (held, told, _) = released.read(&[&args[..], &["--json", "--out", out]].concat())?;
    let found = |json: &str| -> Option<u64> {
        serde_json::from_str::<Value>(json).ok()?["failed"]["canary"].as_u64()
    };
    if held || found(&told) != Some(2) {
        return Err(Failure(format!("two canaries should have failed and did not:\n{told}")));
    }
    let (held, told, _) = released.read(&["replay", &format!("{out}/seed-200.sim")])?;
    if held { Ok(()) } else { Err(Failure(format!("a canary did not fail again:\n{told}"))) }
}

/// Seeds that nobody has run before. One in twenty is run twice and compared.
fn seeds(released: &Released<'_>, over: &str, count: &str) -> Result<(), Failure> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "HEAD"]).current_dir(released.workspace().root());
    // Where there is no commit, any seeds will do.
    let commit = tool::read(&mut git, Duration::from_secs(10)).unwrap_or_else(|_| "1".to_owned());
    let out = "target/sim-failures";
    let args =
        ["sim", "--start", commit.trim(), "--seeds", count, "--jobs", "2", "--keep-going", "--out", out];
    let (held, told, _) = released.read(&[&args[..], &["--over", over]].concat())?;
    println!("{told}");
    if held { Ok(()) } else { Err(Failure(format!("seeds failed: their runs are in {out}"))) }
}
