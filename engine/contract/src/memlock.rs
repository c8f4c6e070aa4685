//! Locked memory: what this process may pin for devices, and what it has pinned.
//!
//! The kernel counts the pages of every registration, of every device and library of this process, against `RLIMIT_MEMLOCK`
//! (`ib_umem_get` of drivers/infiniband/core/umem.c), and says `ENOMEM` past it, as it does for want of anything else. So it is
//! looked at before, where the figures can be told.

use std::io::Read as _;

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::error::RegisterError;
use crate::region::PAGE_BYTES;

/// Longest `/proc/self/status` that is looked at.
const STATUS_BYTES_MAX: u64 = 64 << 10;

/// What may be pinned, and what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memlock {
    /// `RLIMIT_MEMLOCK`; `None` where it does not apply.
    pub limit_bytes: Option<u64>,
    /// Bytes pinned already, each as often as it is registered.
    pub pinned_bytes: u64,
}

impl Memlock {
    /// Whether the kernel lets a region of that many bytes be pinned on top.
    ///
    /// # Errors
    /// [`RegisterError::Memlock`], with all figures and the command.
    pub fn check(&self, len_bytes: u64) -> Result<(), RegisterError> {
        let pinned_bytes = self.pinned_bytes;
        let need_bytes = len_bytes.next_multiple_of(PAGE_BYTES).saturating_add(pinned_bytes);
        match self.limit_bytes {
            Some(limit_bytes) if need_bytes > limit_bytes => {
                Err(RegisterError::Memlock { len_bytes, pinned_bytes, need_bytes, limit_bytes })
            }
            _ => Ok(()),
        }
    }
}

/// What this process may pin; `None` if nothing limits it.
pub fn limit_bytes() -> Option<u64> {
    let limit = getrlimit(Resource::Memlock).current?;
    // Whoever has this capability is not counted. In a user namespace it is another capability of that name, and the kernel goes
    // on counting: it then says ENOMEM itself.
    let exempt = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    (!exempt).then_some(limit)
}

/// What this process has pinned, by all devices: `VmPin` of `/proc/self/status`; 0 where that cannot be read.
pub fn pinned_bytes() -> u64 {
    let mut status = String::new();
    let read = std::fs::File::open("/proc/self/status")
        .and_then(|file| file.take(STATUS_BYTES_MAX).read_to_string(&mut status));
    if read.is_ok() { pinned_of(&status) } else { 0 }
}

/// What is pinned by that file. `VmLck` is what mlock(2) locked, which has a count of its own.
fn pinned_of(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmPin:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_pinned_already_counts_and_whole_pages_do() {
        let memlock = |limit_bytes, pinned_bytes| Memlock { limit_bytes, pinned_bytes };
        assert_eq!(memlock(None, u64::MAX).check(u64::MAX - PAGE_BYTES), Ok(()));
        assert_eq!(memlock(Some(8 * MIB), 0).check(8 * MIB), Ok(()));
        assert_eq!(memlock(Some(8 * MIB), 7 * MIB).check(MIB), Ok(()));
        assert!(memlock(Some(8 * MIB), 7 * MIB).check(MIB + 1).is_err());
        assert!(memlock(Some(8 * MIB), 9 * MIB).check(1).is_err());
        assert!(memlock(Some(1), 0).check(1).is_err(), "a page is locked whole");
    }

    #[test]
    fn a_refusal_names_limit_need_and_command() {
        let memlock = Memlock { limit_bytes: Some(8 * MIB), pinned_bytes: 7 * MIB };
        let said = memlock.check(2 * MIB).expect_err("too much").to_string();
        for part in ["2097152", "7340032", "9437184", "8388608", "ulimit -l 9216", "LimitMEMLOCK"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn only_what_devices_pinned_is_read_and_garbage_is_nothing() {
        assert_eq!(pinned_of("Name:\tx\nVmLck:\t      64 kB\nVmPin:\t    1024 kB\nVmHWM:\t 9 kB\n"), MIB);
        for garbage in ["", "VmPin:", "VmPin:\tmuch kB", "VmPin: -1 kB", "XVmPin: 3 kB"] {
            assert_eq!(pinned_of(garbage), 0);
        }
        assert_eq!(pinned_of(&format!("VmPin: {} kB", u64::MAX)), u64::MAX);
    }

    #[test]
    fn this_process_has_an_answer_to_both() {
        // Tests pin nothing; how much they may is the machine's to say.
        assert_eq!(pinned_bytes(), 0);
        let memlock = Memlock { limit_bytes: limit_bytes(), pinned_bytes: pinned_bytes() };
        assert_eq!(memlock.check(1 << 50).is_err(), memlock.limit_bytes.is_some_and(|limit| limit < 1 << 50));
    }
}
