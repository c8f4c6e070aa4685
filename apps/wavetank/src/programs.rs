//! Programs that are run and listened to: each has a limit, and none outlives us.

use std::io::{self, BufRead as _, BufReader};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock::Clock;

/// Longest output of a program that is kept.
const SAID_BYTES_MAX: usize = 1 << 20;

/// How often the clock is looked at while a program says nothing.
const LOOK_NS: u64 = 100_000_000;

/// Somebody wants us to end.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on a signal that asks us to end is heeded by whoever waits for a program, which ends first.
pub(crate) fn heed_signals() -> io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))?;
    }
    Ok(())
}

/// Whether somebody asked us to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A program that runs. It is ended and waited for when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
}

/// What a program said, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: ExitStatus,
}

impl Said {
    /// Why it failed: the last thing it complained of, or how it ended.
    pub(crate) fn why(&self) -> String {
        // Some log on stdout.
        let lines = self.stdout.lines().chain(self.stderr.lines());
        let last = lines.rev().find(|line| !line.trim().is_empty());
        last.map_or_else(|| self.status.to_string(), |line| line.trim().to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts one. What it says on piped streams is kept for [`listen`](Self::listen).
    pub(crate) fn start(command: &mut Command) -> io::Result<Program> {
        Ok(Program { child: command.spawn()? })
    }

    /// What cores have spent on it so far, in ns; 0 where the system does not say, or it has ended.
    pub(crate) fn core_ns(&self) -> u64 {
        // proc(5): of each thread, ns on a CPU, ns waiting for one, times on one.
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let of = |thread: io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        threads.into_iter().flatten().filter_map(of).sum()
    }

    /// From now on the most memory that it had at a time is counted anew. Where the system does not let us, since it began.
    pub(crate) fn forget_peak(&self) {
        // proc(5): 5 is the peak.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
    }

    /// The most memory that it had in RAM at a time, shared memory included, in bytes.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    }

    /// The first line that it says on a piped stdout; none if it ends before. What it says later is lost.
    pub(crate) fn first_line(&mut self) -> Option<String> {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take()?).read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned()).filter(|line| !line.is_empty())
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended, for so long at most. True if it has.
    pub(crate) fn wait(&mut self, limit_s: f64) -> bool {
        let clock = Clock::start();
        while self.is_running() {
            if clock.wall_s() > limit_s || interrupted() {
                return false;
            }
            pause(1_000_000);
        }
        true
    }

    /// All that it says until it ends; none when that takes too long, or cannot be had.
    pub(crate) fn listen(mut self, limit_s: f64) -> Option<Said> {
        let clock = Clock::start();
        let (mut stdout, mut stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while stdout.is_some() || stderr.is_some() {
            if clock.wall_s() > limit_s || interrupted() {
                return None;
            }
            let fds: [Option<BorrowedFd<'_>>; 2] =
                [stdout.as_ref().map(|pipe| pipe.as_fd()), stderr.as_ref().map(|pipe| pipe.as_fd())];
            let ready = readable(fds);
            if ready[0] {
                keep_or_end(&mut stdout, &mut out);
            }
            if ready[1] {
                keep_or_end(&mut stderr, &mut err);
            }
        }
        if !self.wait(limit_s - clock.wall_s()) {
            return None;
        }
        let status = self.child.wait().ok()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Some(Said { stdout: text(out), stderr: text(err), status })
    }
}

/// Which of them have something to read, or have ended. Answers in time for a look at the clock.
fn readable(fds: [Option<BorrowedFd<'_>>; 2]) -> [bool; 2] {
    let mut watched: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    if !matches!(poll(&mut watched, Some(&timespec(LOOK_NS))), Ok(1..)) {
        return [false; 2];
    }
    let mut events = watched.iter().map(|fd| !fd.revents().is_empty());
    fds.map(|fd| fd.is_some() && events.next() == Some(true))
}

fn keep_or_end(pipe: &mut Option<impl io::Read>, kept: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    match pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
        Some(Ok(read @ 1..)) => {
            let room = SAID_BYTES_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..read.min(room)]);
        }
        _ => *pipe = None,
    }
}

/// Whether a program can be started at all, with an argument that makes it end.
pub(crate) fn is_there(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

/// Sleeps.
pub(crate) fn pause(ns: u64) {
    // Cut short by a signal it is a shorter pause, and whoever pauses looks again.
    let _ = poll(&mut [], Some(&timespec(ns)));
}

fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Program::start(&mut command).expect("there is a shell")
    }

    #[test]
    fn both_streams_are_heard_to_their_end() {
        let said = shell("echo one; echo two >&2; exit 3").listen(60.0).expect("it ends");
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("one\n", "two\n"));
        assert_eq!(said.status.code(), Some(3));
        let said = shell("head -c 3000000 /dev/zero").listen(60.0).expect("it ends");
        assert_eq!(said.stdout.len(), SAID_BYTES_MAX, "more is not kept");
    }

    #[test]
    fn one_that_does_not_end_is_given_up_and_gone() {
        let program = shell("echo one; exec sleep 600");
        let pid = rustix::process::Pid::from_child(&program.child);
        assert!(program.listen(0.2).is_none());
        assert!(rustix::process::test_kill_process(pid).is_err(), "it was waited for");
        let mut program = shell("exec sleep 600");
        assert!(program.is_running() && !program.wait(0.0));
    }

    #[test]
    fn a_program_that_is_not_there_is_not() {
        assert!(is_there("true", "--version"));
        assert!(!is_there("wavetank-no-such-program", "-h"));
    }
}
