//! A UCX newer than Debian's: libraries and headers from the package that it is published in for Python, unpacked and never
//! installed. Where from is pip's business: its index, certificates and proxies are the machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::guest::store::{Held, Store, at};
use crate::guest::unpacked::{Recipe, Unpacked};
use crate::step::Failure;
use crate::tool;

/// What pip is asked for.
const WANTED: &str = include_str!("../../newer-ucx.txt");

/// Raised when unpacking itself changes.
const UNPACKING: u32 = 1;

const DOWNLOAD: Duration = Duration::from_secs(600);
const ANSWER: Duration = Duration::from_secs(60);

/// For machines without pip.
const PIP: Recipe = Recipe {
    name: "pip",
    package: "python3-pip",
    download_mb: 15,
    start: "export LD_LIBRARY_PATH=\"$here/root/LIBRARIES\" PYTHONHOME=\"$here/root/usr\"\n\
        exec \"$here/root/usr/bin/python3\" -m pip \"$@\"",
};

/// The libraries and headers, held.
#[derive(Debug)]
pub(crate) struct NewerUcx(Held);

impl NewerUcx {
    /// As it is in the store, or downloaded and unpacked.
    pub(crate) fn provide(store: &Store) -> Result<NewerUcx, Failure> {
        let made_by = format!("unpacking {UNPACKING}\n{WANTED}");
        store.provide("newer-ucx", &made_by, |folder| make(store, folder)).map(NewerUcx)
    }

    /// Holds `include`, `lib` and `lib/pkgconfig`.
    pub(crate) fn prefix(&self) -> PathBuf {
        self.0.path().join("libucx")
    }

    /// Its version, as in `1.22.0`.
    pub(crate) fn version() -> &'static str {
        version(WANTED).unwrap_or("of no version")
    }
}

/// From a line like `name==1.22.0 --hash=...`.
fn version(wanted: &str) -> Option<&str> {
    wanted.lines().find_map(|l| l.split_once("==")?.1.split_whitespace().next())
}

fn make(store: &Store, folder: &Path) -> Result<(), Failure> {
    println!("    downloading UCX {}, once: about 45 MB", NewerUcx::version());
    let mut installed = Command::new("python3");
    installed.args(["-m", "pip"]);
    let has_pip = tool::read(Command::new("python3").args(["-m", "pip", "--version"]), ANSWER).is_ok();
    let unpacked = if has_pip { None } else { Some(Unpacked::provide(store, PIP)?) };
    download(unpacked.as_ref().map_or(installed, |pip| Command::new(pip.program())), folder)?;
    relocate(&folder.join("libucx/lib/pkgconfig"))
}

/// Has pip check the hash and put the package's files into the folder, which no Python knows of.
fn download(mut pip: Command, folder: &Path) -> Result<(), Failure> {
    let list = folder.join("wanted.txt");
    fs::write(&list, WANTED).map_err(|e| at(&list, &e))?;
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps"]);
    pip.args(["--require-hashes", "--only-binary", ":all:"]);
    pip.arg("--target").arg(folder).arg("--requirement").arg(&list);
    tool::read(&mut pip, DOWNLOAD).map(drop)
}

/// The files of pkg-config name the folder they were built in: they are made to name the one they are in.
fn relocate(pkgconfig: &Path) -> Result<(), Failure> {
    let entries = fs::read_dir(pkgconfig).map_err(|e| at(pkgconfig, &e))?;
    for entry in entries {
        let path = entry.map_err(|e| at(pkgconfig, &e))?.path();
        if path.extension().is_some_and(|e| e == "pc") {
            let text = fs::read_to_string(&path).map_err(|e| at(&path, &e))?;
            fs::write(&path, relocated(&text)).map_err(|e| at(&path, &e))?;
        }
    }
    Ok(())
}

fn relocated(text: &str) -> String {
    let line = |line: &str| match line.split_once('=') {
        Some((name, _)) if name.trim() == "prefix" => String::from("prefix=${pcfiledir}/../..\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_is_asked_for_with_its_hash() {
        let lines: Vec<&str> = WANTED.lines().filter(|l| !l.starts_with('#')).collect();
        assert!(lines.len() == 1 && lines[0].contains(" --hash=sha256:"), "{lines:?}");
        assert!(NewerUcx::version().starts_with(|c: char| c.is_ascii_digit()), "{}", NewerUcx::version());
        assert_eq!(version("# ==\nlib==2.0 --hash=sha256:00\n"), Some("2.0"));
        assert_eq!(version("lib\n"), None);
    }

    #[test]
    fn a_prefix_of_another_machine_becomes_the_files_own() {
        let text = "# UCX\nprefix = /build/lib\nexec_prefix = ${prefix}\nCflags: -I${prefix}/include\n";
        let expected =
            "# UCX\nprefix=${pcfiledir}/../..\nexec_prefix = ${prefix}\nCflags: -I${prefix}/include\n";
        assert_eq!(relocated(text), expected);
    }

    #[test]
    fn a_download_that_fails_says_what_pip_said() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut pip = Command::new("sh");
        pip.args(["-c", "echo \"hashes do not match: $*\"; exit 1", "pip"]);
        let Err(Failure(why)) = download(pip, folder.path()) else { panic!("it passed") };
        for part in ["hashes do not match", "--require-hashes", "--only-binary :all:"] {
            assert!(why.contains(part), "{why}");
        }
    }
}
