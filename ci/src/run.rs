//! Runs steps, announces each, and sums up.

use std::time::Duration;

use crate::options::Options;
use crate::step::{Failure, Step, Within};
use crate::stopwatch::Stopwatch;
use crate::workspace::Workspace;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(Failure),
    /// The step it needs did not pass. Never counted as passed.
    NotRun(&'static str),
    /// It was asked to be left out. Said loudly, and not held against the others.
    LeftOut,
}

/// A step and how it ended.
#[derive(Debug)]
struct Record {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// Runs every step that can run, but for those that need a guest if that is not wanted. True when all that were to run
/// passed.
pub(crate) fn all(steps: &[Step], workspace: &Workspace, options: &Options, guest: bool) -> bool {
    let mut records: Vec<Record> = Vec::with_capacity(steps.len());
    let runs = |step: &Step| guest || !step.guest;
    for step in steps {
        let record = if runs(step) {
            let within = step.within.filter(|w| steps.iter().any(|s| s.name == w.step && runs(s)));
            one(step, within, &records, workspace, options)
        } else {
            Record { name: step.name, outcome: Outcome::LeftOut, took: Duration::ZERO }
        };
        records.push(record);
    }
    println!("\n{}", summary(&records));
    records.iter().all(|r| matches!(r.outcome, Outcome::Passed | Outcome::LeftOut))
}

fn one(
    step: &Step,
    within: Option<Within>,
    before: &[Record],
    workspace: &Workspace,
    options: &Options,
) -> Record {
    let broken = |need: &&str| before.iter().any(|r| r.name == *need && r.outcome != Outcome::Passed);
    if let Some(need) = step.needs.filter(broken) {
        println!("\n==> {}: not run, {need} did not pass", step.name);
        return Record { name: step.name, outcome: Outcome::NotRun(need), took: Duration::ZERO };
    }
    println!("\n==> {}: {}", step.name, step.about);
    let watch = Stopwatch::start();
    let done = match within {
        Some(Within { step, rest }) => {
            println!("    what {step} does or builds as well is not done twice");
            rest(workspace)
        }
        None => (step.run)(workspace, options),
    };
    let outcome = match done {
        Ok(()) => Outcome::Passed,
        Err(failure) => Outcome::Failed(failure),
    };
    let took = watch.elapsed();
    let word = if outcome == Outcome::Passed { "ok" } else { "FAILED" };
    println!("<== {}: {word} after {}", step.name, seconds(took));
    Record { name: step.name, outcome, took }
}

/// A table, then one paragraph for each step that did not pass, with the command that repeats it.
fn summary(records: &[Record]) -> String {
    let mut text = format!("{:<14}{:<10}{:>9}\n", "step", "result", "time");
    for record in records {
        let (word, time) = match record.outcome {
            Outcome::Passed => ("ok", seconds(record.took)),
            Outcome::Failed(_) => ("FAILED", seconds(record.took)),
            Outcome::NotRun(_) => ("not run", String::from("-")),
            Outcome::LeftOut => ("NOT RUN", String::from("-")),
        };
        text += &format!("{:<14}{word:<10}{time:>9}\n", record.name);
    }
    let total = records.iter().map(|r| r.took).sum();
    text += &format!("{:<24}{:>9}\n", "all", seconds(total));
    for Record { name, outcome, .. } in records {
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed(Failure(why)) => {
                text += &format!("\n{name} failed: {why}\n  repeat it with: cargo ci {name}\n");
            }
            Outcome::LeftOut => {
                text += &format!(
                    "\n{name} was NOT RUN: --no-guest leaves it out\n  run it with: cargo ci {name}\n"
                );
            }
            Outcome::NotRun(need) => {
                text += &format!("\n{name} was not run: it needs {need}\n  run it with: cargo ci {name}\n");
            }
        }
    }
    text
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(name: &'static str, needs: Option<&'static str>) -> Step {
        Step { name, about: "", needs, guest: false, run: |_, _| Ok(()), within: None }
    }

    fn failing(name: &'static str) -> Step {
        let run: fn(&Workspace, &Options) -> _ = |_, _| Err(Failure("as told".into()));
        Step { name, about: "", needs: None, guest: false, run, within: None }
    }

    fn outcomes(steps: &[Step]) -> Vec<Record> {
        let workspace = Workspace::find();
        let mut records = Vec::new();
        for step in steps {
            records.push(one(step, None, &records, &workspace, &Options::default()));
        }
        records
    }

    #[test]
    fn a_failure_stops_only_the_steps_that_need_it() {
        let steps = [failing("a"), passing("b", Some("a")), passing("c", Some("b")), passing("d", None)];
        let records = outcomes(&steps);
        assert_eq!(records[0].outcome, Outcome::Failed(Failure("as told".into())));
        assert_eq!(records[1].outcome, Outcome::NotRun("a"));
        assert_eq!(records[2].outcome, Outcome::NotRun("b"));
        assert_eq!(records[3].outcome, Outcome::Passed);
        let passes = |steps| all(steps, &Workspace::find(), &Options::default(), true);
        assert!(!passes(&steps) && passes(&steps[3..]));
    }

    #[test]
    fn what_needs_a_guest_can_be_left_out_and_is_then_said_not_to_have_run() {
        let steps = [passing("a", None), Step { guest: true, ..failing("b") }];
        let passes = |guest| all(&steps, &Workspace::find(), &Options::default(), guest);
        assert!(passes(false) && !passes(true));
        let text = summary(&[Record { name: "b", outcome: Outcome::LeftOut, took: Duration::ZERO }]);
        assert!(
            text.contains("NOT RUN") && text.contains("b was NOT RUN: --no-guest leaves it out"),
            "{text}"
        );
    }

    #[test]
    fn where_a_later_step_does_most_of_one_only_the_rest_of_it_is_done() {
        let rest: fn(&Workspace) -> _ = |_| Err(Failure("the rest".into()));
        let steps = [
            Step { within: Some(Within { step: "b", rest }), ..passing("a", None) },
            Step { guest: true, ..passing("b", None) },
        ];
        let passes = |steps: &[Step], guest| all(steps, &Workspace::find(), &Options::default(), guest);
        assert!(!passes(&steps, true), "b runs, so the rest of a was to be done");
        assert!(passes(&steps, false) && passes(&steps[..1], true), "b does not run, so all of a is done");
    }

    #[test]
    fn the_summary_names_each_failed_step_and_the_command_that_repeats_it() {
        let text = summary(&outcomes(&[failing("a"), passing("b", Some("a")), failing("c")]));
        for expected in
            ["a failed: as told", "cargo ci a", "b was not run: it needs a", "cargo ci b", "cargo ci c"]
        {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert!(!summary(&outcomes(&[passing("d", None)])).contains("cargo ci"));
    }
}
