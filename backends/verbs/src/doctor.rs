//! The doctor: looks at everything that has to be right for RDMA to work here, and says what is not and how to mend it.
//!
//! Examining changes nothing: devices are opened and closed, no queue is made, nothing is sent. Every check runs, whatever the
//! ones before it found.

mod devices;
mod host;

pub use wavetank_contract::finding::{Finding, Verdict};

use crate::kernel::Kernel;

/// The packages that hold a library.
pub(crate) fn install(library: &str) -> &'static str {
    match library {
        "librdmacm.so.1" => "apt install librdmacm1",
        _ => "apt install libibverbs1 ibverbs-providers",
    }
}

/// Examines this machine and one of its devices, or all of them.
pub fn examine(device: Option<&str>) -> Vec<Finding> {
    let kernel = Kernel::here();
    let mut findings = host::examine();
    devices::examine(&kernel, device, &mut findings);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_is_examined_to_the_end() {
        for device in [None, Some("no-such-device0")] {
            let findings = examine(device);
            for check in ["libibverbs", "librdmacm", "fork", "memlock", "devices"] {
                assert!(findings.iter().any(|f| f.check == check), "{check} is missing from {findings:#?}");
            }
            let silent = findings.iter().find(|f| f.verdict != Verdict::Ok && f.mend.is_none());
            assert_eq!(silent, None, "whatever is wrong can be mended or shown");
        }
    }

    #[test]
    fn a_device_that_does_not_exist_fails_with_those_that_do() {
        let findings = examine(Some("no-such-device0"));
        assert!(findings.iter().any(|f| f.check == "devices" && f.verdict == Verdict::Fail), "{findings:#?}");
    }
}
