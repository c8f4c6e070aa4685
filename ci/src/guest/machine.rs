//! A machine to run guests on: packages, kernel, first root, and QEMU's command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::accel::{self, Accel};
use super::initramfs;
use super::running::Running;
use super::script::Script;
use super::siw::Siw;
use super::store::{Store, at};
use super::tree::Tree;
use crate::step::Failure;
use crate::workspace::Workspace;

/// Where the first stage puts `ci/guest` in the guest.
const SCRIPTS_INSIDE: &str = "/run/guest";

/// How large a guest is, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Virtual processors.
    pub(crate) smp: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
    /// How long the command may take; booting is not counted.
    pub(crate) timeout: Duration,
}

impl Default for Size {
    /// Room for two devices, a test and its server.
    fn default() -> Size {
        Size { smp: 2, memory_mib: 2048, timeout: Duration::from_secs(60) }
    }
}

/// Everything a guest is started from.
#[derive(Debug)]
pub(crate) struct Machine {
    kernel: PathBuf,
    tree: Tree,
    siw: Option<Siw>,
    initramfs: Vec<u8>,
    folder: PathBuf,
    accel: Accel,
}

impl Machine {
    /// Fetched, unpacked and built as far as that was not done before. `accel` overrides the choice.
    pub(crate) fn provide(
        workspace: &Workspace,
        with_siw: bool,
        accel: Option<Accel>,
    ) -> Result<Machine, Failure> {
        let store = Store::of(workspace);
        let tree = Tree::provide(&store)?;
        let siw = if with_siw { Some(Siw::provide(&store, &tree)?) } else { None };
        let initramfs = initramfs::build(&tree, &workspace.root().join("ci/guest"))?;
        let folder = store.folder()?.to_path_buf();
        let kernel = tree.boot().join("vmlinuz");
        let mut machine = Machine { kernel, tree, siw, initramfs, folder, accel: Accel::Tcg };
        machine.accel = match accel {
            Some(accel) => accel,
            None => accel::choose(&machine)?,
        };
        Ok(machine)
    }

    /// The unpacked packages.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Its part of the store.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The accelerator its guests run on.
    pub(crate) fn accel(&self) -> Accel {
        self.accel
    }

    /// One whose guests cannot boot.
    pub(crate) fn without_kernel(mut self) -> Machine {
        self.kernel = self.folder.join("no-such-kernel");
        self
    }

    /// Starts a guest.
    pub(crate) fn start(&self, script: &Script, size: Size) -> Result<Running, Failure> {
        self.start_on(self.accel, script, size)
    }

    /// Starts a guest on an accelerator.
    pub(crate) fn start_on(&self, accel: Accel, script: &Script, size: Size) -> Result<Running, Failure> {
        let run = tempfile::Builder::new().prefix("run-").tempdir_in(&self.folder);
        let run = run.map_err(|e| at(&self.folder, &e))?;
        let siw = self.siw.as_ref().map(Siw::path);
        let siw = siw.as_ref().map(|p| p.to_string_lossy());
        self.write(&run, "out/command", script.text(SCRIPTS_INSIDE, siw.as_deref()).as_bytes())?;
        self.write(&run, "out/timeout", format!("{}\n", size.timeout.as_secs()).as_bytes())?;
        self.write(&run, "initramfs", &self.initramfs)?;
        let files = run.path().join("out/files");
        fs::create_dir(&files).map_err(|e| at(&files, &e))?;
        let log = run.path().join("qemu.log");
        let log = fs::File::create(&log).map_err(|e| at(&log, &e))?;
        let mut qemu = self.qemu(accel, &run, size);
        qemu.stdin(Stdio::null()).stderr(log.try_clone().map_err(|e| at(run.path(), &e))?).stdout(log);
        let child = qemu.spawn().map_err(|e| Failure(format!("QEMU did not start: {e}")))?;
        let mut running = Running::new(child, run, size.timeout);
        running.boots_again_by(qemu);
        Ok(running)
    }

    fn write(&self, run: &TempDir, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = run.path().join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, bytes)).map_err(|e| at(&path, &e))
    }

    fn qemu(&self, accel: Accel, run: &TempDir, size: Size) -> Command {
        let root = self.tree.root();
        // A guest whose host is killed goes with it.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "--"]).arg(root.join("usr/bin/qemu-system-x86_64"));
        qemu.env("LD_LIBRARY_PATH", root.join(super::tree::LIBRARIES));
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(root.join(folder));
        }
        qemu.args(["-M", "q35", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(accel.arguments());
        qemu.args(["-smp", &size.smp.to_string(), "-m", &size.memory_mib.to_string()]);
        qemu.arg("-kernel").arg(&self.kernel);
        qemu.arg("-initrd").arg(run.path().join("initramfs"));
        qemu.args(["-append", "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic mitigations=off"]);
        let console = comma(&run.path().join("console"));
        qemu.arg("-chardev")
            .arg(format!("file,id=console,path={console}"))
            .args(["-serial", "chardev:console"]);
        share(&mut qemu, "host", Path::new("/"), true);
        share(&mut qemu, "tree", &root, true);
        share(&mut qemu, "out", &run.path().join("out"), false);
        qemu
    }
}

/// Shares a folder over 9p.
fn share(qemu: &mut Command, tag: &str, folder: &Path, read_only: bool) {
    let mode = if read_only { ",readonly=on" } else { "" };
    let path = comma(folder);
    qemu.arg("-fsdev").arg(format!("local,id={tag},path={path},security_model=none,multidevs=remap{mode}"));
    qemu.arg("-device").arg(format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"));
}

/// A path inside one of QEMU's lists, where a comma is written twice.
fn comma(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
