//! Where the workspace is, and how cargo is called in it.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::complaints::complaints;
use crate::follow::Follow;
use crate::libraries::Libraries;
use crate::step::Failure;
use crate::tool;

/// How long any call of cargo may take: what hangs is to fail with its name, not with the patience of whoever runs this.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The workspace this program belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    cargo: OsString,
}

impl Workspace {
    /// The parent of this crate's folder, as `cargo run` names it, whatever the current folder is.
    pub(crate) fn find() -> Workspace {
        let ci = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&ci).parent().unwrap_or(Path::new(".")).to_path_buf();
        Workspace { root, cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()) }
    }

    /// Its root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A call of cargo in the root, by the cargo that started this program.
    pub(crate) fn cargo<'a>(&'a self, args: &'a [&'a str]) -> Cargo<'a> {
        Cargo { workspace: self, args, env: None, libraries: None }
    }
}

/// A call of cargo. Displays as a person would type it.
#[derive(Debug)]
pub(crate) struct Cargo<'a> {
    workspace: &'a Workspace,
    args: &'a [&'a str],
    env: Option<(&'static str, &'a str)>,
    libraries: Option<&'a Libraries>,
}

impl<'a> Cargo<'a> {
    /// With the native libraries: for everything that builds with the features verbs or ucx.
    pub(crate) fn with(mut self, libraries: &'a Libraries) -> Self {
        self.libraries = Some(libraries);
        self
    }

    /// With a variable set.
    pub(crate) fn env(mut self, name: &'static str, value: &'a str) -> Self {
        self.env = Some((name, value));
        self
    }

    /// Shows the command and runs it; everything it prints goes to the terminal as it comes.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        println!("    $ {self}");
        let mut child =
            self.command().spawn().map_err(|e| Failure(format!("`{self}` did not start: {e}")))?;
        match tool::wait(&mut child, LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failure(format!("`{self}` ended with {status}"))),
            None => Err(Failure(format!("`{self}` was not done after {} s", LIMIT.as_secs()))),
        }
    }

    /// The same for a run of tests: if it fails, the failure says which of them did and with what words.
    pub(crate) fn test(&self) -> Result<(), Failure> {
        println!("    $ {self}");
        let wrong = |e: std::io::Error| Failure(format!("`{self}` did not start: {e}"));
        let files =
            [tempfile::NamedTempFile::new().map_err(wrong)?, tempfile::NamedTempFile::new().map_err(wrong)?];
        let [out, err] = [files[0].reopen().map_err(wrong)?, files[1].reopen().map_err(wrong)?];
        let mut child = self.command().stdout(out).stderr(err).spawn().map_err(wrong)?;
        let [mut out, mut err] = files.each_ref().map(|file| Follow::new(file.path().to_path_buf()));
        let (mut said, mut told) = (Vec::new(), Vec::new());
        let mut show = || {
            let [more, also] = [out.more(), err.more()];
            // A terminal that is gone is no reason to stop testing.
            let _ = std::io::stdout().write_all(&more).and_then(|()| std::io::stderr().write_all(&also));
            said.extend(more);
            told.extend(also);
        };
        let status = tool::wait_beside(&mut child, LIMIT, &mut show);
        show();
        let words = [said, told].map(|bytes| complaints(&String::from_utf8_lossy(&bytes))).concat();
        match status? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failure(format!("`{self}` ended with {status}:{words}"))),
            None => Err(Failure(format!("`{self}` was not done after {} s:{words}", LIMIT.as_secs()))),
        }
    }

    /// Shows the command and runs it; what it prints on stdout is returned, with whether it succeeded.
    pub(crate) fn read(&self) -> Result<(bool, String), Failure> {
        println!("    $ {self}");
        let output = self.command().stderr(Stdio::inherit()).output();
        let output = output.map_err(|e| Failure(format!("`{self}` did not start: {e}")))?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// `cargo run` describes this crate in the environment; a step is to see what a person's shell would give it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.workspace.cargo);
        command.args(self.args).current_dir(&self.workspace.root).envs(self.env);
        command.envs(self.libraries.into_iter().flat_map(Libraries::env).map(|(n, v)| (n, v)));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_"))
            {
                command.env_remove(name);
            }
        }
        command
    }
}

impl fmt::Display for Cargo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = self.env {
            write!(f, "{name}=\"{value}\" ")?;
        }
        let with = self.libraries.map_or("", Libraries::by);
        write!(f, "{with}cargo {}", self.args.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_reads_as_a_person_would_type_it() {
        let workspace = Workspace::find();
        let call = workspace.cargo(&["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(call.to_string(), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps");
    }

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        assert!(Workspace::find().root().join("clippy.toml").is_file());
    }

    #[test]
    fn a_call_that_does_not_start_names_itself() {
        let mut workspace = Workspace::find();
        workspace.cargo = "no-such-program".into();
        let failure = workspace.cargo(&["build"]).run();
        assert!(matches!(failure, Err(Failure(why)) if why.contains("`cargo build` did not start")));
    }
}
