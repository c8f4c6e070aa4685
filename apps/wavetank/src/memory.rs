//! Whether there is the memory a workload needs, asked before it is taken: the system would rather kill us later.

use std::fs::read_to_string;

/// Bytes this process can have; `None` where the system does not say.
pub(crate) fn available_bytes() -> Option<u64> {
    // proc_meminfo(5): what can be given without swapping. getrlimit(2): what this process may map. cgroups(7): what its
    // container may have; what it has already counts caches too, so the limit itself is the surer bound.
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| machine(&text));
    let process = read_to_string("/proc/self/limits").ok().and_then(|text| process(&text));
    let container =
        read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    [machine, process, container].into_iter().flatten().min()
}

fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit; `unlimited` is no number and so no limit.
fn process(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Refuses what does not fit.
pub(crate) fn check(what: &str, needed_bytes: u64) -> Result<(), String> {
    match available_bytes() {
        Some(available) if needed_bytes > available => Err(format!(
            "{what}: needs {} MiB of memory and {} MiB are available here; make its regions or its concurrency \
             smaller, or run it where there is more",
            needed_bytes >> 20,
            available >> 20
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_answers_are_understood() {
        assert_eq!(machine("MemTotal: 5 kB\nMemAvailable:   1234 kB\n"), Some(1234 * 1024));
        assert_eq!(machine("MemAvailable: lots\n"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max address space         1024000000           unlimited            bytes\n";
        assert_eq!(process(limits), Some(1_024_000_000));
        assert_eq!(
            process("Max address space         unlimited            unlimited            bytes\n"),
            None
        );
    }

    #[test]
    fn what_fits_is_let_through_and_what_does_not_is_refused() {
        assert!(check("a test", 1).is_ok());
        assert!(available_bytes().is_none() || check("a test", u64::MAX).is_err());
    }
}
