//! Other programs (apt-get, tar, make): each has a deadline, and what it said is shown when it fails.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::step::Failure;
use crate::stopwatch::{Stopwatch, nap};

/// How much of a program's output a failure quotes.
const TAIL_LINES: usize = 25;

/// Runs it to its end. What it wrote to stdout, or a failure that ends with the last lines it wrote anywhere.
pub(crate) fn read(command: &mut Command, limit: Duration) -> Result<String, Failure> {
    read_from(Stdio::null(), command, limit)
}

fn read_from(input: Stdio, command: &mut Command, limit: Duration) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let wrong = |e: std::io::Error| Failure(format!("`{name}` did not start: {e}"));
    let [mut out, mut err] = [tempfile::tempfile().map_err(wrong)?, tempfile::tempfile().map_err(wrong)?];
    command.stdin(input).stdout(out.try_clone().map_err(wrong)?).stderr(err.try_clone().map_err(wrong)?);
    let mut child = command.spawn().map_err(wrong)?;
    let status = wait(&mut child, limit)?;
    let [out, err] = [text(&mut out)?, text(&mut err)?];
    match status {
        Some(status) if status.success() => Ok(out),
        Some(status) => {
            Err(Failure(format!("`{name}` ended with {status}:\n{}", tail(&format!("{out}{err}")))))
        }
        None => {
            let limit = limit.as_secs();
            Err(Failure(format!("`{name}` was not done after {limit} s:\n{}", tail(&format!("{out}{err}")))))
        }
    }
}

/// Runs two programs, the second reading what the first writes. Both must succeed.
pub(crate) fn pipe(from: &mut Command, into: &mut Command, limit: Duration) -> Result<(), Failure> {
    let name = from.get_program().to_string_lossy().into_owned();
    let wrong = |e: std::io::Error| Failure(format!("`{name}` did not start: {e}"));
    let mut first = from.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(wrong)?;
    let stream = first.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let second = read_from(stream, into, limit);
    // Whatever became of the second, the first is not left behind: without a reader it ends by itself.
    let status = wait(&mut first, limit)?;
    second?;
    if status.is_some_and(|s| s.success()) {
        Ok(())
    } else {
        Err(Failure(format!("`{name}` did not succeed")))
    }
}

/// How a child ended, or `None`: it had not ended in time and was killed.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, Failure> {
    wait_beside(child, limit, &mut || ())
}

/// The same, doing something at each look.
pub(crate) fn wait_beside(
    child: &mut Child,
    limit: Duration,
    beside: &mut dyn FnMut(),
) -> Result<Option<ExitStatus>, Failure> {
    let wrong = |e: std::io::Error| Failure(format!("a child process is lost: {e}"));
    let watch = Stopwatch::start();
    loop {
        if let Some(status) = child.try_wait().map_err(wrong)? {
            return Ok(Some(status));
        }
        if watch.elapsed() > limit {
            end(child.id());
            child.kill().map_err(wrong)?;
            child.wait().map_err(wrong)?;
            return Ok(None);
        }
        beside();
        nap();
    }
}

/// Kills a process and whatever it started: a test that hangs outlives the cargo that runs it, and holds its output open.
fn end(process: u32) {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children: String =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect();
    // Parents first, or they start others. It may be gone already, which is as good.
    let _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
    children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).for_each(end);
}

/// The last lines of an output, each behind a bar.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    if last.is_empty() {
        return String::from("    | (it printed nothing)");
    }
    last.iter().map(|l| format!("    | {l}")).collect::<Vec<_>>().join("\n")
}

/// Whether a program of that name is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Some machines leave these out of an ordinary person's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|f| f.join(program).is_file())
}

fn text(file: &mut File) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.map_err(|e| Failure(format!("a program's output cannot be read back: {e}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_program_prints_is_returned_and_what_it_complains_about_is_not() {
        assert_eq!(read(&mut shell("echo out; echo err >&2"), SOON), Ok("out\n".into()));
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let Err(Failure(why)) = read(&mut shell("echo half; echo no mirror >&2; exit 3"), SOON) else {
            panic!("it passed");
        };
        for part in ["`sh` ended with exit status: 3", "| half", "| no mirror"] {
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_its_deadline() {
        let Err(Failure(why)) = read(&mut shell("echo begun; exec sleep 60"), Duration::from_millis(200))
        else {
            panic!("it ended");
        };
        assert!(why.contains("was not done after") && why.contains("| begun"), "{why}");
    }

    #[test]
    fn what_it_started_is_killed_with_it() {
        let begun = Stopwatch::start();
        let held = read(&mut shell("(sleep 61; true) & wait"), Duration::from_millis(200));
        assert!(held.is_err() && begun.elapsed() < SOON, "{held:?}");
        let left = read(&mut shell("pgrep -f '^sleep 61$' || echo none"), SOON);
        assert_eq!(left, Ok("none\n".into()));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = read(&mut Command::new("no-such-program"), SOON);
        assert!(matches!(failure, Err(Failure(why)) if why.contains("`no-such-program` did not start")));
        assert!(!is_there("no-such-program") && is_there("sh"));
    }

    #[test]
    fn a_pipe_succeeds_only_if_both_its_ends_do() {
        assert_eq!(pipe(&mut shell("echo x"), &mut shell("grep -q x"), SOON), Ok(()));
        for (from, into) in [("echo x; exit 1", "cat"), ("echo x", "cat; exit 1"), ("true", "grep x")] {
            assert!(pipe(&mut shell(from), &mut shell(into), SOON).is_err(), "{from} | {into}");
        }
    }

    #[test]
    fn only_the_last_lines_are_quoted() {
        let long: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let quoted = tail(&long);
        assert!(quoted.starts_with("    | line 75") && quoted.ends_with("| line 99"), "{quoted}");
        assert!(tail("").contains("nothing"));
    }
}
