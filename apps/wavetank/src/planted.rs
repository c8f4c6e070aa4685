//! Lists the bugs that can be planted, or refuses one that there is not. Only in builds of the mutation drill.

use std::process::ExitCode;

use wavetank_contract::planted::Bug;

/// Looks at `WAVETANK_PLANT`. An exit code when there is nothing else to do.
pub(crate) fn look() -> Option<ExitCode> {
    let name = std::env::var("WAVETANK_PLANT").ok()?;
    if name == "list" {
        let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        return Some(crate::print(&names.join("\n")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS));
    }
    if Bug::from_name(&name).is_none() {
        crate::say(&format!("wavetank: WAVETANK_PLANT={name}: there is no such bug; `list` names all"));
        return Some(ExitCode::from(2));
    }
    None
}
