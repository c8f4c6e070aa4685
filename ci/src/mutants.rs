//! The mutation drill: bugs planted on purpose, each of which the suite has to find within a minute.
//!
//! The bugs are `wavetank_contract::planted::Bug`, reachable only in a build with the feature `planted`, which nothing but
//! this drill makes. One build serves all of them; the suite is what `cargo ci test` runs too: swarm seeds, the kit, a
//! workload, and the tests of the simulated NIC and of the engine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::step::Failure;
use crate::stopwatch::Stopwatch;
use crate::tool;
use crate::workspace::Workspace;

/// How long the suite may take to find a bug.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the build with planted bugs goes, so that no other build ever meets it.
const FOLDER: &str = "target/planted";

/// How much of what is said is told.
const TOLD_CHARS: usize = 100;

/// Names the bug to a process.
const PLANT: &str = "WAVETANK_PLANT";

/// What of the program has to find a bug, in this order: the exit status 1 is a find.
const SUITE: [(&str, &[&str]); 4] = [
    ("messages", &["sim", "--over", "messenger", "--seeds", "1500", "--jobs", "2"]),
    ("swarm", &["sim", "--seeds", "5000", "--jobs", "2"]),
    ("kit", &["kit"]),
    ("replay", &["replay", "workloads/pgbench-8k.toml"]),
];

/// The tests behind it.
const TESTS: [&str; 12] = [
    "test",
    "--package",
    "wavetank-contract",
    "--package",
    "wavetank-mock",
    "--package",
    "wavetank-engine",
    "--features",
    "wavetank-contract/planted",
    "--target-dir",
    FOLDER,
    "--quiet",
];

/// What became of a bug.
struct Found {
    by: &'static str,
    said: String,
    seconds: f64,
}

/// Plants every bug, or those that are named, one after the other. Fails when one survives.
pub(crate) fn drill(workspace: &Workspace, only: &[String]) -> Result<(), Failure> {
    let build =
        ["build", "--package", "wavetank", "--release", "--features", "planted", "--target-dir", FOLDER];
    workspace.cargo(&build).run()?;
    workspace.cargo(&[&TESTS[..], &["--no-run"]].concat()).run()?;
    let program = workspace.root().join(FOLDER).join("release/wavetank");
    let bugs = bugs(&program, only)?;
    // A suite that fails by itself would find anything.
    if let Some(Found { by, said, .. }) = hunt(workspace, &program, None)? {
        return Err(Failure(format!("without any bug planted the {by} fails: {said}")));
    }
    println!("    {:<28} {:<8} {:>7}  what it said", "planted", "found by", "seconds");
    let mut survivors = Vec::new();
    for bug in &bugs {
        match hunt(workspace, &program, Some(bug))? {
            Some(Found { by, said, seconds }) => println!("    {bug:<28} {by:<8} {seconds:>7.1}  {said}"),
            None => {
                println!("    {bug:<28} SURVIVED");
                survivors.push(bug.as_str());
            }
        }
    }
    match survivors.len() {
        0 => {
            println!("    all {} found", bugs.len());
            Ok(())
        }
        n => Err(Failure(format!("{n} of {} planted bugs survive: {}", bugs.len(), survivors.join(", ")))),
    }
}

/// The bugs there are, as the program lists them; all of those that are named have to be among them.
fn bugs(program: &Path, only: &[String]) -> Result<Vec<String>, Failure> {
    let listed = tool::read(Command::new(program).env(PLANT, "list"), LIMIT)?;
    let all: Vec<String> = listed.lines().map(str::to_owned).collect();
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        return Err(Failure(format!("no bug is called {unknown:?}; there are {}", all.join(", "))));
    }
    if all.is_empty() {
        return Err(Failure(format!("`{}` lists no bugs: it was built without them", program.display())));
    }
    Ok(if only.is_empty() { all } else { only.to_vec() })
}

/// Runs the suite until something fails.
fn hunt(workspace: &Workspace, program: &Path, bug: Option<&str>) -> Result<Option<Found>, Failure> {
    let watch = Stopwatch::start();
    let program = |args| {
        let mut command = Command::new(program);
        command.args(args).current_dir(workspace.root());
        command
    };
    let parts = SUITE.into_iter().map(|(by, args)| (by, program(args)));
    for (by, mut command) in parts.chain([("tests", workspace.cargo(&TESTS).command())]) {
        let left = LIMIT.saturating_sub(watch.elapsed());
        if let Some(said) = fails(&mut command, bug, left)? {
            return Ok(Some(Found { by, said, seconds: watch.elapsed().as_secs_f64() }));
        }
    }
    Ok(None)
}

/// Whether a part of the suite fails, and the first line it says then. One that was not done in time has found nothing.
fn fails(command: &mut Command, bug: Option<&str>, left: Duration) -> Result<Option<String>, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let wrong = |e: std::io::Error| Failure(format!("`{name}` did not start: {e}"));
    let folder = tempfile::tempdir().map_err(wrong)?;
    let said = folder.path().join("said");
    let out = std::fs::File::create(&said).map_err(wrong)?;
    command.stdin(Stdio::null()).stdout(out.try_clone().map_err(wrong)?).stderr(out);
    if command.get_args().next().is_some_and(|arg| arg == "sim") {
        command.arg("--out").arg(folder.path());
    }
    if let Some(bug) = bug {
        command.env(PLANT, bug);
    }
    let mut child = command.spawn().map_err(wrong)?;
    let Some(status) = tool::wait(&mut child, left)? else { return Ok(None) };
    // A program that died of a bug has shown it too.
    if status.success() {
        return Ok(None);
    }
    let said = std::fs::read_to_string(&said).map_err(wrong)?;
    if status.code() == Some(2) {
        return Err(Failure(format!("`{name}` was refused: {said}")));
    }
    let telling = |line: &&str| ["check failed", "FAILED", "panicked"].iter().any(|word| line.contains(word));
    let first = said.lines().find(telling).or_else(|| said.lines().next());
    let first: String = first.unwrap_or("it said nothing").trim().chars().take(TOLD_CHARS).collect();
    Ok(Some(first))
}
