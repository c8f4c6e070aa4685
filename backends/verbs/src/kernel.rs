//! What the kernel shows of its RDMA devices, without any library: `/sys/class/infiniband`, device nodes, limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where to look; tests look elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// `/sys/class`.
    classes: PathBuf,
    /// `/dev/infiniband`.
    nodes: PathBuf,
}

/// The node of a device that programs open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// It can be opened.
    Open(PathBuf),
    /// The kernel has not made one: the module `ib_uverbs` is not loaded.
    NoModule,
    /// The kernel has made one, but there is no such file.
    Missing(PathBuf),
    /// It is there, and this process may not open it.
    NotPermitted(PathBuf),
    /// It is there and cannot be opened (`errno(3)`).
    Broken(PathBuf, i32),
}

impl Kernel {
    /// This machine's.
    pub(crate) fn here() -> Kernel {
        Kernel { classes: "/sys/class".into(), nodes: "/dev/infiniband".into() }
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Kernel {
        Kernel { classes: root.join("class"), nodes: root.join("infiniband") }
    }

    fn device_folder(&self, device: &str) -> PathBuf {
        self.classes.join("infiniband").join(device)
    }

    fn names(folder: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Every RDMA device, by name.
    pub(crate) fn devices(&self) -> Vec<String> {
        Kernel::names(&self.classes.join("infiniband"))
    }

    fn line(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    }

    /// The name of a device's node, `uverbs0`.
    fn node_name(&self, device: &str) -> Option<String> {
        let folder = self.classes.join("infiniband_verbs");
        Kernel::names(&folder)
            .into_iter()
            .find(|node| Kernel::line(&folder.join(node).join("ibdev")).as_deref() == Some(device))
    }

    /// Whether programs can open a device.
    pub(crate) fn node(&self, device: &str) -> Node {
        let Some(name) = self.node_name(device) else { return Node::NoModule };
        let path = self.nodes.join(name);
        match fs::File::options().read(true).write(true).open(&path) {
            Ok(_) => Node::Open(path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Node::Missing(path),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Node::NotPermitted(path),
            Err(e) => Node::Broken(path, e.raw_os_error().unwrap_or(0)),
        }
    }

    /// The node of the connection manager, which iWARP needs.
    pub(crate) fn cm_node(&self) -> Node {
        let path = self.nodes.join("rdma_cm");
        match fs::File::options().read(true).write(true).open(&path) {
            Ok(_) => Node::Open(path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Node::NoModule,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Node::NotPermitted(path),
            Err(e) => Node::Broken(path, e.raw_os_error().unwrap_or(0)),
        }
    }

    /// The kind of one GID, as its file in sysfs says. Read for GIDs in use only: a table has up to 1,024 files, and reading
    /// one that is empty is an error that takes its time.
    pub(crate) fn gid_type(&self, device: &str, port: u8, index: u32) -> Option<String> {
        let folder = self.device_folder(device).join(format!("ports/{port}/gid_attrs/types"));
        Kernel::line(&folder.join(index.to_string()))
    }

    /// The network devices behind a device's port, most likely first.
    pub(crate) fn netdevs(&self, device: &str, port: u8) -> Vec<String> {
        let folder = self.device_folder(device);
        // Soft devices name their network device, adapters show it among their children.
        let parent = Kernel::line(&folder.join("parent"));
        let gid = Kernel::line(&folder.join(format!("ports/{port}/gid_attrs/ndevs/0")));
        let mut names: Vec<String> = parent.into_iter().chain(gid).collect();
        names.extend(Kernel::names(&folder.join("device/net")));
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Kernel) {
        let root = tempfile::tempdir().expect("a folder");
        let kernel = Kernel::at(root.path());
        (root, kernel)
    }

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn a_machine_without_rdma_has_no_devices() {
        let (_root, kernel) = machine();
        assert!(kernel.devices().is_empty());
        assert_eq!(kernel.node("rxe0"), Node::NoModule);
        assert_eq!(kernel.gid_type("rxe0", 1, 0), None);
    }

    #[test]
    fn a_device_without_node_is_told_from_one_whose_node_is_gone() {
        let (root, kernel) = machine();
        put(&root.path().join("class/infiniband/rxe0/parent"), "eth0\n");
        assert_eq!(kernel.devices(), ["rxe0"]);
        assert_eq!(kernel.node("rxe0"), Node::NoModule);
        put(&root.path().join("class/infiniband_verbs/uverbs0/ibdev"), "rxe0\n");
        let path = root.path().join("infiniband/uverbs0");
        assert_eq!(kernel.node("rxe0"), Node::Missing(path.clone()));
        put(&path, "");
        assert_eq!(kernel.node("rxe0"), Node::Open(path));
        assert_eq!(kernel.netdevs("rxe0", 1), ["eth0"]);
    }
}
