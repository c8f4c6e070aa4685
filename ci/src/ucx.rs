//! The step `ucx`: over UCX, in processes of this machine, with the system's version of it and with a newer one.
//!
//! The step `native` tests the backend by itself. Here it is the program that keeps what the conformance kit asks of every
//! backend, and that replays a workload on another process's memory.

pub(crate) mod newer;
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::guest::artefacts::{Artefacts, executables};
use crate::guest::groups::{Build, WAVETANK};
use crate::libraries::Libraries;
use crate::step::Failure;
use crate::stopwatch::Stopwatch;
use crate::tool;
use crate::workspace::Workspace;

/// What a kit may take, over any transport.
const KIT: Duration = Duration::from_secs(240);

/// How the program is built with the headers of a newer UCX. The setting makes cargo keep this build apart from those with
/// the system's headers, while all that needs no UCX is shared with them.
const BUILD_NEWER: [&str; 7] = [
    "build",
    "--package",
    "wavetank",
    "--features",
    "ucx",
    "--config",
    "profile.dev.package.wavetank-ucx.opt-level=0",
];

/// The program, and the libraries that it is run with.
struct Built<'a> {
    program: PathBuf,
    libraries: &'a Libraries,
    root: &'a Path,
}

impl Built<'_> {
    /// A call of it.
    fn call(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.root).envs(self.libraries.env().iter().cloned());
        command
    }

    /// Runs it to its end. What it printed.
    fn read(&self, args: &[&str], limit: Duration) -> Result<String, Failure> {
        let repeat = format!("{}{} {}", self.libraries.by(), self.program.display(), args.join(" "));
        println!("    $ {repeat}");
        tool::read(&mut self.call(args), limit).map_err(|Failure(why)| Failure(format!("{repeat}: {why}")))
    }

    /// Runs the conformance kit over a transport.
    fn kit(&self, transport: &str) -> Result<(), Failure> {
        let watch = Stopwatch::start();
        let said = self.read(&["kit", "--backend", "ucx", "--device", transport], KIT)?;
        println!(
            "    {}  [{:.1} s]",
            said.trim_end().lines().last().unwrap_or(""),
            watch.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

/// Runs all of it. What is wrong with one transport is no reason not to try the next.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let libraries = Libraries::find(workspace)?;
    let wanted = (Build::Release(WAVETANK), WAVETANK.name);
    let program = Artefacts::default().find(workspace, &libraries, wanted).map_err(Failure)?.executable;
    let built = Built { program, libraries: &libraries, root: workspace.root() };
    let mut done = Vec::from(["tcp", "shm", "self"].map(|transport| built.kit(transport)));
    done.push(peer::check(&built));
    done.push(newer(workspace));
    all(done)
}

/// The same program, built with the headers of a newer UCX and run with its libraries.
fn newer(workspace: &Workspace) -> Result<(), Failure> {
    let libraries = Libraries::find(workspace)?.with_newer_ucx(workspace)?;
    let programs = executables(workspace, &libraries, &BUILD_NEWER, false)?;
    let [program] = &programs[..] else {
        return Err(Failure(format!("one program was to be built, and there are {}", programs.len())));
    };
    let built = Built { program: program.executable.clone(), libraries: &libraries, root: workspace.root() };
    all(Vec::from(["tcp", "shm"].map(|transport| built.kit(transport))))
}

/// One result of many: every failure counts.
fn all(done: Vec<Result<(), Failure>>) -> Result<(), Failure> {
    let wrong: Vec<String> = done.into_iter().filter_map(Result::err).map(|Failure(why)| why).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure(wrong.join("\n  "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built<'a>(libraries: &'a Libraries, script: &str) -> (tempfile::TempDir, Built<'a>) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join("wavetank");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
        (folder, Built { program, libraries, root: Path::new("/") })
    }

    #[test]
    fn a_kit_that_fails_is_quoted_with_the_command_that_repeats_it() {
        let libraries = Libraries::installed();
        let (_folder, program) = built(&libraries, "echo \"$*: 1 failed\"; exit 1");
        let Err(Failure(why)) = program.kit("shm") else { panic!("it passed") };
        for part in [
            "wavetank kit --backend ucx --device shm: ",
            "exit status: 1",
            "| kit --backend ucx --device shm: 1 failed",
        ] {
            assert!(why.contains(part), "{why}");
        }
        let (_folder, program) = built(&libraries, "echo all kept");
        assert_eq!(program.kit("tcp"), Ok(()));
    }

    #[test]
    fn every_failure_is_told() {
        let fails = |why: &str| Err(Failure(why.into()));
        assert_eq!(all(vec![Ok(()), Ok(())]), Ok(()));
        assert_eq!(all(vec![fails("a"), Ok(()), fails("b")]), fails("a\n  b"));
    }
}
