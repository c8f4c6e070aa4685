//! This program again, as somebody else.

use std::path::{Path, PathBuf};
use std::process::Command;

use wavetank_contract::error::ConnectError;
use wavetank_contract::{Backend, EndpointAddress, EndpointSpec};
use wavetank_ucx::doctor::examine;
use wavetank_ucx::{DeviceError, Transport, UcxConfig, UcxDevice};

/// Says what to be.
const ROLE: &str = "WAVETANK_UCX_MACHINE";
/// What comes between this and the end is said to the parent.
const MARK: &str = "SAID ";

/// How a child ended.
pub(crate) enum Ended {
    /// Well, and it said something.
    Said(String),
    /// Not well.
    Not(String),
}

/// Runs a child with these variables.
pub(crate) fn run(role: &str, set: &[(&str, &str)]) -> Ended {
    run_in(&[], role, set)
}

/// Runs a child by way of a program that takes its command line.
pub(crate) fn run_in(by: &[&str], role: &str, set: &[(&str, &str)]) -> Ended {
    let me = std::env::current_exe().expect("this program").display().to_string();
    let mut words: Vec<&str> = by.to_vec();
    words.extend([me.as_str(), "--exact", "child::child", "--nocapture", "--test-threads=1"]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(ROLE, role).envs(set.iter().copied());
    let ended = match command.output() {
        Ok(ended) => ended,
        Err(error) => return Ended::Not(error.to_string()),
    };
    let said = String::from_utf8_lossy(&ended.stdout);
    match said.split_once(MARK) {
        Some((_, said)) if ended.status.success() => Ended::Said(said.to_owned()),
        _ => Ended::Not(format!("{}: {said}{}", ended.status, String::from_utf8_lossy(&ended.stderr))),
    }
}

#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let said = match role.as_str() {
        "small-shm" => {
            let error = UcxDevice::open(&UcxConfig::new(Transport::Shm)).expect_err("no room");
            assert!(matches!(error, DeviceError::SharedMemoryFull { .. }), "{error}");
            error.to_string()
        }
        "other-namespace" => {
            let mut device = UcxDevice::open(&UcxConfig::new(Transport::Shm)).expect("opened");
            let cq = device.open_cq(4).expect("a queue");
            let ep = device.open(&EndpointSpec::new(cq)).expect("an endpoint");
            let peer = unhex(&std::env::var("PEER").expect("an address"));
            let error = device.connect(ep, &peer).expect_err("unreachable");
            assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
            error.to_string()
        }
        _ => examine(None).iter().map(|finding| format!("{finding}\n")).collect(),
    };
    say(&format!("{MARK}{said}"));
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn say(line: &str) {
    println!("{line}");
}

/// Says that something could not be tried here.
#[expect(clippy::print_stderr, reason = "a test that tried nothing says so")]
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// The address of an endpoint of a device, as text, and the device, which stays open.
pub(crate) fn address_of(mut device: UcxDevice) -> (UcxDevice, String) {
    let cq = device.open_cq(4).expect("a queue");
    let ep = device.open(&EndpointSpec::new(cq)).expect("an endpoint");
    let address = device.address(ep).expect("an address");
    let text = address.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    (device, text)
}

fn unhex(text: &str) -> EndpointAddress {
    let byte = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(digits, 16).expect("digits")
    };
    let bytes: Vec<u8> = text.as_bytes().chunks(2).map(byte).collect();
    EndpointAddress::from_bytes(&bytes).expect("short")
}

/// Makes a library with every function that is called, which says it is UCX 1.11. `None`: there is no compiler.
pub(crate) fn old_library(folder: &Path) -> Option<PathBuf> {
    let listed = include_str!("../../build.rs").lines();
    let names = listed.filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","));
    let names = names.filter(|name| name.starts_with("uc") && !name.starts_with("ucp_get_version"));
    let mut code: String = names.map(|name| format!("int {name}(void) {{ return -1; }}\n")).collect();
    code.push_str(
        "void ucp_get_version(unsigned *a, unsigned *b, unsigned *c) { *a = 1; *b = 11; *c = 0; }\n",
    );
    code.push_str("const char *ucp_get_version_string(void) { return \"1.11.0\"; }\n");
    let (source, library) = (folder.join("old.c"), folder.join("libucp.so.0"));
    std::fs::write(&source, code).expect("written");
    let mut compiler = Command::new("cc");
    compiler.args(["-w", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    compiler.status().is_ok_and(|status| status.success()).then_some(library)
}
