//! Runs the groups of a step, each in its own guest, and sums up.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use super::artefacts::{Artefact, Artefacts};
use super::groups::{self, Group, Run};
use super::machine::{Machine, Size};
use super::native::{Native, NativeRun};
use super::running::{Ended, Running};
use super::script::Script;
use super::verdict::{Record, Verdict, failure, summary, verdict};
use crate::complaints::complaints;
use crate::follow::Lines;
use crate::libraries::Libraries;
use crate::options::Options;
use crate::step::Failure;
use crate::stopwatch::{Stopwatch, nap};
use crate::tool;
use crate::workspace::Workspace;

/// Where groups run.
#[derive(Debug)]
enum Place {
    Guests(Box<Machine>),
    Here(Native),
}

/// A group that runs.
#[derive(Debug)]
enum Job {
    Guest(Box<Running>),
    Here(NativeRun),
}

impl Job {
    fn turn(&mut self, print: &mut dyn FnMut(&[u8])) -> Result<Option<Ended>, Failure> {
        match self {
            Job::Guest(guest) => guest.turn(print),
            Job::Here(run) => run.turn(print),
        }
    }

    fn last_words(&self) -> String {
        match self {
            Job::Guest(guest) => guest.last_words(),
            Job::Here(run) => run.last_words(),
        }
    }
}

/// A group between its start and its end.
#[derive(Debug)]
struct Active {
    group: &'static Group,
    job: Job,
    watch: Stopwatch,
    lines: Lines,
    output: Vec<u8>,
}

/// The step of that name: all its groups, or those that are chosen.
pub(crate) fn run(step: &str, workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let chosen = chosen(step, &options.only)?;
    let place = place(step, workspace, options, &chosen)?;
    let libraries = if options.native { Libraries::installed() } else { Libraries::find(workspace)? };
    let mut artefacts = Artefacts::default();
    let mut records = Vec::with_capacity(chosen.len());
    let mut waiting = VecDeque::new();
    for group in chosen {
        match artefacts.provide(workspace, &libraries, &group.run) {
            Ok(artefact) => waiting.push_back((group, script(workspace, group, artefact))),
            Err(why) => records.push(Record {
                group,
                verdict: Verdict::NotRun(why),
                took: Duration::ZERO,
                said: String::new(),
            }),
        }
    }
    let jobs = options.jobs.map_or(1, usize::from);
    let mut active: Vec<Active> = Vec::new();
    while !(waiting.is_empty() && active.is_empty()) {
        while active.len() < jobs
            && let Some((group, script)) = waiting.pop_front()
        {
            active.push(start(&place, group, &script)?);
        }
        let mut ended = Vec::new();
        for (i, active) in active.iter_mut().enumerate() {
            ended.extend(active.turn()?.map(|e| (i, e)));
        }
        for (i, how) in ended.into_iter().rev() {
            records.push(active.swap_remove(i).end(&place, how)?);
        }
        nap();
    }
    records.sort_by_key(|r| groups::GROUPS.iter().position(|g| std::ptr::eq(g, r.group)));
    println!("\n{}", summary(&records));
    failure(step, &records).map_or(Ok(()), Err)
}

/// Prints the groups of a step.
pub(crate) fn list(step: &str) {
    for Group { name, net, seconds, about, .. } in groups::of(step) {
        println!("{name:<20} {:<8} {seconds:>4} s  {about}", net.to_string());
    }
}

/// The groups of the step that are asked for; all, if none is.
fn chosen(step: &str, only: &[String]) -> Result<Vec<&'static Group>, Failure> {
    let names: Vec<&str> = groups::of(step).map(|g| g.name).collect();
    match only.iter().find(|o| !names.contains(&o.as_str())) {
        Some(unknown) => {
            let names = names.join(", ");
            Err(Failure(format!("{step} has no group {unknown:?}; it has: {names}")))
        }
        None => {
            Ok(groups::of(step).filter(|g| only.is_empty() || only.iter().any(|o| o == g.name)).collect())
        }
    }
}

fn place(step: &str, workspace: &Workspace, options: &Options, groups: &[&Group]) -> Result<Place, Failure> {
    if options.native {
        return Native::provide(workspace.root(), step, options.install).map(Place::Here);
    }
    let with_siw = groups.iter().any(|g| g.net.needs_siw());
    Machine::provide(workspace, with_siw, None).map(|m| Place::Guests(Box::new(m)))
}

