//! Whether the machine has the memory a workload needs, asked before it is taken: the system would rather kill us later.

/// Bytes the system says it can give without swapping; `None` where it does not say (`proc_meminfo(5)`).
fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    parse_available(&text)
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Refuses what does not fit.
pub(crate) fn check(what: &str, needed_bytes: u64) -> Result<(), String> {
    match available_bytes() {
        Some(available) if needed_bytes > available => Err(format!(
            "{what} needs {} MiB of memory and this machine has {} MiB available; make its regions or its concurrency \
             smaller, or run it on a larger machine",
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
    fn the_system_s_answer_is_understood() {
        assert_eq!(parse_available("MemTotal: 5 kB\nMemAvailable:   1234 kB\n"), Some(1234 * 1024));
        assert_eq!(parse_available("MemAvailable: lots\n"), None);
        assert!(check("a test", 1).is_ok());
        assert!(available_bytes().is_none() || check("a test", u64::MAX).is_err());
    }
}
