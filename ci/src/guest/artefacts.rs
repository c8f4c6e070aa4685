//! Test binaries and programs, built once on the host, found by what cargo says it built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::groups::{Build, Package, Run};
use crate::libraries::Libraries;
use crate::step::{Failure, NATIVE};
use crate::workspace::Workspace;

/// Something that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artefact {
    /// The target's name: of a binary, a library or a file in `tests`.
    target: String,
    /// The package's folder.
    pub(crate) folder: PathBuf,
    /// The file to run.
    pub(crate) executable: PathBuf,
}

/// A target, and how it is built.
type Wanted = (Build, &'static str);

/// What was built so far. A build that failed is not tried again.
#[derive(Debug, Default)]
pub(crate) struct Artefacts {
    built: BTreeMap<Wanted, Result<Vec<Artefact>, String>>,
}

impl Artefacts {
    /// What a group runs, built if nobody did yet; `None` if it needs nothing of ours. The error says what is wrong with
    /// this group alone.
    pub(crate) fn provide(
        &mut self,
        workspace: &Workspace,
        libraries: &Libraries,
        run: &Run,
    ) -> Result<Option<Artefact>, String> {
        let wanted = match *run {
            Run::Check(_) => return Ok(None),
            Run::Program { package, name, .. } => (Build::Release(package), name),
            Run::Session { build, name, .. } => (build, name),
            Run::Tests { folder, target, .. } => (Build::Tests(folder), target),
        };
        self.find(workspace, libraries, wanted).map(Some)
    }

    /// One binary, built if nobody did yet.
    pub(crate) fn find(
        &mut self,
        workspace: &Workspace,
        libraries: &Libraries,
        (build, target): Wanted,
    ) -> Result<Artefact, String> {
        let built = self
            .built
            .entry((build, target))
            .or_insert_with(|| built(workspace, libraries, (build, target)).map_err(|Failure(why)| why));
        let artefacts = built.as_ref().map_err(String::clone)?;
        let (place, beside): (_, Vec<&Artefact>) = match build {
            Build::Release(package) => (package.name, artefacts.iter().collect()),
            // Another package may have a target of that name.
            Build::Example(folder) | Build::Tests(folder) => {
                (folder, artefacts.iter().filter(|a| a.folder.ends_with(folder)).collect())
            }
        };
        let found = beside.iter().find(|a| a.target == target);
        found.map(|a| Artefact::clone(a)).ok_or_else(|| {
            let targets: Vec<&str> = beside.iter().map(|a| &*a.target).collect();
            format!("{place} has no target {target:?}; it has: {}", targets.join(", "))
        })
    }
}

fn built(
    workspace: &Workspace,
    libraries: &Libraries,
    (build, target): Wanted,
) -> Result<Vec<Artefact>, Failure> {
    match build {
        Build::Release(Package { name, features }) => {
            let args = ["build", "--bins", "--release", "--package", name, "--features", features];
            executables(workspace, libraries, &args, false)
        }
        // With the same packages and features as in `native`, or cargo would build all of it once more.
        Build::Example(_) => {
            let args = [&["build", "--example", target], &NATIVE[..]].concat();
            executables(workspace, libraries, &args, false)
        }
        Build::Tests(_) => {
            let args = [&["test", "--no-run", "--test", target], &NATIVE[..]].concat();
            executables(workspace, libraries, &args, true)
        }
    }
}

/// What a call of cargo builds that can be run: tests, or programs and examples.
pub(crate) fn executables(
    workspace: &Workspace,
    libraries: &Libraries,
    args: &[&str],
    tests: bool,
) -> Result<Vec<Artefact>, Failure> {
    let args = [args, &["--message-format", "json-render-diagnostics"]].concat();
    let call = workspace.cargo(&args).with(libraries);
    let (succeeded, stdout) = call.read()?;
    if succeeded { Ok(parse(&stdout, tests)) } else { Err(Failure(format!("`{call}` failed"))) }
}

/// Executables from cargo's messages. Of a test build only test binaries count: it builds the package's programs too.
fn parse(messages: &str, tests: bool) -> Vec<Artefact> {
    let artefact = |message: Value| {
        let executable = PathBuf::from(message.get("executable")?.as_str()?);
        let target = message["target"]["name"].as_str()?.to_owned();
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
        (message["profile"]["test"] == Value::Bool(tests)).then_some(Artefact { target, folder, executable })
    };
    messages.lines().filter_map(|l| serde_json::from_str(l).ok()).filter_map(artefact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","manifest_path":"/w/e/Cargo.toml","target":{"kind":["lib"],"name":"e"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/e/Cargo.toml","target":{"kind":["bin"],"name":"tool"},"profile":{"test":false},"executable":"/t/tool"}
warning: not JSON
{"reason":"compiler-artifact","manifest_path":"/w/e/Cargo.toml","target":{"kind":["lib"],"name":"e"},"profile":{"test":true},"executable":"/t/e-1"}
{"reason":"compiler-artifact","manifest_path":"/w/e/Cargo.toml","target":{"kind":["test"],"name":"kit"},"profile":{"test":true},"executable":"/t/kit-2"}
{"reason":"build-finished","success":true}"#;

    #[test]
    fn executables_are_found_by_their_targets_and_tests_are_told_from_programs() {
        let of =
            |tests| parse(MESSAGES, tests).into_iter().map(|a| (a.target, a.executable)).collect::<Vec<_>>();
        assert_eq!(of(true), [("e".into(), "/t/e-1".into()), ("kit".into(), "/t/kit-2".into())]);
        assert_eq!(of(false), [("tool".into(), "/t/tool".into())]);
        assert_eq!(parse(MESSAGES, true)[0].folder, Path::new("/w/e"));
    }

    #[test]
    fn a_target_that_is_not_there_is_named_with_those_that_are() {
        let mut artefacts = Artefacts::default();
        for (folder, test) in [("e", "kit"), ("e", "kat"), ("f", "kit")] {
            artefacts.built.insert((Build::Tests(folder), test), Ok(parse(MESSAGES, true)));
        }
        let mut provide = |folder, target| {
            let run = Run::Tests { folder, target, filter: &[] };
            artefacts.provide(&Workspace::find(), &Libraries::installed(), &run)
        };
        assert!(provide("e", "kit").is_ok_and(|a| a.is_some()));
        assert_eq!(provide("e", "kat"), Err("e has no target \"kat\"; it has: e, kit".into()));
        assert_eq!(provide("f", "kit"), Err("f has no target \"kit\"; it has: ".into()), "that is e's");
    }

    #[test]
    fn what_did_not_build_fails_every_group_that_needs_it() {
        let mut artefacts = Artefacts::default();
        let (package, name) = (Package { name: "e", features: "verbs" }, "tool");
        artefacts.built.insert((Build::Release(package), name), Err("no linker".into()));
        let session = Run::Session { build: Build::Release(package), name, script: "kit.sh" };
        for run in [Run::Program { package, name, args: &[] }, session] {
            let provided = artefacts.provide(&Workspace::find(), &Libraries::installed(), &run);
            assert_eq!(provided, Err("no linker".into()));
        }
    }
}
