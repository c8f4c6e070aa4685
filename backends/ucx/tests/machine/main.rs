//! Machines on which something is missing, too small or set wrongly: each is told by its name, and none ends the process.
//!
//! What changes a machine is done to a child of its own: this program again, told by a variable what to be.

mod child;

use std::path::Path;

use child::{Ended, run, run_in};
use wavetank_ucx::doctor::{Verdict, examine};
use wavetank_ucx::{DeviceError, Transport, UcxConfig, UcxDevice};

#[test]
fn a_library_that_is_too_old_is_told_with_what_is_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(library) = child::old_library(folder.path()) else {
        return child::skip("no C compiler makes a library that says it is UCX 1.11");
    };
    let mut config = UcxConfig::new(Transport::Tcp);
    config.library = Some(library);
    let error = UcxDevice::open(&config).expect_err("too old");
    assert_eq!(error, DeviceError::TooOld { found: "1.11.0".to_owned() });
}

#[test]
fn a_library_that_is_none_is_told_by_its_path() {
    let mut config = UcxConfig::new(Transport::Tcp);
    config.library = Some("/proc/version".into());
    let error = UcxDevice::open(&config).expect_err("no library");
    assert!(
        matches!(&error, DeviceError::LibraryAbsent { library, .. } if library == "/proc/version"),
        "{error}"
    );
}

#[test]
fn an_rdma_device_that_is_not_there_is_a_transport_that_is_not_available() {
    if Path::new("/sys/class/infiniband").read_dir().is_ok_and(|mut found| found.next().is_some()) {
        return child::skip("this machine has an RDMA device");
    }
    let error = UcxDevice::open(&UcxConfig::new(Transport::Rc)).expect_err("no device");
    assert!(matches!(error, DeviceError::TransportUnavailable { transport: Transport::Rc, .. }), "{error}");
}

#[test]
fn a_network_that_is_not_there_is_told_with_the_transport() {
    let config: UcxConfig = "tcp/no-such-net0".parse().expect("a device");
    let error = UcxDevice::open(&config).expect_err("no network").to_string();
    assert!(error.starts_with("UCX cannot use the transport tcp on no-such-net0: No such device"), "{error}");
}

#[test]
fn no_room_in_dev_shm_is_told_in_bytes() {
    let script = "mount -t tmpfs -o size=1m tmpfs /dev/shm && exec \"$0\" \"$@\"";
    match run_in(&["unshare", "-m", "sh", "-c", script], "small-shm", &[]) {
        Ended::Said(said) => assert!(said.contains("/dev/shm has 1048576 bytes free"), "{said}"),
        Ended::Not(why) => child::skip(&format!("no mount namespace of its own: {why}")),
    }
}

#[test]
fn shared_memory_does_not_reach_into_another_pid_namespace_and_says_so() {
    let device = UcxDevice::open(&UcxConfig::new(Transport::Shm)).expect("opened");
    let (_device, address) = child::address_of(device);
    let set = [("PEER", address.as_str())];
    match run_in(&["unshare", "-p", "-f", "--mount-proc"], "other-namespace", &set) {
        Ended::Said(said) => assert!(said.contains("another PID namespace"), "{said}"),
        Ended::Not(why) => child::skip(&format!("no PID namespace of its own: {why}")),
    }
}

#[test]
fn no_variable_ends_the_process_and_those_that_forbid_something_are_named() {
    for (name, value, told) in [
        ("UCX_LOG_FILE", "/nonexistent/ucx.log", "UCX_LOG_FILE=/nonexistent/ucx.log"),
        ("UCX_PROTO_ENABLE", "y", "UCX_PROTO_ENABLE=y"),
        ("UCX_TLS", "garbage", "UCX_TLS=garbage"),
        ("UCX_NET_DEVICES", "nonexistent", "UCX_NET_DEVICES=nonexistent"),
        ("UCX_RNDV_THRESH", "banana", "set are UCX_RNDV_THRESH"),
        ("UCX_KEEPALIVE_INTERVAL", "banana", "set are UCX_KEEPALIVE_INTERVAL"),
        ("UCX_ALLOC_PRIO", "banana", "UCX_ALLOC_PRIO"),
        ("UCX_TCP_TX_SEG_SIZE", "1", "set are UCX_TCP_TX_SEG_SIZE"),
        ("UCX_MM_FIFO_SIZE", "3", "set are UCX_MM_FIFO_SIZE"),
        ("UCX_POSIX_DIR", "/nonexistent", "UCX cannot use the transport shm"),
        ("UCX_MEMTYPE_CACHE", "banana", ""),
        ("UCX_HANDLE_ERRORS", "banana", ""),
        ("UCX_BANANA", "1", "know no such variable"),
    ] {
        match run("variables", &[(name, value)]) {
            Ended::Said(said) => assert!(said.contains(told), "{name}={value}: {said}"),
            Ended::Not(why) => panic!("{name}={value} ended the process: {why}"),
        }
    }
}

#[test]
fn a_machine_in_order_has_nothing_to_mend_for_tcp() {
    let findings = examine(Some("tcp/lo"));
    assert!(findings.iter().all(|finding| finding.verdict != Verdict::Fail), "{findings:#?}");
    let told = |says: &str| findings.iter().any(|f| f.check == "tcp" && f.says.starts_with(says));
    assert!(
        told("lanes: tcp/lo for am") && told("READ and WRITE served by the peer's device"),
        "{findings:#?}"
    );
}
