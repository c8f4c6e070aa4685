//! How groups ended, and what that means for their step.

use std::time::Duration;

use super::groups::{Group, Run};
use super::running::Ended;
use crate::step::Failure;

/// How a group ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ended by itself, and well.
    Passed,
    /// Anything else, in words.
    Failed(String),
    /// What it runs could not be built. Never counted as passed.
    NotRun(String),
}

/// A group and how it ended.
#[derive(Debug)]
pub(crate) struct Record {
    /// Which.
    pub(crate) group: &'static Group,
    /// How.
    pub(crate) verdict: Verdict,
    /// From power-on to power-off.
    pub(crate) took: Duration,
    /// What it complains of, ready to be printed.
    pub(crate) said: String,
}

/// What an end means for a group that printed this.
pub(crate) fn verdict(group: &Group, ended: Ended, output: &str) -> Verdict {
    let seconds = group.seconds;
    match ended {
        // A test binary whose filter matches nothing is content with that.
        Ended::Code(0) if matches!(group.run, Run::Tests { .. }) && !some_test_passed(output) => {
            Verdict::Failed("no test ran: its filter matches none".into())
        }
        Ended::Code(0) => Verdict::Passed,
        Ended::Code(code) => Verdict::Failed(format!("it ended with exit code {code}")),
        Ended::TimedOut => Verdict::Failed(format!("it was not done after {seconds} s")),
        Ended::NoBoot => Verdict::Failed("the guest could not boot".into()),
        Ended::Lost => Verdict::Failed("the guest was gone before it was done".into()),
    }
}

/// Whether a line like `test result: ok. 3 passed; 0 failed` counts at least one.
fn some_test_passed(output: &str) -> bool {
    let passed =
        |line: &str| line.strip_prefix("test result: ok. ")?.split_once(" passed;")?.0.parse::<u64>().ok();
    output.lines().filter_map(passed).any(|n| n > 0)
}

/// A table with a line for each group.
pub(crate) fn summary(records: &[Record]) -> String {
    let mut text = format!("    {:<24}{:<10}{:>9}\n", "group", "result", "time");
    for Record { group, verdict, took, .. } in records {
        let took = format!("{:.1} s", took.as_secs_f64());
        let (word, took) = match verdict {
            Verdict::Passed => ("ok", took),
            Verdict::Failed(_) => ("FAILED", took),
            Verdict::NotRun(_) => ("NOT RUN", String::from("-")),
        };
        text += &format!("    {:<24}{word:<10}{took:>9}\n", group.name);
    }
    text
}

/// What is wrong with the step, if anything is. No group at all is a failure: nothing was tried.
pub(crate) fn failure(step: &str, records: &[Record]) -> Option<Failure> {
    if records.is_empty() {
        return Some(Failure(format!("{step} has no group to run")));
    }
    let bad: Vec<&Record> = records.iter().filter(|r| r.verdict != Verdict::Passed).collect();
    if bad.is_empty() {
        return None;
    }
    let mut text = format!("{} of {} groups did not pass", bad.len(), records.len());
    for Record { group, verdict, said, .. } in &bad {
        let why = match verdict {
            Verdict::Passed => continue,
            Verdict::Failed(why) => why.clone(),
            Verdict::NotRun(why) => format!("not run: {why}"),
        };
        text += &format!("\n  {}: {why}{said}", group.name);
    }
    let names: Vec<&str> = bad.iter().map(|r| r.group.name).collect();
    text += &format!("\n  repeat these with: cargo ci {step} --only {}", names.join(","));
    Some(Failure(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::groups;

    fn record(name: &str, verdict: Verdict) -> Record {
        let group = groups::of("siw").find(|g| g.name == name).expect("a group of the table");
        Record { group, verdict, took: Duration::from_secs(2), said: String::from("\n    | its words") }
    }

    #[test]
    fn only_an_exit_code_of_0_is_a_pass() {
        let group = Group { seconds: 5, ..*record("smoke", Verdict::Passed).group };
        assert_eq!(verdict(&group, Ended::Code(0), ""), Verdict::Passed);
        for (ended, why) in [
            (Ended::Code(3), "exit code 3"),
            (Ended::TimedOut, "not done after 5 s"),
            (Ended::NoBoot, "could not boot"),
            (Ended::Lost, "was gone"),
        ] {
            assert!(matches!(verdict(&group, ended, ""), Verdict::Failed(w) if w.contains(why)), "{ended:?}");
        }
    }

    #[test]
    fn a_group_of_tests_of_which_none_ran_is_no_pass() {
        let run = Run::Tests { folder: "e", target: "kit", filter: &["nothing"] };
        let group = Group { run, ..*record("smoke", Verdict::Passed).group };
        let result = |n| format!("running {n} tests\n\ntest result: ok. {n} passed; 0 failed; 0 ignored\n");
        assert_eq!(verdict(&group, Ended::Code(0), &result(2)), Verdict::Passed);
        for output in [result(0), String::new()] {
            let verdict = verdict(&group, Ended::Code(0), &output);
            assert!(matches!(verdict, Verdict::Failed(why) if why.contains("no test ran")), "{output}");
        }
    }

    #[test]
    fn a_step_passes_only_if_every_group_did() {
        assert_eq!(failure("siw", &[record("smoke", Verdict::Passed)]), None);
        for verdict in [Verdict::Failed("as told".into()), Verdict::NotRun("as told".into())] {
            let Some(Failure(why)) =
                failure("siw", &[record("smoke", Verdict::Passed), record("cable", verdict)])
            else {
                panic!("it passed");
            };
            for part in ["1 of 2 groups", "cable: ", "as told\n    | its words", "cargo ci siw --only cable"]
            {
                assert!(why.contains(part), "{why}");
            }
        }
        assert!(failure("siw", &[]).is_some());
    }

    #[test]
    fn the_summary_has_a_line_for_each_group() {
        let records =
            [record("smoke", Verdict::Failed("".into())), record("cable", Verdict::NotRun("".into()))];
        let text = summary(&records);
        let words = |name: &str| {
            let line = text.lines().find(|l| l.split_whitespace().next() == Some(name)).expect("a line");
            line.split_whitespace().skip(1).map(String::from).collect::<Vec<_>>().join(" ")
        };
        assert_eq!([words("smoke"), words("cable")], ["FAILED 2.0 s", "NOT RUN -"]);
    }
}
