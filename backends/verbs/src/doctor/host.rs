//! What does not depend on a device: libraries and limits.

use rustix::process::{Resource, getrlimit};

use super::{Finding, install};
use wavetank_contract::memlock;

use crate::opening::MEMLOCK_MIN_BYTES;
use crate::sys::{ForkSafety, LoadError, Rdmacm, Verbs, fork_safety};

/// Locked memory that a daemon with a modest arena needs.
const MEMLOCK_ENOUGH_BYTES: u64 = 256 << 20;

/// Descriptors that a daemon with some hundred connections needs.
const FILES_ENOUGH: u64 = 1024;

const MEMLOCK_MEND: &str = "ulimit -l unlimited, LimitMEMLOCK=infinity of a systemd unit, or limits.conf(5)";

pub(super) fn examine() -> Vec<Finding> {
    vec![
        library("libibverbs", Verbs::get().map(drop)),
        connection_library(),
        fork(),
        memlock(memlock::limit_bytes()),
        files(getrlimit(Resource::Nofile).current),
    ]
}

fn library(check: &'static str, loaded: Result<(), LoadError>) -> Finding {
    match loaded {
        Ok(()) => Finding::ok(check, "is there"),
        Err(LoadError { library, why }) => {
            Finding::fail(check, format!("{library} is absent: {why}"), install(library))
        }
    }
}

/// Only iWARP needs it.
fn connection_library() -> Finding {
    match Rdmacm::get() {
        Ok(_) => Finding::ok("librdmacm", "is there"),
        Err(LoadError { library, why }) => {
            let says = format!("{library} is absent, without which there is no iWARP: {why}");
            Finding::warn("librdmacm", says, install(library))
        }
    }
}

fn fork() -> Finding {
    let Ok(verbs) = Verbs::get() else {
        return Finding::warn("fork", "cannot be told without libibverbs", install("libibverbs.so.1"));
    };
    match fork_safety(verbs) {
        ForkSafety::Unneeded => {
            Finding::ok("fork", "the kernel copies pinned pages for children: fork is safe")
        }
        ForkSafety::On => Finding::ok("fork", "libibverbs keeps registered memory from children"),
        ForkSafety::Off | ForkSafety::Unknown => Finding::warn(
            "fork",
            "a child of fork(2) may take registered pages away from the device (kernel before 5.12)",
            "start children before registering memory, or set RDMAV_FORK_SAFE=1",
        ),
    }
}

/// Bytes for people.
pub(super) fn human(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{} GiB", b >> 30),
        b if b >= 1 << 20 => format!("{} MiB", b >> 20),
        b => format!("{} KiB", b >> 10),
    }
}

fn memlock(limit: Option<u64>) -> Finding {
    match limit {
        None => Finding::ok("memlock", "as much memory as there is may be locked"),
        Some(bytes) if bytes < MEMLOCK_MIN_BYTES => Finding::fail(
            "memlock",
            format!(
                "{} may be locked, not even enough for queues ({})",
                human(bytes),
                human(MEMLOCK_MIN_BYTES)
            ),
            MEMLOCK_MEND,
        ),
        Some(bytes) if bytes < MEMLOCK_ENOUGH_BYTES => Finding::warn(
            "memlock",
            format!("{} may be locked: enough to try, too little to serve from", human(bytes)),
            MEMLOCK_MEND,
        ),
        Some(bytes) => Finding::ok("memlock", format!("{} may be locked", human(bytes))),
    }
}

fn files(limit: Option<u64>) -> Finding {
    match limit {
        Some(n) if n < FILES_ENOUGH => {
            Finding::warn("files", format!("only {n} descriptors may be open"), "ulimit -n 65536")
        }
        Some(n) => Finding::ok("files", format!("{n} descriptors may be open")),
        None => Finding::ok("files", "as many descriptors as one likes may be open"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn an_absent_library_names_its_package() {
        let absent = LoadError { library: "libibverbs.so.1", why: "cannot open shared object file".into() };
        let finding = library("libibverbs", Err(absent));
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(finding.mend.as_deref(), Some("apt install libibverbs1 ibverbs-providers"));
    }

    #[test]
    fn locked_memory_is_judged_by_what_it_is_for() {
        assert_eq!(memlock(None).verdict, Verdict::Ok);
        assert_eq!(memlock(Some(64 << 10)).verdict, Verdict::Fail);
        assert!(memlock(Some(64 << 10)).says.contains("64 KiB"));
        assert_eq!(memlock(Some(8 << 20)).verdict, Verdict::Warn);
        assert_eq!(memlock(Some(4 << 30)).verdict, Verdict::Ok);
        assert_eq!(files(Some(256)).verdict, Verdict::Warn);
    }
}
