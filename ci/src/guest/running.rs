//! A guest that runs: what it prints, how it ends, and what is left to look at when it ends badly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

use super::store::at;
use crate::follow::Follow;
use crate::step::Failure;
use crate::stopwatch::{Stopwatch, nap};
use crate::tool;

/// From power-on to the command. It takes 3 s, unless the host is busy with other things.
const BOOT: Duration = Duration::from_secs(120);

/// What the guest's own watchdog gets, after the command's time is over, to say what hangs.
const GRACE: Duration = Duration::from_secs(45);

/// From the first of these on, a console is worth reading: the watchdog's dump, and what the kernel says of itself.
const TELLING: [&str; 5] = ["[guest] watchdog", "[guest] could not boot", "Kernel panic", "BUG:", "Oops:"];

/// How often a guest is booted again whose kernel panicked before its command was started. Emulation with a thread per
/// processor does that once in some dozens of boots, when the kernel patches code that another processor runs.
const REBOOTS: u32 = 2;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// It was not done in time.
    TimedOut,
    /// It was never started: the guest could not boot.
    NoBoot,
    /// The guest was gone before it was done: a panic, or QEMU failed.
    Lost,
}

/// A guest, from power-on to power-off. Dropped before, it is switched off.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    run: TempDir,
    stdout: Follow,
    watch: Stopwatch,
    boot: Duration,
    timeout: Duration,
    grace: Duration,
    started: Option<Duration>,
    /// What boots it again, and how often that may still be done.
    again: Option<(Command, u32)>,
}

impl Running {
    /// Of a QEMU that was just started, with the folder it shares below `out`.
    pub(crate) fn new(child: Child, run: TempDir, timeout: Duration) -> Running {
        let stdout = Follow::new(run.path().join("out/stdout"));
        let watch = Stopwatch::start();
        Running { child, run, stdout, watch, boot: BOOT, timeout, grace: GRACE, started: None, again: None }
    }

    /// Lets it be booted again by the same QEMU, should its kernel panic before the command was started.
    pub(crate) fn boots_again_by(&mut self, qemu: Command) {
        self.again = Some((qemu, REBOOTS));
    }

