//! The doctor: looks at everything that has to be right for RDMA to work here, and says what is not and how to mend it.
//!
//! Examining changes nothing: devices are opened and closed, no queue is made, nothing is sent. Every check runs, whatever the
//! ones before it found.

mod devices;
mod host;

use std::fmt;

use crate::kernel::Kernel;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or works sometimes, or not as well as it could.
    Warn,
    /// It cannot work.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        })
    }
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at; stable, for programs: `memlock`, `port`.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What is the case, with names and numbers.
    pub says: String,
    /// The command that shows or mends it.
    pub mend: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} {}: {}", self.verdict.to_string(), self.check, self.says)?;
        match &self.mend {
            Some(mend) => write!(f, " ({mend})"),
            None => Ok(()),
        }
    }
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Ok, says: says.into(), mend: None }
    }

    fn warn(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Warn, says: says.into(), mend: Some(mend.into()) }
    }

    fn fail(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Fail, says: says.into(), mend: Some(mend.into()) }
    }
}

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

    #[test]
    fn a_finding_is_a_line() {
        let finding = Finding::warn("memlock", "8 MiB", "ulimit -l unlimited");
        assert_eq!(finding.to_string(), "warn memlock: 8 MiB (ulimit -l unlimited)");
    }
}
