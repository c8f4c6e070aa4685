//! apt-get with lists and a cache of its own: needs no root, and neither reads nor changes what is installed.
//!
//! Sources, keys and proxies are the machine's. The list of installed packages is an empty one, so that the answer is the
//! same on every machine: everything a package needs, whoever has what already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::store::at;
use crate::step::Failure;
use crate::tool;

const UPDATE: Duration = Duration::from_secs(300);
const SOLVE: Duration = Duration::from_secs(60);
const DOWNLOAD: Duration = Duration::from_secs(1200);

/// apt-get, with its state in a folder.
#[derive(Debug)]
pub(crate) struct Apt {
    state: PathBuf,
}

impl Apt {
    /// In a folder that holds nothing else.
    pub(crate) fn within(state: &Path) -> Result<Apt, Failure> {
        for folder in ["lists/partial", "cache/archives/partial"] {
            let folder = state.join(folder);
            fs::create_dir_all(&folder).map_err(|e| at(&folder, &e))?;
        }
        let installed = state.join("installed");
        fs::write(&installed, "").map_err(|e| at(&installed, &e))?;
        Ok(Apt { state: state.to_path_buf() })
    }

    /// Learns what there is.
    pub(crate) fn update(&self) -> Result<(), Failure> {
        // Otherwise a source that cannot be reached is a warning, and its packages are said not to exist.
        tool::read(self.get().args(["-o", "APT::Update::Error-Mode=any", "update"]), UPDATE).map(drop)
    }

    /// The names of all that must be unpacked for these to work, themselves included.
    pub(crate) fn closure(&self, wanted: &[&str]) -> Result<Vec<String>, Failure> {
        let answer = tool::read(self.get().args(["--print-uris", "--yes", "install"]).args(wanted), SOLVE);
        let answer = answer.map_err(|Failure(why)| {
            Failure(format!(
                "this machine's package sources do not have what the guest is made of; they should be those of Debian \
                 12 (bookworm), with its updates and security updates\n  {why}"
            ))
        })?;
        let names = names(&answer);
        if names.is_empty() {
            Err(Failure(format!("apt-get named nothing to download: {answer}")))
        } else {
            Ok(names)
        }
    }

    /// Puts the packages into a folder; apt checks their signatures.
    pub(crate) fn download(&self, packages: &[String], into: &Path) -> Result<(), Failure> {
        fs::create_dir_all(into).map_err(|e| at(into, &e))?;
        tool::read(self.get().arg("download").args(packages).current_dir(into), DOWNLOAD).map(drop)
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        let set = |name: &str, file: &str| format!("{name}={}", self.state.join(file).display());
        command.env("LC_ALL", "C.UTF-8").arg("-qq");
        for option in [
            set("Dir::State::Lists", "lists"),
            set("Dir::State::status", "installed"),
            set("Dir::Cache", "cache"),
            "APT::Install-Recommends=false".into(),
            // As root, apt would download as a user who cannot enter this folder.
            "APT::Sandbox::User=root".into(),
            "Acquire::Retries=3".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// Names from lines like `'http://host/kmod_30_amd64.deb' kmod_30_amd64.deb 95180 SHA256:...`.
fn names(uris: &str) -> Vec<String> {
    let file =
        |line: &str| line.strip_prefix('\'')?.split_once("' ")?.1.split_once('_').map(|(n, _)| n.to_owned());
    uris.lines().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_closure_are_read_from_its_addresses() {
        let uris = "'http://example.org/k/kmod_30%2b1_amd64.deb' kmod_30+1_amd64.deb 95180 SHA256:00\n\
                    'http://example.org/p/libproc2-0_2%3a4_amd64.deb' libproc2-0_2%3a4_amd64.deb 62804 MD5Sum:00\n";
        assert_eq!(names(uris), ["kmod", "libproc2-0"]);
    }

    #[test]
    fn what_is_no_address_names_nothing() {
        assert!(names("Reading package lists...\nW: 'odd\n\n").is_empty());
    }

    #[test]
    fn apt_is_kept_off_the_machines_own_state() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let apt = Apt::within(folder.path()).expect("the folder is writable");
        let command = format!("{:?}", apt.get());
        for option in ["Dir::State::Lists", "Dir::State::status", "Dir::Cache"] {
            assert!(command.contains(&format!("{option}={}", folder.path().display())), "{command}");
        }
    }
}
