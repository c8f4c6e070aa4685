//! Test binaries and programs, built once on the host, found by what cargo says it built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::groups::{Package, Run};
use crate::libraries::Libraries;
use crate::step::Failure;
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

/// A call of cargo that builds: the package, and which test of it, or its programs.
type Build = (Package, Option<&'static str>);

/// What was built so far, by the call that built it. A build that failed is not tried again.
#[derive(Debug, Default)]
pub(crate) struct Artefacts {
    built: BTreeMap<Build, Result<Vec<Artefact>, String>>,
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
        let (build, target) = match *run {
            Run::Check(_) => return Ok(None),
            Run::Program { package, name, .. } | Run::Session { package, name, .. } => {
                ((package, None), name)
            }
            Run::Tests { package, target, .. } => ((package, Some(target)), target),
        };
        let built = self
            .built
            .entry(build)
            .or_insert_with(|| built(workspace, libraries, build).map_err(|Failure(why)| why));
        let artefacts = built.as_ref().map_err(String::clone)?;
        let found = artefacts.iter().find(|a| a.target == target);
        found.cloned().map(Some).ok_or_else(|| {
            let targets: Vec<&str> = artefacts.iter().map(|a| &*a.target).collect();
            format!("{} has no target {target:?}; it has: {}", build.0.name, targets.join(", "))
        })
    }
}

fn built(
    workspace: &Workspace,
    libraries: &Libraries,
    (package, test): Build,
) -> Result<Vec<Artefact>, Failure> {
    // Programs are measured, so they are built as users build them. Tests are not, and what `verbs` built serves them.
    let head = match test {
        Some(test) => vec!["test", "--no-run", "--test", test],
        None => vec!["build", "--bins", "--examples", "--release"],
    };
    let features: Vec<&str> = package.feature.into_iter().flat_map(|f| ["--features", f]).collect();
    let tail = ["--message-format", "json-render-diagnostics", "--package", package.name];
    let args = [&*head, &tail, &features].concat();
    let call = workspace.cargo(&args).with(libraries);
    let (succeeded, stdout) = call.read()?;
    if succeeded { Ok(parse(&stdout, test.is_some())) } else { Err(Failure(format!("`{call}` failed"))) }
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

    const PACKAGE: Package = Package { name: "e", feature: Some("verbs") };

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
        for test in ["kit", "kat"] {
            artefacts.built.insert((PACKAGE, Some(test)), Ok(parse(MESSAGES, true)));
        }
        let mut provide = |target| {
            let run = Run::Tests { package: PACKAGE, target, filter: &[] };
            artefacts.provide(&Workspace::find(), &Libraries::installed(), &run)
        };
        assert!(provide("kit").is_ok_and(|a| a.is_some()));
        assert_eq!(provide("kat"), Err("e has no target \"kat\"; it has: e, kit".into()));
    }

    #[test]
    fn what_did_not_build_fails_every_group_that_needs_it() {
        let mut artefacts = Artefacts::default();
        artefacts.built.insert((PACKAGE, None), Err("no linker".into()));
        for name in ["tool", "other"] {
            let run = Run::Program { package: PACKAGE, name, args: &[] };
            let provided = artefacts.provide(&Workspace::find(), &Libraries::installed(), &run);
            assert_eq!(provided, Err("no linker".into()));
        }
    }
}
