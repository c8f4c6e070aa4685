//! Plants the bug that `WAVETANK_PLANT` names. Only in builds of the mutation drill.

use std::process::ExitCode;

use wavetank_contract::planted::{self, Bug};

/// Plants it. An exit code when there is nothing else to do: the bugs were listed, or there is no such bug.
pub(crate) fn plant() -> Option<ExitCode> {
    let name = std::env::var("WAVETANK_PLANT").ok()?;
    if name == "list" {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        return Some(crate::print(&names.join("\n")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS));
    }
    match Bug::from_name(&name) {
        Some(bug) => planted::plant(bug),
        None => {
            crate::say(&format!("wavetank: WAVETANK_PLANT={name}: there is no such bug; `list` names all"));
            return Some(ExitCode::from(2));
        }
    }
    None
}
