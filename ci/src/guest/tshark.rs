//! The step `tshark`: Wireshark's program reads what the simulator captured, and may not be missing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::apt::Apt;
use super::packages;
use super::store::{Held, Store, at};
use super::tree::{LIBRARIES, unpack_all};
use crate::step::Failure;
use crate::tool;
use crate::workspace::Workspace;

/// What the tests are told the program by; with it they do not skip.
const NAMED_BY: &str = "WAVETANK_TSHARK";

/// Raised when unpacking itself changes.
const RECIPE: &str = "tshark 1";

/// Starts the unpacked program with the libraries beside it, wherever the folder is.
const START: &str = "#!/bin/sh\n\
    here=$(dirname \"$(readlink -f \"$0\")\")\n\
    export LD_LIBRARY_PATH=\"$here/root/LIBRARIES\" WIRESHARK_DATA_DIR=\"$here/root/usr/share/wireshark\"\n\
    exec \"$here/root/usr/bin/tshark\" \"$@\"\n";

/// Runs the tests of captures with the program that is installed, else with one that is unpacked for it.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let unpacked = if tool::is_there("tshark") { None } else { Some(unpacked(&Store::of(workspace))?) };
    let program = unpacked.as_ref().map_or(PathBuf::from("tshark"), |held| held.path().join("tshark"));
    let program = program.to_string_lossy();
    workspace
        .cargo(&["test", "--package", "wavetank-harness", "--test", "pcap"])
        .env(NAMED_BY, &program)
        .run()
}

fn unpacked(store: &Store) -> Result<Held, Failure> {
    for tool in ["apt-get", "dpkg-deb", "tar"] {
        if !tool::is_there(tool) {
            return Err(Failure(format!("there is neither tshark nor {tool} here: install tshark")));
        }
    }
    let state = store.folder()?.join("apt");
    store.provide("tshark", RECIPE, |folder| make(folder, &state))
}

fn make(folder: &Path, state: &Path) -> Result<(), Failure> {
    println!("    downloading Debian's tshark and its libraries, once: about 60 MB");
    let apt = Apt::within(state)?;
    apt.update()?;
    let mut taken = apt.closure(&["tshark"])?;
    taken.retain(|package| packages::is_taken(package));
    let debs = folder.join("debs");
    apt.download(&taken, &debs)?;
    unpack_all(&debs, &folder.join("root"))?;
    fs::remove_dir_all(&debs).map_err(|e| at(&debs, &e))?;
    let start = folder.join("tshark");
    fs::write(&start, START.replace("LIBRARIES", LIBRARIES)).map_err(|e| at(&start, &e))?;
    fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).map_err(|e| at(&start, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_started_with_its_libraries_wherever_its_folder_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bin = folder.path().join("root/usr/bin");
        fs::create_dir_all(&bin).expect("a folder");
        let write = |path: &Path, text: &str| {
            fs::write(path, text).expect("a file");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a program");
        };
        write(&bin.join("tshark"), "#!/bin/sh\necho \"$LD_LIBRARY_PATH $*\"\n");
        let start = folder.path().join("tshark");
        write(&start, &START.replace("LIBRARIES", LIBRARIES));
        let said =
            tool::read(std::process::Command::new(&start).arg("-v"), std::time::Duration::from_secs(10));
        let said = said.expect("it starts");
        assert!(said.trim().ends_with(&format!("root/{LIBRARIES} -v")), "{said}");
    }
}
