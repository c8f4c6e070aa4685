//! The step `tshark`: Wireshark's program reads what the simulator captured, and may not be missing.

use std::path::PathBuf;

use super::store::Store;
use super::unpacked::{Recipe, Unpacked};
use crate::libraries::Libraries;
use crate::step::{Failure, NATIVE};
use crate::tool;
use crate::workspace::Workspace;

/// What the tests are told the program by; with it they do not skip.
const NAMED_BY: &str = "WAVETANK_TSHARK";

const TSHARK: Recipe = Recipe {
    name: "tshark",
    package: "tshark",
    download_mb: 60,
    start: "export LD_LIBRARY_PATH=\"$here/root/LIBRARIES\" WIRESHARK_DATA_DIR=\"$here/root/usr/share/wireshark\"\n\
        exec \"$here/root/usr/bin/tshark\" \"$@\"",
};

/// Runs the tests of captures with the program that is installed, else with one that is unpacked for it.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let installed = tool::is_there("tshark");
    let unpacked = if installed { None } else { Some(Unpacked::provide(&Store::of(workspace), TSHARK)?) };
    let program = unpacked.as_ref().map_or(PathBuf::from("tshark"), Unpacked::program);
    let program = program.to_string_lossy();
    // With the packages and features of the step `native`, or cargo would build most of them once more.
    let args = [&["test"], &NATIVE[..], &["--test", "pcap"]].concat();
    workspace.cargo(&args).with(&Libraries::find(workspace)?).env(NAMED_BY, &program).test()
}
