//! What a process has, and what it leaves behind, as the system tells it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::daemon::Daemon;
use crate::waiting::within;

/// Descriptors that a process has open, by what they are.
pub(crate) fn descriptors(pid: u32) -> Vec<String> {
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let name = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
    let mut names: Vec<String> =
        all.filter_map(|entry| name(entry.ok()?)).map(|path| path.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Memory of a process that is in RAM, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    // Its own: what it shares with clients is bounded by --buffer-size.
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Memory of no file that a process has mapped, by its inode: what clients share with an engine.
pub(crate) fn memfds(pid: u32) -> BTreeSet<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let of = |line: &str| {
        line.contains("/memfd:wavetank").then(|| line.split_whitespace().nth(4)?.parse().ok())?
    };
    maps.lines().filter_map(of).collect()
}

/// Files in `/dev/shm` that a process has mapped or open.
pub(crate) fn shared_files(pid: u32) -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| Some(line.split_at(line.find("/dev/shm/")?).1.to_owned()));
    let open = descriptors(pid).into_iter().filter(|name| name.starts_with("/dev/shm/"));
    mapped.chain(open).filter(|name| !name.ends_with("(deleted)")).map(PathBuf::from).collect()
}

/// What an engine has while it lives, so that it can be looked for afterwards.
#[derive(Debug)]
pub(crate) struct Traces {
    socket: PathBuf,
    memfds: BTreeSet<u64>,
    shared_files: BTreeSet<PathBuf>,
}

impl Traces {
    pub(crate) fn of(daemon: &Daemon) -> Traces {
        let pid = daemon.process.pid();
        let traces =
            Traces { socket: daemon.socket.clone(), memfds: memfds(pid), shared_files: shared_files(pid) };
        assert!(!traces.memfds.is_empty(), "an engine has an arena");
        traces
    }

    /// What of it is still there.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self
            .shared_files
            .iter()
            .chain([&self.socket])
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            for inode in memfds(pid).intersection(&self.memfds) {
                left.push(format!("process {pid} has memory {inode} of the engine"));
            }
        }
        left
    }
}

/// Whether an engine comes to have nothing of any client's and no read under way, soon.
pub(crate) fn settled(daemon: &Daemon, limit: std::time::Duration) -> Result<(), String> {
    const ZERO: [&str; 5] =
        ["leases_now", "sessions_now", "reads_now", "client_connections_now", "client_rings_now"];
    let look = || {
        let metrics = daemon.metrics();
        ZERO.iter().map(|name| (*name, metrics.of(name))).filter(|(_, now)| *now > 0).collect::<Vec<_>>()
    };
    within(limit, || look().is_empty().then_some(())).ok_or_else(|| format!("not back: {:?}", look()))
}
