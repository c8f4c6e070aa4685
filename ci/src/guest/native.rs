//! This machine's own kernel in the place of a guest's: for runners that have root, the modules, and no future.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::groups::SIW;
use super::packages;
use super::running::Ended;
use super::script::Script;
use super::store::at;
use crate::follow::Follow;
use crate::step::Failure;
use crate::tool;

const SHORT: Duration = Duration::from_secs(60);
const INSTALL: Duration = Duration::from_secs(900);

/// What `timeout --signal=KILL` ends with when it killed.
const KILLED: i32 = 137;

/// A machine whose kernel has the drivers.
#[derive(Debug)]
pub(crate) struct Native {
    scripts: PathBuf,
}

impl Native {
    /// If the kernel has the step's driver; with `install`, after installing what may be lacking.
    pub(crate) fn provide(root: &Path, step: &str, install: bool) -> Result<Native, Failure> {
        let module = if step == SIW { "siw" } else { "rdma_rxe" };
        if install {
            self::install()?;
        }
        if tool::read(&mut as_root(["modprobe", "--dry-run", module]), SHORT).is_err() {
            return Err(Failure(format!(
                "the running kernel ({}) has no {module}: leave out --native to use a guest, or try --native --install",
                release()
            )));
        }
        Ok(Native { scripts: root.join("ci/guest") })
    }

    /// Starts a script as root.
    pub(crate) fn start(&self, script: &Script, timeout: Duration) -> Result<NativeRun, Failure> {
        // An earlier run that was killed may have left its net behind.
        self.down();
        let run = tempfile::tempdir().map_err(|e| Failure(format!("no temporary folder: {e}")))?;
        let write = |name: &str, text: &str| {
            let path = run.path().join(name);
            fs::write(&path, text).map_err(|e| at(&path, &e))
        };
        write("command", &script.text(&self.scripts.to_string_lossy(), None))?;
        write("stdout", "")?;
        let stdout = run.path().join("stdout");
        let out = File::create(&stdout).map_err(|e| at(&stdout, &e))?;
        let err = out.try_clone().map_err(|e| at(&stdout, &e))?;
        let seconds = timeout.as_secs().to_string();
        let mut command = as_root(["timeout", "--signal=KILL", &seconds, "bash"]);
        command.arg(run.path().join("command")).current_dir(run.path());
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|e| Failure(format!("the command did not start: {e}")))?;
        Ok(NativeRun { child, _run: run, stdout: Follow::new(stdout), down: self.scripts.join("down.sh") })
    }

    fn down(&self) {
        take_down(&self.scripts.join("down.sh"));
    }
}

/// A command on this machine. When it is dropped, its net goes.
#[derive(Debug)]
pub(crate) struct NativeRun {
    child: Child,
    _run: TempDir,
    stdout: Follow,
    down: PathBuf,
}

impl NativeRun {
    /// Looks at it, as at a guest.
    pub(crate) fn turn(&mut self, print: &mut dyn FnMut(&[u8])) -> Result<Option<Ended>, Failure> {
        let status = self.child.try_wait().map_err(|e| Failure(format!("the command is lost: {e}")))?;
        let more = self.stdout.more();
        if !more.is_empty() {
            print(&more);
        }
        Ok(status.map(|s| match s.code() {
            Some(KILLED) => Ended::TimedOut,
            Some(code) => Ended::Code(code),
            None => Ended::Lost,
        }))
    }

    /// What the kernel said last.
    pub(crate) fn last_words(&self) -> String {
        let said = tool::read(&mut as_root(["dmesg"]), SHORT).unwrap_or_else(|Failure(why)| why);
        format!("  the kernel's last words:\n{}", tool::tail(&said))
    }
}

impl Drop for NativeRun {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        take_down(&self.down);
    }
}

/// Without a net there is nothing to take down, and the script says nothing about that.
fn take_down(script: &Path) {
    let _ = tool::read(as_root(["bash"]).arg(script), SHORT);
}

/// The libraries and tools, and the modules that some kernels keep in a package of their own.
fn install() -> Result<(), Failure> {
    let not_for_guests =
        |p: &&str| !matches!(*p, "qemu-system-x86" | "linux-image-6.12-amd64" | "busybox-static");
    tool::read(&mut as_root(["apt-get", "-qq", "update"]), INSTALL)?;
    let mut install = as_root(["apt-get", "-qq", "install", "--yes", "--no-install-recommends"]);
    install.args(packages::WANTED.iter().copied().filter(not_for_guests));
    let extra = format!("linux-modules-extra-{}", release());
    if tool::read(Command::new("apt-cache").args(["show", &extra]), SHORT).is_ok() {
        install.arg(&extra);
    }
    println!("    installing packages");
    tool::read(&mut install, INSTALL).map(drop)
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// A program as root: by sudo, unless this is root already.
fn as_root<const N: usize>(words: [&str; N]) -> Command {
    let sudo = if is_root() { &[][..] } else { &["sudo", "-n"] };
    let mut words = sudo.iter().copied().chain(words).map(OsStr::new);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find_map(|l| l.strip_prefix("Uid:"));
    // Real, effective, saved, of the file system.
    user.and_then(|u| u.split_whitespace().nth(1)) == Some("0")
}
