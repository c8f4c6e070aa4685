//! Both logs of a program beside its steps, with the first difference marked.

use std::fmt::Write as _;

use super::log::{Log, Round};
use super::program::Step;
use super::{Difference, Plan, Verdict};

/// Width of the reference's column.
const WIDTH: usize = 52;

pub(super) fn side_by_side(verdict: &Verdict) -> String {
    let program = &verdict.program;
    let plan = Plan::of(program);
    let [ours, theirs] = &verdict.logs;
    let mut text = String::new();
    let mut round = 0;
    for i in 0..=program.steps.len() {
        if plan.settle_before[i] {
            settled(&mut text, round, [ours, theirs], &verdict.differences);
            round += 1;
        }
        let Some(step) = program.steps.get(i) else { break };
        let signal =
            if plan.signal[i] && matches!(step, Step::Post(p) if !p.signalled) { " (signalled)" } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{i:3}  {step}{signal}");
        let said = [ours, theirs]
            .map(|log| log.refusals.get(&i).map_or(String::new(), |r| format!("refused: {r:?}")));
        if said != [String::new(), String::new()] {
            row(&mut text, said[0] != said[1], &said[0], &said[1]);
        }
    }
    for difference in &verdict.differences {
        if let Difference::Stray { .. } = difference {
            let _ = writeln!(text, "  >> {difference}");
        }
    }
    if let Some(first) = verdict.differences.first() {
        let _ = writeln!(text, "  first difference: {first}");
    }
    text
}

fn row(text: &mut String, differs: bool, ours: &str, theirs: &str) {
    let mark = if differs { "  >> " } else { "     " };
    let _ = writeln!(text, "{mark}{ours:WIDTH$} | {theirs}");
}

fn settled(text: &mut String, round: usize, logs: [&Log; 2], differences: &[Difference]) {
    let nothing = Round::default();
    let [ours, theirs] = logs.map(|log| log.rounds.get(round).unwrap_or(&nothing));
    let _ = writeln!(text, "     -- settled --");
    let mut keys: Vec<_> = ours.ends.keys().chain(theirs.ends.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (end, queue) = key;
        let of = |round: &Round| round.ends.get(&key).cloned().unwrap_or_default();
        let (a, b) = (of(ours), of(theirs));
        for i in 0..a.len().max(b.len()) {
            let (x, y) = (a.get(i), b.get(i));
            let say =
                |e: Option<&super::Ended>| e.map_or("nothing".into(), |e| format!("{end} {queue:?}: {e}"));
            let same = matches!((x, y), (Some(x), Some(y)) if x.agrees(y));
            row(text, !same, &say(x), &say(y));
        }
    }
    for (end, state) in &ours.states {
        let other = theirs.states.get(end);
        if other != Some(state) {
            row(text, true, &format!("{end} is in {state:?}"), &format!("{end} is in {other:?}"));
        }
    }
    for difference in differences {
        let shown = match difference {
            Difference::Bytes { round: at, .. } | Difference::Unsettled { round: at, .. } => *at == round,
            _ => false,
        };
        if shown {
            let _ = writeln!(text, "  >> {difference}");
        }
    }
}
