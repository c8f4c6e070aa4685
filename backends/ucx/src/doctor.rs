//! The doctor: looks at everything that has to be right for UCX to work here, tries each transport, and says what is not right, how to
//! mend it, and what UCX chose.
//!
//! Devices are opened and closed, and send each other a few bytes within this process. Every check runs, whatever the ones before it
//! found; where UCX itself would end the process it is not asked.

mod host;
mod trial;
mod variables;

pub use wavetank_contract::finding::{Finding, Verdict};

use crate::config::{Transport, UcxConfig};
use crate::error::DeviceError;
use crate::opening;

const SHOW: &str = "ucx_info -d";

/// Examines this machine, and one device (`tcp/lo`) or every transport.
pub fn examine(device: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![library()];
    let usable = findings.iter().all(|finding| finding.verdict != Verdict::Fail);
    let (wanted, unread) = match device.map(str::parse::<UcxConfig>) {
        None => (Transport::ALL.map(UcxConfig::new).to_vec(), None),
        Some(Ok(config)) => (vec![config], None),
        Some(Err(error)) => (Vec::new(), Some(error.to_string())),
    };
    findings.extend(variables::examine());
    findings.extend(host::examine(&wanted));
    findings.extend(unread.map(|says| Finding::fail("device", says, "wavetank doctor --backend ucx")));
    if usable {
        findings.extend(wanted.iter().flat_map(|config| transport(config, device.is_some())));
    }
    findings
}

/// What the loader says of it.
fn library() -> Finding {
    match opening::load(&UcxConfig::new(Transport::Tcp)) {
        Ok(library) => Finding::ok("libucp", format!("UCX {}", library.version_text())),
        Err(error) => Finding::fail("libucp", error.to_string(), mend(&error)),
    }
}

/// Opens two devices, lets them exchange a few bytes, and says what they went over. A transport that was not asked for by name need not
/// be there.
fn transport(config: &UcxConfig, asked: bool) -> Vec<Finding> {
    let check = config.transport.name();
    let explanation = match trial::run(config) {
        Ok(explanation) => explanation,
        Err(trial::Failure::Device(error)) => {
            let (says, mend) = (error.to_string(), mend(&error));
            return vec![match asked {
                true => Finding::fail(check, says, mend),
                false => Finding::warn(check, says, mend),
            }];
        }
        Err(trial::Failure::Trial(says)) => {
            let mend = "UCX_LOG_LEVEL=debug wavetank doctor --backend ucx says more";
            return vec![Finding::fail(check, format!("{} was opened, and {says}", config.name()), mend)];
        }
    };
    let mut findings = vec![Finding::ok(check, "SEND, WRITE and READ of 8 bytes between two devices")];
    findings.extend(explanation.to_string().lines().skip(1).map(|line| Finding::ok(check, line)));
    findings
}

fn mend(error: &DeviceError) -> String {
    match error {
        DeviceError::LibraryAbsent { .. } | DeviceError::TooOld { .. } => "apt install libucx0".to_owned(),
        DeviceError::Variable { name, .. } => format!("unset {name}"),
        DeviceError::Configuration { .. } => "env | grep ^UCX_".to_owned(),
        DeviceError::SharedMemoryFull { .. } => host::MORE_SHARED_MEMORY.to_owned(),
        _ => SHOW.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_is_examined_to_the_end() {
        let findings = examine(None);
        for check in ["libucp", "variables", "shm-space", "pid-namespace", "network", "memlock"] {
            assert!(findings.iter().any(|f| f.check == check), "{check} is missing from {findings:#?}");
        }
        let silent = findings.iter().find(|f| f.verdict != Verdict::Ok && f.mend.is_none());
        assert_eq!(silent, None, "whatever is wrong can be mended or shown");
    }

    #[test]
    fn a_device_is_tried_and_told_of() {
        let findings = examine(Some("self"));
        let told: Vec<&str> =
            findings.iter().filter(|f| f.check == "self").map(|f| f.says.as_str()).collect();
        assert!(told.contains(&"SEND, WRITE and READ of 8 bytes between two devices"), "{findings:#?}");
        assert!(told.iter().any(|says| says.starts_with("lanes: self/memory")), "{findings:#?}");
    }

    #[test]
    fn what_does_not_exist_fails_by_its_name() {
        for (device, check, says) in [
            ("udp", "device", "there is no UCX transport \"udp\""),
            ("tcp/no-such-net0", "tcp", "UCX cannot use the transport tcp on no-such-net0"),
        ] {
            let findings = examine(Some(device));
            let found = findings.iter().find(|f| f.check == check && f.verdict == Verdict::Fail);
            assert!(found.is_some_and(|f| f.says.contains(says)), "{findings:#?}");
        }
    }
}