fn script(workspace: &Workspace, group: &Group, artefact: Option<Artefact>) -> Script {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let (executable, package) = artefact.map_or_else(Default::default, |a| (text(a.executable), a.folder));
    let (folder, words) = match group.run {
        Run::Check(name) => {
            (None, vec![String::from("bash"), text(workspace.root().join("ci/guest/checks").join(name))])
        }
        Run::Session { script, .. } => {
            let script = text(workspace.root().join("ci/guest/checks").join(script));
            let root = text(workspace.root().to_path_buf());
            (None, vec![String::from("bash"), script, executable, root])
        }
        Run::Program { args, .. } => {
            (Some(workspace.root().to_path_buf()), [executable].into_iter().chain(owned(args)).collect())
        }
        Run::Tests { filter, .. } => (Some(package), [executable].into_iter().chain(owned(filter)).collect()),
    };
    let env = group.env.iter().map(|(n, v)| (String::from(*n), String::from(*v))).collect();
    Script { net: Some(group.net), env, folder: folder.map(text), command: words }
}

fn owned(words: &'static [&'static str]) -> impl Iterator<Item = String> {
    words.iter().map(|w| String::from(*w))
}

fn start(place: &Place, group: &'static Group, script: &Script) -> Result<Active, Failure> {
    println!("\n    -> {}: {}", group.name, group.about);
    let timeout = Duration::from_secs(group.seconds);
    let job = match place {
        Place::Guests(machine) => {
            Job::Guest(Box::new(machine.start(script, Size { timeout, ..Size::default() })?))
        }
        Place::Here(native) => Job::Here(native.start(script, timeout)?),
    };
    Ok(Active { group, job, watch: Stopwatch::start(), lines: Lines::of(group.name), output: Vec::new() })
}

impl Active {
    fn turn(&mut self) -> Result<Option<Ended>, Failure> {
        let Active { job, lines, output, .. } = self;
        let ended = job.turn(&mut |bytes| {
            output.extend_from_slice(bytes);
            lines.push(bytes).iter().for_each(|l| println!("{l}"));
        })?;
        if ended.is_some() {
            lines.end().iter().for_each(|l| println!("{l}"));
        }
        Ok(ended)
    }

    /// Sums it up; when it failed, says all there is to know, once and in one place.
    fn end(self, place: &Place, ended: Ended) -> Result<Record, Failure> {
        let Active { group, job, watch, output, .. } = self;
        let took = watch.elapsed();
        let verdict = verdict(group, ended, &String::from_utf8_lossy(&output));
        let word = if verdict == Verdict::Passed { "ok" } else { "FAILED" };
        let booted = match &job {
            Job::Guest(guest) => {
                guest.booted_after().map(|b| format!(", {:.1} s of them to boot", b.as_secs_f64()))
            }
            Job::Here(_) => None,
        };
        println!(
            "    <- {}: {word} after {:.1} s{}",
            group.name,
            took.as_secs_f64(),
            booted.unwrap_or_default()
        );
        let mut said = String::new();
        if let Verdict::Failed(why) = &verdict {
            let output = String::from_utf8_lossy(&output);
            let last = tool::tail(&output);
            said = complaints(&output);
            if said.is_empty() {
                said = format!("\n{last}");
            }
            println!("  {why}\n  the last it printed:\n{last}");
            println!("{}", job.last_words());
            if let (Job::Guest(guest), Place::Guests(machine)) = (&job, place) {
                let kept = machine.folder().join("failed").join(format!("{}-{}", group.step, group.name));
                guest.keep(&kept)?;
                println!("  all that is left of it: {}", kept.display());
            }
            println!("  repeat it with: cargo ci {} --only {}", group.step, group.name);
        }
        Ok(Record { group, verdict, took, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_chosen_by_name_and_a_name_that_is_not_there_is_refused() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|o| String::from(*o)).collect();
            chosen("siw", &only).map(|g| g.iter().map(|g| g.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["cable"]), Ok(vec!["cable"]));
        assert!(names(&[]).is_ok_and(|n| n.contains(&"cable") && n.contains(&"smoke")));
        assert!(
            matches!(names(&["cabel"]), Err(Failure(why)) if why.contains("\"cabel\"; it has: smoke, cable"))
        );
    }
}
