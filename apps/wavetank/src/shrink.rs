//! `wavetank shrink`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wavetank_harness::swarm::Plan;
use wavetank_harness::swarm::choices::SwarmChoices;
use wavetank_harness::swarm::file::{Expected, Outcome, SimFile};
use wavetank_harness::swarm::shrink::shrink;

use crate::again::{is_swarm_run, run_case};
use crate::sim::{RunsBar, write};
use crate::{print, say};

/// Makes a failing run as small as it gets: fewer operations, faults and loud choices, a smaller network, duller settings.
///
/// Whatever is taken away, the run has to fail by the same check. The small run is written to a file, and a test is printed
/// that holds it to what it should do.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  wavetank shrink sim-failures/seed-8117.sim
  wavetank shrink sim-failures/seed-8117.sim -o sim-harness/corpus/4-torn-swap.sim --runs 20000

Once the bug is fixed, this writes down what the run does now:
  wavetank replay sim-harness/corpus/4-torn-swap.sim --record fixed.sim

Exit status:
  0  it is small: stdout has the test
  1  it does not fail, or otherwise than the file says
  2  the input is bad: stderr says file, line and what would be right")]
pub(crate) struct Args {
    /// The failing run, as `wavetank sim` leaves it.
    file: PathBuf,
    /// Where the small one goes [default: FILE with .small.sim].
    #[arg(short, long, value_name = "SIM")]
    out: Option<PathBuf>,
    /// Runs it may take.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.file.exists() && !is_swarm_run(&args.file) {
        let path = args.file.display();
        return Err(
            format!("{path}: not a run of `wavetank sim`: such a file begins with wavetank-swarm").into()
        );
    }
    let file = SimFile::load(&args.file)?;
    let Some(wanted) = file.expected.failing() else {
        return Err(
            format!("{}: it is expected to hold: there is nothing to shrink", args.file.display()).into()
        );
    };
    let bar = RunsBar::new(args.runs);
    // A panic is one more way to fail, told once at the end and not at every run.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut run = |plan: &Plan, choices: SwarmChoices| {
        Expected::of(&run_case(file.canary, plan, choices, None)).failing()
    };
    let shrunk = shrink(&file.case, wanted, args.runs, &mut run, &mut |progress| {
        bar.show(progress.runs, progress.best.plan.ops.len());
    });
    std::panic::set_hook(hook);
    bar.done();
    let shrunk = match shrunk {
        Ok(shrunk) => shrunk,
        Err(error) => {
            say(&format!("{}: {error}", args.file.display()));
            return Ok(ExitCode::FAILURE);
        }
    };
    let choices = SwarmChoices::sparse(&shrunk.case.loud).record();
    let outcome = run_case(file.canary, &shrunk.case.plan, choices.clone(), None);
    // What was found in the small run stands for what was found in the large one.
    let large = run_case(file.canary, &file.case.plan, SwarmChoices::sparse(&file.case.loud), None);
    let (found, before) = (guilt(&outcome), guilt(&large));
    let mut notes = file.notes.clone();
    notes.retain(|note| Some(note) != found.as_ref() && Some(note) != before.as_ref());
    notes.extend(found);
    let small = SimFile::of(file.seed, &shrunk.case.plan, &choices, &outcome);
    let small = SimFile { notes, canary: file.canary, ..small };
    let path = args.out.clone().unwrap_or_else(|| args.file.with_extension("small.sim"));
    write(&path, &small)?;
    let lines = small.to_string().lines().count();
    say(&format!(
        "{}: {lines} lines after {} runs{}",
        path.display(),
        shrunk.runs,
        match shrunk.done {
            true => "",
            false => "; more --runs may make it smaller",
        }
    ));
    print(&test(&path, &small))?;
    Ok(ExitCode::SUCCESS)
}

/// What a run was found guilty of.
fn guilt(outcome: &Outcome) -> Option<String> {
    Some(outcome.as_ref().ok()?.failure.as_ref()?.what.clone())
}

/// A test for `sim-harness/tests/corpus.rs`.
fn test(path: &Path, file: &SimFile) -> String {
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let slug: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let slug = slug.trim_matches(|c: char| c == '_' || c.is_ascii_digit());
    let what = file.expected.failing().map_or("", |failing| failing.name());
    format!(
        "/// {}\n\
         #[test]\n\
         fn {slug}_fails_by_{what}_no_more() {{\n    \
         // sim-harness/corpus/{name}.sim; once it is fixed, `wavetank replay FILE --record FILE` says what it should do.\n    \
         replayed(\"{name}.sim\");\n\
         }}",
        file.notes.first().map_or("What it once found.", String::as_str),
    )
}
