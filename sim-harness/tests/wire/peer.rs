//! The storage node in a process of its own, which can be killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use wavetank_contract::{EndpointAddress, RemoteKey};
use wavetank_engine::RdmaOps;
use wavetank_verbs::{DeviceError, VerbsConfig, VerbsDevice};

use crate::stream::{PATIENT, Storage};

/// Names the device for the child.
const DEVICE: &str = "WAVETANK_PEER_DEVICE";

/// Begins the child's one line, among what the test program says.
const OFFER: &str = "offer: ";

pub(crate) fn open(device: &str) -> Result<VerbsDevice, DeviceError> {
    VerbsDevice::open(&VerbsConfig::new(device))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim();
    (0..digits.len() / 2)
        .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("what `hex` wrote"))
        .collect()
}

/// A child that serves memory.
pub(crate) struct Peer {
    child: Child,
    offer: (EndpointAddress, RemoteKey, RemoteKey),
}

impl Peer {
    pub(crate) fn start(device: &str) -> Peer {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", "peer::serve_memory", "--ignored", "--nocapture"])
            .env(DEVICE, device)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        let line = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(OFFER).map(|(_, offer)| offer.to_owned()))
            .expect("the child makes an offer");
        let mut parts = line.split(',').map(unhex);
        let mut part = || parts.next().expect("three parts");
        let address = EndpointAddress::from_bytes(&part()).expect("short");
        let source = RemoteKey::from_bytes(&part()).expect("short");
        let sink = RemoteKey::from_bytes(&part()).expect("short");
        Peer { child, offer: (address, source, sink) }
    }

    pub(crate) fn offer(&self) -> &(EndpointAddress, RemoteKey, RemoteKey) {
        &self.offer
    }

    pub(crate) fn connect(&mut self, address: &EndpointAddress) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{}", hex(address.as_bytes())).expect("the child listens");
    }

    /// SIGKILL: no farewell of any kind.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is dead");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the other process of `a_killed_peer_ends_in_retries_exceeded`"]
fn serve_memory() {
    let Ok(device) = std::env::var(DEVICE) else { return };
    let mut storage = Storage::new(open(&device).expect("a device"), PATIENT);
    let (address, source, sink) = storage.offer();
    let offer = [address.as_bytes(), source.as_bytes(), sink.as_bytes()].map(hex).join(",");
    writeln!(std::io::stdout(), "{OFFER}{offer}").expect("the parent reads");
    let mut lines = std::io::stdin().lines();
    let theirs = lines.next().and_then(Result::ok).expect("the parent sends its address");
    let theirs = EndpointAddress::from_bytes(&unhex(&theirs)).expect("short");
    storage.port.connect(storage.ep, &theirs).expect("an address of the same kind of device");
    // Until the parent goes away, or kills us.
    let _ = lines.next();
}
