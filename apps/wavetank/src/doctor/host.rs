//! What can be seen of RDMA from outside, without the library: files that the kernel and the system show.

use std::fs;
use std::path::Path;

use wavetank_contract::finding::Finding;
use wavetank_engine::BackendKind;

/// Locked memory without which no queue can be made.
const MEMLOCK_MIN_KIB: u64 = 1024;
/// Locked memory of a daemon with a modest arena.
const MEMLOCK_ENOUGH_KIB: u64 = 256 << 10;

/// Where libraries are when no cache says so.
const LIBRARY_FOLDERS: [&str; 6] =
    ["lib", "lib64", "usr/lib", "usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"];

/// Examines the machine whose files are under `root`.
pub(super) fn examine(root: &Path, kind: BackendKind, device: Option<&str>) -> Vec<Finding> {
    let (check, library, package) = match kind {
        BackendKind::Ucx => ("libucp", "libucp.so.0", "apt install libucx0"),
        _ => ("libibverbs", "libibverbs.so.1", "apt install libibverbs1 ibverbs-providers"),
    };
    let mut findings = vec![has_library(root, check, library, package)];
    // UCX also goes over shared memory and TCP, which lock no memory.
    if kind != BackendKind::Ucx {
        findings.extend([memlock(root), devices(root, device), nodes(root)]);
    }
    findings
}

fn has_library(root: &Path, check: &'static str, library: &str, package: &str) -> Finding {
    // ld.so(8) looks into this cache of names; it is binary, and a name in it ends with a 0.
    let cached = fs::read(root.join("etc/ld.so.cache"))
        .is_ok_and(|cache| cache.windows(library.len()).any(|name| name == library.as_bytes()));
    if cached || LIBRARY_FOLDERS.iter().any(|folder| root.join(folder).join(library).exists()) {
        return Finding::ok(check, format!("{library} is installed"));
    }
    Finding::fail(check, format!("{library} is not installed"), package)
}

/// Names in a folder, in order. None where there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn devices(root: &Path, wanted: Option<&str>) -> Finding {
    let found = names(&root.join("sys/class/infiniband"));
    let list = found.join(", ");
    match wanted {
        _ if found.is_empty() => Finding::fail(
            "devices",
            "the kernel has no RDMA device (/sys/class/infiniband)",
            "rdma link add rxe0 type rxe netdev eth0 makes one over an Ethernet port; lspci shows adapters",
        ),
        Some(name) if !found.iter().any(|device| device == name) => {
            Finding::fail("devices", format!("there is no {name}; there is {list}"), "rdma link")
        }
        _ => Finding::ok("devices", list),
    }
}

fn nodes(root: &Path) -> Finding {
    let found = names(&root.join("dev/infiniband"));
    let verbs: Vec<&str> =
        found.iter().map(String::as_str).filter(|name| name.starts_with("uverbs")).collect();
    if verbs.is_empty() {
        let says = "there is no /dev/infiniband/uverbs*: programs cannot reach a device";
        return Finding::fail("nodes", says, "modprobe ib_uverbs; in a container: --device /dev/infiniband");
    }
    Finding::ok("nodes", format!("/dev/infiniband has {}", verbs.join(", ")))
}

fn memlock(root: &Path) -> Finding {
    let mend = "ulimit -l unlimited, LimitMEMLOCK=infinity of a systemd unit, or limits.conf(5)";
    let limits = fs::read_to_string(root.join("proc/self/limits")).unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let soft = limit.and_then(|line| line.split_whitespace().next());
    match soft.map(|soft| soft.parse::<u64>().map(|bytes| bytes >> 10)) {
        None => Finding::warn("memlock", "the limit of locked memory cannot be read", "ulimit -l"),
        Some(Err(_)) => Finding::ok("memlock", "as much memory as there is may be locked"),
        Some(Ok(kib)) if kib < MEMLOCK_MIN_KIB => {
            Finding::fail("memlock", format!("{kib} KiB may be locked, too little for any queue"), mend)
        }
        Some(Ok(kib)) if kib < MEMLOCK_ENOUGH_KIB => {
            Finding::warn("memlock", format!("{kib} KiB may be locked, too little to serve from"), mend)
        }
        Some(Ok(kib)) => Finding::ok("memlock", format!("{kib} KiB may be locked")),
    }
}

#[cfg(test)]
mod tests {
    use wavetank_contract::finding::Verdict;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn limit(soft: &str) -> String {
        format!(
            "Limit   Soft Limit  Hard Limit  Units\nMax locked memory         {soft}    unlimited    bytes\n"
        )
    }

    fn verdicts(root: &Path, device: Option<&str>) -> Vec<(&'static str, Verdict)> {
        let findings = examine(root, BackendKind::Verbs, device);
        let mendable = |f: &Finding| f.verdict == Verdict::Ok || f.mend.is_some();
        assert!(findings.iter().all(mendable), "{findings:?}");
        findings.iter().map(|f| (f.check, f.verdict)).collect()
    }

    #[test]
    fn a_machine_with_everything_passes_and_one_without_fails_each_check() {
        let machine = tempfile::tempdir().expect("a folder");
        let root = machine.path();
        let checks = ["libibverbs", "memlock", "devices", "nodes"];
        let all = |verdicts: [Verdict; 4]| -> Vec<_> { checks.into_iter().zip(verdicts).collect() };
        use Verdict::{Fail, Ok, Warn};
        assert_eq!(verdicts(root, None), all([Fail, Warn, Fail, Fail]));
        put(root, "etc/ld.so.cache", "glibc\0libibverbs.so.1\0/usr/lib/libibverbs.so.1\0");
        put(root, "proc/self/limits", &limit("unlimited"));
        put(root, "sys/class/infiniband/rxe0", "");
        put(root, "dev/infiniband/rdma_cm", "");
        assert_eq!(verdicts(root, None), all([Ok, Ok, Ok, Fail]));
        put(root, "dev/infiniband/uverbs0", "");
        assert_eq!(verdicts(root, Some("rxe0")), all([Ok; 4]));
        assert_eq!(verdicts(root, Some("rxe1")), all([Ok, Ok, Fail, Ok]));
    }

    #[test]
    fn a_library_in_a_folder_is_found_without_the_cache() {
        let machine = tempfile::tempdir().expect("a folder");
        put(machine.path(), "usr/lib64/libucp.so.0", "");
        let findings = examine(machine.path(), BackendKind::Ucx, None);
        assert_eq!((findings[0].check, findings[0].verdict), ("libucp", Verdict::Ok));
        assert_eq!(findings.len(), 1, "UCX does without RDMA devices: {findings:?}");
    }

    #[test]
    fn locked_memory_is_judged_in_kib() {
        let machine = tempfile::tempdir().expect("a folder");
        let judge = |soft: &str| {
            put(machine.path(), "proc/self/limits", &limit(soft));
            memlock(machine.path())
        };
        assert_eq!(judge("65536").verdict, Verdict::Fail);
        assert!(judge("65536").says.starts_with("64 KiB"), "{:?}", judge("65536"));
        assert_eq!(judge("8388608").verdict, Verdict::Warn);
        assert_eq!(judge("1073741824").verdict, Verdict::Ok);
    }
}
