//! What does not depend on UCX: shared memory, namespaces, networks, limits.

use std::fs;

use wavetank_contract::memlock;

use super::Finding;
use crate::config::{Transport, UcxConfig};
use crate::opening::{SHM_WORKER_BYTES, shared_memory_free};

/// What enlarges /dev/shm.
pub(super) const MORE_SHARED_MEMORY: &str = "mount -o remount,size=1G /dev/shm; a container: --shm-size=1g";

/// Workers of shared memory that one would like to have room for.
const WORKERS_ENOUGH: u64 = 16;

/// Locked memory that an RDMA device needs for a modest arena.
const MEMLOCK_ENOUGH_BYTES: u64 = 256 << 20;

/// The PID namespace that the machine began with (`PROC_PID_INIT_INO` of include/linux/proc_ns.h).
const FIRST_NAMESPACE: u64 = 0xefff_fffc;

pub(super) fn examine(wanted: &[UcxConfig]) -> Vec<Finding> {
    let uses = |transport| wanted.iter().any(|config| config.transport == transport);
    let only = !wanted.is_empty() && wanted.len() < Transport::ALL.len();
    let (nets, devices) = (names("/sys/class/net"), names("/sys/class/infiniband"));
    let namespace = rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino);
    vec![
        shared_memory(shared_memory_free(), uses(Transport::Shm) && only),
        pid_namespace(namespace),
        network(&nets, wanted.iter().find(|config| config.transport == Transport::Tcp)),
        memlock(memlock::limit_bytes(), &devices),
    ]
}

/// Names in a folder, in order. None where there is no such folder.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn shared_memory(free: Option<u64>, asked: bool) -> Finding {
    let check = "shm-space";
    let Some(free) = free else {
        return Finding::warn(
            check,
            "/dev/shm is not there, and shared memory needs it",
            "mount -t tmpfs tmpfs /dev/shm",
        );
    };
    let (mib, workers) = (free >> 20, free / SHM_WORKER_BYTES);
    let says =
        format!("/dev/shm has {mib} MiB free, for {workers} workers of {} MiB", SHM_WORKER_BYTES >> 20);
    match workers {
        0 if asked => Finding::fail(check, says, MORE_SHARED_MEMORY),
        n if n < WORKERS_ENOUGH => Finding::warn(check, says, MORE_SHARED_MEMORY),
        _ => Finding::ok(check, says),
    }
}

fn pid_namespace(inode: u64) -> Finding {
    let check = "pid-namespace";
    match inode {
        0 => Finding::warn(
            check,
            "/proc does not say which, and shared memory needs it",
            "mount -t proc proc /proc",
        ),
        FIRST_NAMESPACE => Finding::ok(check, format!("pid:[{inode}], the machine's first")),
        _ => Finding::ok(
            check,
            format!(
                "pid:[{inode}], a container's own: memory is shared with processes inside it only (or --pid=host)"
            ),
        ),
    }
}

fn network(nets: &[String], tcp: Option<&UcxConfig>) -> Finding {
    let (check, list) = ("network", nets.join(", "));
    let asked = tcp.map_or(&[][..], |config| &config.devices);
    match asked.iter().find(|device| !nets.contains(device)) {
        Some(device) => Finding::fail(check, format!("there is no {device}; there is {list}"), "ip link"),
        None if nets.is_empty() => Finding::warn(check, "there is none, and tcp needs one", "ip link"),
        None => Finding::ok(check, list),
    }
}

/// Only RDMA devices need it.
fn memlock(limit: Option<u64>, devices: &[String]) -> Finding {
    let check = "memlock";
    let says = match limit {
        None => "as much memory as there is may be locked".to_owned(),
        Some(bytes) => format!("{} KiB may be locked", bytes >> 10),
    };
    match devices {
        [] => Finding::ok(check, format!("{says}; nothing here needs it, there is no RDMA device")),
        devices if limit.is_some_and(|bytes| bytes < MEMLOCK_ENOUGH_BYTES) => {
            let says = format!("{says}, too little to serve from by {}", devices.join(", "));
            Finding::warn(check, says, "ulimit -l unlimited, LimitMEMLOCK=infinity of a systemd unit")
        }
        devices => Finding::ok(check, format!("{says} for {}", devices.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn shared_memory_is_judged_by_workers() {
        let judge = |free, asked| shared_memory(free, asked).verdict;
        assert_eq!(judge(Some(1 << 30), true), Verdict::Ok);
        assert_eq!(judge(Some(20 << 20), true), Verdict::Warn);
        assert_eq!([judge(Some(1 << 20), true), judge(Some(1 << 20), false)], [Verdict::Fail, Verdict::Warn]);
        assert!(shared_memory(Some(11 << 20), true).says.contains("11 MiB free, for 2 workers of 5 MiB"));
    }

    #[test]
    fn a_containers_namespace_and_a_network_that_is_not_there_are_told() {
        assert!(pid_namespace(7).says.contains("a container's own"));
        assert!(pid_namespace(FIRST_NAMESPACE).says.contains("the machine's first"));
        let config: UcxConfig = "tcp/eth7".parse().expect("a device");
        let found = network(&["eth0".to_owned(), "lo".to_owned()], Some(&config));
        assert_eq!(
            (found.verdict, found.says.as_str()),
            (Verdict::Fail, "there is no eth7; there is eth0, lo")
        );
    }

    #[test]
    fn locked_memory_matters_where_there_is_an_rdma_device() {
        let rxe = ["rxe0".to_owned()];
        assert_eq!(memlock(Some(8 << 20), &[]).verdict, Verdict::Ok);
        assert_eq!(memlock(Some(8 << 20), &rxe).verdict, Verdict::Warn);
        assert_eq!(memlock(None, &rxe).verdict, Verdict::Ok);
    }
}
