//! The program in release, as the steps run it that want it quick.

use crate::guest::groups::WAVETANK;
use crate::libraries::Libraries;
use crate::step::Failure;
use crate::workspace::Workspace;

/// `wavetank` in release: as the README builds it, or with every backend, as guests run it. Where guests run as well, the first
/// would be a second build of everything.
#[derive(Debug)]
pub(crate) struct Released<'w> {
    workspace: &'w Workspace,
    libraries: Option<Libraries>,
}

impl<'w> Released<'w> {
    /// As the README builds it: no native library.
    pub(crate) fn plain(workspace: &'w Workspace) -> Self {
        Released { workspace, libraries: None }
    }

    /// With every backend.
    pub(crate) fn native(workspace: &'w Workspace) -> Result<Self, Failure> {
        Ok(Released { workspace, libraries: Some(Libraries::find(workspace)?) })
    }

    /// Where it is built.
    pub(crate) fn workspace(&self) -> &'w Workspace {
        self.workspace
    }

    /// Builds it.
    pub(crate) fn build(&self) -> Result<(), Failure> {
        let args = self.args(&["build"], &[]);
        let call = self.workspace.cargo(&args);
        self.libraries.iter().fold(call, |call, libraries| call.with(libraries)).run()
    }

    /// Runs it. Whether it succeeded, what it printed, and the command.
    pub(crate) fn read(&self, words: &[&str]) -> Result<(bool, String, String), Failure> {
        let args = self.args(&["run", "--quiet"], &[&["--"], words].concat());
        let call = self.workspace.cargo(&args);
        let call = self.libraries.iter().fold(call, |call, libraries| call.with(libraries));
        let (succeeded, stdout) = call.read()?;
        Ok((succeeded, stdout, call.to_string()))
    }

    fn args<'a>(&self, head: &[&'a str], tail: &[&'a str]) -> Vec<&'a str> {
        let native = ["--package", WAVETANK.name, "--features", WAVETANK.features];
        let native: &[&str] = if self.libraries.is_some() { &native } else { &[] };
        [head, &["--release", "--bin", "wavetank"], native, tail].concat()
    }
}
