//! The unpacked packages: programs, libraries and the kernel, ready to be used in place and laid over a root.
//!
//! ```text
//! target/guest/tree/root/       the packages, unpacked into one tree
//!                   boot/       vmlinuz, and the modules that the first stage loads, numbered in their order
//!                   source/     packages that siw.ko is built from, not unpacked
//!                   release     the kernel's release
//! ```

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::apt::Apt;
use super::store::{Held, Store, at};
use super::{modules, packages};
use crate::step::Failure;
use crate::stopwatch::Stopwatch;
use crate::tool;

/// Folders that are links into `usr` on every Debian since 12, but in packages still are not.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// What it takes to mount the host's root.
const BOOT_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Where Debian keeps this architecture's libraries.
pub(crate) const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

const UNPACK: Duration = Duration::from_secs(300);

/// The tree, held.
#[derive(Debug)]
pub(crate) struct Tree {
    held: Held,
    release: String,
}

impl Tree {
    /// As it is in the store, or downloaded and unpacked.
    pub(crate) fn provide(store: &Store) -> Result<Tree, Failure> {
        if std::env::consts::ARCH != "x86_64" {
            return Err(Failure(format!(
                "the guest is an x86_64 one, this machine is {}",
                std::env::consts::ARCH
            )));
        }
        let state = store.folder()?.join("apt");
        let held = store.provide("tree", &packages::recipe(), |folder| make(folder, &state))?;
        let release = held.path().join("release");
        let release = fs::read_to_string(&release).map_err(|e| at(&release, &e))?;
        Ok(Tree { held, release })
    }

    /// The root of the unpacked packages.
    pub(crate) fn root(&self) -> PathBuf {
        self.held.path().join("root")
    }

    /// The kernel, and the modules that the first stage loads.
    pub(crate) fn boot(&self) -> PathBuf {
        self.held.path().join("boot")
    }

    /// Packages siw.ko is built from.
    pub(crate) fn source(&self) -> PathBuf {
        self.held.path().join("source")
    }

    /// The kernel's release, such as `6.12.117+deb12-amd64`.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// A program of the tree, with its libraries.
    pub(crate) fn program(&self, path: &str) -> Command {
        program(&self.root(), path)
    }
}

fn program(root: &Path, path: &str) -> Command {
    let mut command = Command::new(root.join(path));
    command.env("LD_LIBRARY_PATH", root.join(LIBRARIES));
    command
}

fn make(folder: &Path, state: &Path) -> Result<(), Failure> {
    for tool in ["apt-get", "dpkg-deb", "tar"] {
        if !tool::is_there(tool) {
            return Err(Failure(format!(
                "there is no {tool} here: the guest is made on Debian 12, or in its container"
            )));
        }
    }
    let watch = Stopwatch::start();
    println!("    downloading Debian packages for the guest, once: about 400 MB");
    let (debs, source) = (folder.join("debs"), folder.join("source"));
    let apt = Apt::within(state)?;
    apt.update()?;
    let mut taken = apt.closure(packages::WANTED)?;
    taken.retain(|p| packages::is_taken(p));
    let mut kernel_source = apt.closure(packages::KERNEL_SOURCE)?;
    kernel_source.retain(|p| packages::is_kernel_source(p));
    apt.download(&taken, &debs)?;
    apt.download(&kernel_source, &source)?;
    println!(
        "    downloaded {} packages after {:.0} s",
        taken.len() + kernel_source.len(),
        watch.elapsed().as_secs_f64()
    );
    let root = folder.join("root");
    unpack_all(&debs, &root)?;
    fs::remove_dir_all(&debs).map_err(|e| at(&debs, &e))?;
    prepare_boot(folder, &root)?;
    println!("    unpacked after {:.0} s", watch.elapsed().as_secs_f64());
    Ok(())
}

/// Unpacks every package of a folder into one tree whose `/bin`, `/sbin` and `/lib` lead into `/usr`.
pub(crate) fn unpack_all(debs: &Path, root: &Path) -> Result<(), Failure> {
    for name in MERGED {
        let folder = root.join("usr").join(name);
        fs::create_dir_all(&folder).map_err(|e| at(&folder, &e))?;
        let link = root.join(name);
        symlink(Path::new("usr").join(name), &link).map_err(|e| at(&link, &e))?;
    }
    for entry in fs::read_dir(debs).map_err(|e| at(debs, &e))? {
        let path = entry.map_err(|e| at(debs, &e))?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            unpack(&path, root)?;
        }
    }
    Ok(())
}

/// Hands a package's files to tar. `dpkg-deb --extract` would put folders in the place of the links.
fn unpack(deb: &Path, root: &Path) -> Result<(), Failure> {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--no-same-owner", "--directory"]).arg(root);
    tool::pipe(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb), &mut tar, UNPACK)
        .map_err(|Failure(why)| Failure(format!("{} cannot be unpacked: {why}", deb.display())))
}

/// Indexes the modules, and lays out what the first stage needs.
fn prepare_boot(folder: &Path, root: &Path) -> Result<(), Failure> {
    let modules_folder = root.join("usr/lib/modules");
    let entries = fs::read_dir(&modules_folder).map_err(|e| at(&modules_folder, &e))?;
    let releases: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    let [release] = &releases[..] else {
        return Err(Failure(format!("one kernel was asked for, and these came: {releases:?}")));
    };
    let mut depmod = program(root, "usr/bin/kmod");
    tool::read(depmod.arg0("depmod").arg("-b").arg(root.join("usr")).arg(release), UNPACK)?;
    let boot = folder.join("boot");
    fs::create_dir_all(&boot).map_err(|e| at(&boot, &e))?;
    let kernel = root.join(format!("boot/vmlinuz-{release}"));
    fs::copy(&kernel, boot.join("vmlinuz")).map_err(|e| at(&kernel, &e))?;
    let modules_folder = modules_folder.join(release);
    let dep = modules_folder.join("modules.dep");
    let dep = fs::read_to_string(&dep).map_err(|e| at(&dep, &e))?;
    for (i, path) in modules::in_order(&dep, &BOOT_MODULES).into_iter().enumerate() {
        let module = modules_folder.join(path);
        let place = boot.join(format!("{i:02}-{}.ko", modules::stem(path)));
        let bytes = fs::read(&module).map_err(|e| at(&module, &e))?;
        let plain = if path.ends_with(".xz") { unxz(root, &module)? } else { bytes };
        fs::write(&place, plain).map_err(|e| at(&place, &e))?;
    }
    let file = folder.join("release");
    fs::write(&file, release).map_err(|e| at(&file, &e))
}

/// A file's contents, by the tree's own busybox, so that no xz is needed here.
fn unxz(root: &Path, file: &Path) -> Result<Vec<u8>, Failure> {
    let mut xz = program(root, "usr/bin/busybox");
    let output = xz.args(["xz", "-dc"]).arg(file).output().map_err(|e| at(file, &e))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Failure(format!("{} is no xz file", file.display())))
    }
}
