//! One program of Debian's, unpacked with all it needs for a step that needs no guest. Nothing is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::apt::Apt;
use super::packages;
use super::store::{Held, Store, at};
use super::tree::{LIBRARIES, unpack_all};
use crate::step::Failure;
use crate::tool;

/// Raised when unpacking itself changes.
const UNPACKING: u32 = 1;

/// A program, and how it is made to run where it was unpacked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// As people know it, and the package it is in.
    pub(crate) name: &'static str,
    /// Its package, of which the closure is unpacked.
    pub(crate) package: &'static str,
    /// What is downloaded, in MB.
    pub(crate) download_mb: u32,
    /// Lines of shell that end in it: `$here` is the folder that holds `root`, `LIBRARIES` the libraries below that.
    pub(crate) start: &'static str,
}

/// The program, held.
#[derive(Debug)]
pub(crate) struct Unpacked(Held);

impl Unpacked {
    /// As it is in the store, or downloaded and unpacked.
    pub(crate) fn provide(store: &Store, recipe: Recipe) -> Result<Unpacked, Failure> {
        let Recipe { name, package, start, .. } = recipe;
        for tool in ["apt-get", "dpkg-deb", "tar"] {
            if !tool::is_there(tool) {
                return Err(Failure(format!(
                    "there is neither {name} nor {tool} here, to unpack it with: install {name}"
                )));
            }
        }
        let state = store.folder()?.join("apt");
        let made_by = format!("unpacking {UNPACKING}\n{package}\n{start}");
        store.provide(name, &made_by, |folder| make(folder, &state, recipe)).map(Unpacked)
    }

    /// What to run.
    pub(crate) fn program(&self) -> PathBuf {
        self.0.path().join("start")
    }
}

fn make(folder: &Path, state: &Path, recipe: Recipe) -> Result<(), Failure> {
    let Recipe { name, package, download_mb, start } = recipe;
    println!("    downloading Debian's {name} and its libraries, once: about {download_mb} MB");
    let apt = Apt::within(state)?;
    apt.update()?;
    let mut taken = apt.closure(&[package])?;
    taken.retain(|package| packages::is_taken(package));
    let debs = folder.join("debs");
    apt.download(&taken, &debs)?;
    unpack_all(&debs, &folder.join("root"))?;
    fs::remove_dir_all(&debs).map_err(|e| at(&debs, &e))?;
    write_start(&folder.join("start"), start)
}

/// Starts the unpacked program with the libraries beside it, wherever the folder is.
fn write_start(path: &Path, lines: &str) -> Result<(), Failure> {
    let lines = lines.replace("LIBRARIES", LIBRARIES);
    let text = format!("#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\n{lines}\n");
    let written = fs::write(path, text);
    written
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(|e| at(path, &e))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_program_is_started_with_its_libraries_wherever_its_folder_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bin = folder.path().join("root/usr/bin");
        fs::create_dir_all(&bin).expect("a folder");
        let program = bin.join("tool");
        fs::write(&program, "#!/bin/sh\necho \"$TOOL_PATH $*\"\n").expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        let start = folder.path().join("start");
        let lines = "export TOOL_PATH=\"$here/root/LIBRARIES\"\nexec \"$here/root/usr/bin/tool\" \"$@\"";
        write_start(&start, lines).expect("written");
        let said = tool::read(Command::new(&start).arg("-v"), Duration::from_secs(10)).expect("it starts");
        assert!(said.trim().ends_with(&format!("root/{LIBRARIES} -v")), "{said}");
    }
}
