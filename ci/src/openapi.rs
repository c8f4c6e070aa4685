//! The step `openapi`: schemathesis calls the sidecar as its OpenAPI document says, and may not be missing.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::libraries::Libraries;
use crate::step::{Failure, NATIVE};
use crate::tool;
use crate::workspace::Workspace;

/// What the test is told the program by; with it, it does not skip.
const NAMED_BY: &str = "WAVETANK_SCHEMATHESIS";

/// As PyPI has it.
const VERSION: &str = "4.32.5";

/// How long making a virtual environment, or filling it, may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs the test with the program that is installed, else with one from PyPI in an environment of its own.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let program =
        if tool::is_there("schemathesis") { PathBuf::from("schemathesis") } else { provide(workspace)? };
    let program = program.to_string_lossy();
    // With the packages and features of the step `native`, or cargo would build most of them once more.
    let args = [&["test"], &NATIVE[..], &["--test", "sidecar", "--", "schemathesis"]].concat();
    workspace.cargo(&args).with(&Libraries::find(workspace)?).env(NAMED_BY, &program).test()
}

/// Below `target`, once for each version.
fn provide(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.root().join("target/tools").join(format!("schemathesis-{VERSION}"));
    let program = folder.join("bin/schemathesis");
    if program.is_file() {
        return Ok(program);
    }
    println!("    installing schemathesis {VERSION} below {}", folder.display());
    let lacks = |Failure(why): Failure| {
        Failure(format!(
            "{why}\n  schemathesis needs Python 3 with venv: on Debian, apt-get install python3-venv"
        ))
    };
    tool::read(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder), LIMIT).map_err(lacks)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("schemathesis=={VERSION}")]);
    tool::read(&mut pip, LIMIT)?;
    Ok(program)
}