    /// Boots it again, if its kernel panicked before the command was started. A command is never run twice.
    fn boot_again(&mut self) -> Result<bool, Failure> {
        let panicked = read(&self.run.path().join("console")).contains("Kernel panic");
        match &mut self.again {
            Some((qemu, left)) if *left > 0 && panicked => {
                *left -= 1;
                self.child = qemu.spawn().map_err(|e| Failure(format!("QEMU did not start: {e}")))?;
                self.watch = Stopwatch::start();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Allows less time than usual from power-on to the command.
    pub(crate) fn boots_within(&mut self, boot: Duration) {
        self.boot = boot;
    }

    /// Looks at it: hands over what it printed since, and tells how it ended if it did.
    pub(crate) fn turn(&mut self, print: &mut dyn FnMut(&[u8])) -> Result<Option<Ended>, Failure> {
        let out = self.run.path().join("out");
        // In this order, so that all a guest wrote is there once it is gone.
        let gone = self.child.try_wait().map_err(|e| Failure(format!("QEMU is lost: {e}")))?.is_some();
        let now = self.watch.elapsed();
        if self.started.is_none() && out.join("started").exists() {
            self.started = Some(now);
        }
        let overdue = !gone
            && match self.started {
                None => now > self.boot,
                Some(started) => now > started + self.timeout + self.grace,
            };
        if overdue {
            self.switch_off();
        }
        let more = self.stdout.more();
        if !more.is_empty() {
            print(&more);
        }
        if !gone && !overdue {
            return Ok(None);
        }
        if self.started.is_none() && self.boot_again()? {
            print(b"[the kernel panicked while it booted, before anything was run: booting again]\n");
            return Ok(None);
        }
        let code = read(&out.join("code"));
        Ok(Some(match (self.started, code.trim()) {
            (None, _) => Ended::NoBoot,
            (Some(_), "timeout") => Ended::TimedOut,
            (Some(_), code) => match code.parse() {
                Ok(code) => Ended::Code(code),
                Err(_) if overdue => Ended::TimedOut,
                Err(_) => Ended::Lost,
            },
        }))
    }

    /// Waits for its end.
    pub(crate) fn finish(&mut self, mut print: impl FnMut(&[u8])) -> Result<Ended, Failure> {
        loop {
            if let Some(ended) = self.turn(&mut print)? {
                return Ok(ended);
            }
            nap();
        }
    }

    /// How long it took from power-on to the command.
    pub(crate) fn booted_after(&self) -> Option<Duration> {
        self.started
    }

    /// What to know about a bad end: the console from where it became interesting, or its last lines, and QEMU's own.
    pub(crate) fn last_words(&self) -> String {
        let console = read(&self.run.path().join("console"));
        let begin = TELLING.iter().filter_map(|t| console.find(t)).min();
        let console = match begin.map(|at| console[..at].rfind('\n').map_or(0, |n| n + 1)) {
            Some(at) => console[at..].lines().map(|l| format!("    | {l}")).collect::<Vec<_>>().join("\n"),
            None => tool::tail(&console),
        };
        let qemu = read(&self.run.path().join("qemu.log"));
        let qemu = if qemu.trim().is_empty() {
            String::new()
        } else {
            format!("\n  QEMU said:\n{}", tool::tail(&qemu))
        };
        format!("  the guest's console:\n{console}{qemu}")
    }

    /// The folder its command could write to.
    pub(crate) fn files(&self) -> PathBuf {
        self.run.path().join("out/files")
    }

    /// Moves what is left of it to a place where it stays, instead of an earlier one of that name.
    pub(crate) fn keep(&self, place: &Path) -> Result<(), Failure> {
        if place.exists() {
            fs::remove_dir_all(place).map_err(|e| at(place, &e))?;
        }
        place.parent().map_or(Ok(()), fs::create_dir_all).map_err(|e| at(place, &e))?;
        fs::rename(self.run.path(), place).map_err(|e| at(place, &e))
    }

    fn switch_off(&mut self) {
        // It may have gone by itself in this moment; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.switch_off();
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|b| String::from_utf8_lossy(&b).replace('\r', "")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);
    const NOW: Duration = Duration::from_millis(300);

    /// A shell in the place of QEMU, which does in the shared folder what a guest would.
    fn guest(script: &str) -> Running {
        let run = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(run.path().join("out/files")).expect("a folder");
        let child =
            Command::new("sh").args(["-c", script]).current_dir(run.path()).spawn().expect("sh starts");
        let mut guest = Running::new(child, run, SOON);
        guest.boot = SOON;
        guest
    }

    fn end(guest: &mut Running) -> (Ended, String) {
        let mut said = Vec::new();
        let ended = guest.finish(|bytes| said.extend_from_slice(bytes)).expect("it ends");
        (ended, String::from_utf8_lossy(&said).into_owned())
    }

    #[test]
    fn the_commands_output_and_its_exit_code_are_brought_back() {
        let mut guest = guest("touch out/started; echo hello > out/stdout; echo 3 > out/code");
        assert_eq!(end(&mut guest), (Ended::Code(3), "hello\n".into()));
        assert!(guest.booted_after().is_some());
    }

    #[test]
    fn a_guest_that_never_ran_its_command_did_not_boot_whatever_else_it_left() {
        assert_eq!(end(&mut guest("echo 0 > out/code")).0, Ended::NoBoot);
        let mut silent = guest("exec sleep 60");
        silent.boots_within(NOW);
        assert_eq!(end(&mut silent).0, Ended::NoBoot);
    }

    #[test]
    fn a_guest_that_is_gone_without_a_code_is_lost_not_passed() {
        assert_eq!(end(&mut guest("touch out/started")).0, Ended::Lost);
        assert_eq!(end(&mut guest("touch out/started; echo > out/code")).0, Ended::Lost);
    }

    #[test]
    fn a_guest_that_hangs_is_switched_off_when_even_its_watchdog_is_silent() {
        let mut hung = guest("touch out/started; exec sleep 60");
        (hung.timeout, hung.grace) = (NOW, NOW);
        assert_eq!(end(&mut hung).0, Ended::TimedOut);
    }

    #[test]
    fn what_the_watchdog_or_a_panicking_kernel_said_is_shown_from_its_first_word() {
        for first in ["[guest] watchdog: not done", "[ 2.9] Kernel panic - not syncing: crash"] {
            let script = format!(
                "touch out/started; echo timeout > out/code; echo QEMU is sad > qemu.log
                {{ echo boot; echo '{first}'; seq 100; }} > console"
            );
            let mut guest = guest(&script);
            assert_eq!(end(&mut guest).0, Ended::TimedOut);
            let words = guest.last_words();
            for word in [first, "| 1\n", "| 100", "| QEMU is sad"] {
                assert!(words.contains(word), "{words}");
            }
            assert!(!words.contains("| boot"), "{words}");
        }
    }

    fn again(script: &str, folder: &Path) -> Command {
        let mut qemu = Command::new("sh");
        qemu.args(["-c", script]).current_dir(folder);
        qemu
    }

    #[test]
    fn a_kernel_that_panics_before_the_command_is_booted_again_and_that_is_told() {
        let mut guest = guest("echo Kernel panic > console");
        let qemu = again("echo booted > console; touch out/started; echo 0 > out/code", guest.run.path());
        guest.boots_again_by(qemu);
        let (ended, said) = end(&mut guest);
        assert_eq!(ended, Ended::Code(0));
        assert!(said.contains("booting again"), "{said}");
    }

    #[test]
    fn a_kernel_that_always_panics_does_not_boot() {
        let mut guest = guest("echo Kernel panic > console");
        let qemu = again("echo Kernel panic > console; echo x >> boots", guest.run.path());
        guest.boots_again_by(qemu);
        assert_eq!(end(&mut guest).0, Ended::NoBoot);
        assert_eq!(read(&guest.run.path().join("boots")), "x\n".repeat(REBOOTS as usize));
    }

    #[test]
    fn a_panic_after_the_command_was_started_is_final() {
        let mut guest = guest("touch out/started; echo Kernel panic > console");
        let qemu = again("echo 0 > out/code", guest.run.path());
        guest.boots_again_by(qemu);
        assert_eq!(end(&mut guest).0, Ended::Lost);
    }

    #[test]
    fn without_a_watchdog_the_consoles_last_lines_are_shown() {
        let mut guest = guest("seq 100 > console");
        assert_eq!(end(&mut guest).0, Ended::NoBoot);
        let words = guest.last_words();
        assert!(words.contains("| 100") && !words.contains("| 1\n"), "{words}");
    }

    #[test]
    fn what_is_kept_takes_the_place_of_an_earlier_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().join("failed/smoke");
        for text in ["first", "second"] {
            let mut guest = guest(&format!("echo {text} > out/files/{text}"));
            end(&mut guest);
            guest.keep(&place).expect("kept");
        }
        assert!(place.join("out/files/second").exists() && !place.join("out/files/first").exists());
    }
}
