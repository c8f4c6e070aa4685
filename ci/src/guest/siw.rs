//! siw.ko, soft-iWARP: Debian does not build it, so it is built here from the kernel's own source and headers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::store::{Held, Store, at};
use super::tree::{LIBRARIES, Tree, unpack_all};
use crate::step::Failure;
use crate::stopwatch::Stopwatch;
use crate::tool;

const UNPACK: Duration = Duration::from_secs(300);
const BUILD: Duration = Duration::from_secs(600);

/// The module, held.
#[derive(Debug)]
pub(crate) struct Siw {
    held: Held,
}

impl Siw {
    /// As it is in the store, or built for the tree's kernel.
    pub(crate) fn provide(store: &Store, tree: &Tree) -> Result<Siw, Failure> {
        let recipe = format!("siw.ko for {}", tree.release());
        Ok(Siw { held: store.provide("siw", &recipe, |folder| make(folder, tree))? })
    }

    /// The module's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.held.path().join("siw.ko")
    }
}

fn make(folder: &Path, tree: &Tree) -> Result<(), Failure> {
    let lacking: Vec<&str> = ["gcc", "make"].into_iter().filter(|p| !tool::is_there(p)).collect();
    if !lacking.is_empty() {
        let lacking = lacking.join(" ");
        return Err(Failure(format!(
            "siw.ko cannot be built without: {lacking} (apt-get install {lacking})"
        )));
    }
    let watch = Stopwatch::start();
    println!("    building siw.ko for {}, once", tree.release());
    // make takes no path with a space in it, and the workspace's may have one.
    let build = tempfile::tempdir().map_err(|e| Failure(format!("no temporary folder: {e}")))?;
    let (packages, module) = (build.path().join("packages"), build.path().join("siw"));
    unpack_all(&tree.source(), &packages)?;
    let headers = headers(&packages, tree.release())?;
    source(&packages, &module, tree)?;
    let mut make = Command::new("make");
    make.arg("-C").arg(&headers).arg(format!("M={}", module.display()));
    make.args(["-j2", "CONFIG_RDMA_SIW=m", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]);
    // The kernel's build programs need libraries that this machine may lack.
    tool::read(make.env("LD_LIBRARY_PATH", tree.root().join(LIBRARIES)), BUILD)?;
    let ko = module.join("siw.ko");
    fs::copy(&ko, folder.join("siw.ko")).map_err(|e| at(&ko, &e))?;
    println!("    built after {:.0} s", watch.elapsed().as_secs_f64());
    Ok(())
}

/// The headers' folder, with the makefile in it that names the common part by its installed place corrected.
fn headers(packages: &Path, release: &str) -> Result<PathBuf, Failure> {
    let headers = packages.join(format!("usr/src/linux-headers-{release}"));
    let makefile = headers.join("Makefile");
    let text = fs::read_to_string(&makefile).map_err(|e| at(&makefile, &e))?;
    let text = text.replace("include /usr/", &format!("include {}/usr/", packages.display()));
    fs::write(&makefile, text).map_err(|e| at(&makefile, &e))?;
    Ok(headers)
}

/// Takes the driver's folder out of the kernel's source.
fn source(packages: &Path, module: &Path, tree: &Tree) -> Result<(), Failure> {
    fs::create_dir_all(module).map_err(|e| at(module, &e))?;
    let archive = packages.join("usr/src/linux-source-6.12.tar.xz");
    let mut xz = tree.program("usr/bin/busybox");
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components=5", "--directory"]).arg(module);
    tar.arg("linux-source-6.12/drivers/infiniband/sw/siw");
    tool::pipe(xz.args(["xz", "-dc"]).arg(&archive), &mut tar, UNPACK)
}
