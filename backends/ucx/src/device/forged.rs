//! What a peer that means harm could forge: addresses and keys in right frames, with every bit turned and every byte missing once.
//!
//! Each run is a process of its own: UCX ends the process over what it cannot read, and the last line says over what.

use std::process::Command;

use wavetank_contract::{
    Access, Backend, Completions, CqId, Data, EndpointSpec, EpId, MrId, Op, PdId, QpState, Region,
    RegionSpec, RemoteAddr, RemoteKey, Sge, Work, WorkId,
};

use super::UcxDevice;
use crate::address::{Address, Place};
use crate::config::{Transport, UcxConfig};
use crate::key::Key;
use crate::watch::now_ns;

/// Says to the child which run it is.
const RUN: &str = "WAVETANK_UCX_FORGED";

/// Runs this very test again, in a process of its own.
fn survives(run: &str, least: usize) {
    let me = std::env::current_exe().expect("this program");
    let ended = Command::new(me)
        .args(["--exact", "device::forged::child", "--nocapture", "--test-threads=1"])
        .env(RUN, run)
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&ended.stdout);
    let last: Vec<&str> = said.lines().rev().take(12).collect();
    assert!(ended.status.success(), "{run} ended as {}: {last:#?}", ended.status);
    let held = said.lines().find_map(|line| line.strip_prefix("HELD ")).and_then(|n| n.parse::<usize>().ok());
    assert!(held.is_some_and(|held| held >= least), "{run} went through too little: {last:#?}");
}

#[test]
fn no_address_of_a_tcp_worker_brings_the_process_down() {
    survives("tcp/lo address", 300);
}

#[test]
fn no_address_of_a_worker_of_shared_memory_brings_the_process_down() {
    survives("shm address", 300);
}

#[test]
fn no_key_of_shared_memory_brings_the_process_down_or_opens_more_than_it_says() {
    survives("shm key", 250);
}

#[test]
fn no_key_of_control_words_brings_the_process_down() {
    survives("shm hello", 30);
}

#[test]
fn child() {
    let Ok(run) = std::env::var(RUN) else { return };
    let (device, what) = run.split_once(' ').expect("two words");
    let config: UcxConfig = device.parse().expect("a device");
    let held = match what {
        "address" => addresses(&config),
        "key" => keys(&config),
        _ => hellos(&config),
    };
    say(&format!("HELD {held}"));
}

/// Flushed at once: whatever comes after may end the process.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn say(line: &str) {
    println!("{line}");
}

/// Every change of one bit, every truncation, and bytes of zeroes and ones.
fn changes(intact: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for at in 0..intact.len() {
        let with = |byte: u8| {
            let mut bytes = intact.to_vec();
            bytes[at] = byte;
            bytes
        };
        for bit in 0..8 {
            all.push((format!("bit {at}.{bit}"), with(intact[at] ^ 1 << bit)));
        }
        all.push((format!("byte {at} = 0"), with(0)));
        all.push((format!("byte {at} = ff"), with(0xff)));
        all.push((format!("{at} bytes"), intact[..at].to_vec()));
    }
    all.push(("empty key".to_owned(), Vec::new()));
    all
}

struct Side {
    device: UcxDevice,
    cq: CqId,
    region: Region,
    mr: MrId,
}

impl Side {
    fn new(config: &UcxConfig) -> Side {
        let mut device = UcxDevice::open(config).expect("opened");
        let cq = device.open_cq(64).expect("a queue");
        let region = device.allocate(&RegionSpec::new(65536)).expect("memory");
        let mr = device.register(&region, PdId::default(), Access::ALL).expect("registered");
        Side { device, cq, region, mr }
    }

    fn open(&mut self) -> EpId {
        let spec = EndpointSpec { send_depth: 4, recv_depth: 4, timeout: 10, ..EndpointSpec::new(self.cq) };
        self.device.open(&spec).expect("an endpoint")
    }

    fn turn(&mut self) -> usize {
        self.device.poll(self.cq, &mut Completions::with_capacity(16))
    }
}

fn address(side: &Side, ep: EpId) -> Address {
    Address::decode(&side.device.address(ep).expect("an address")).expect("ours")
}

fn connected(here: &mut Side, there: &mut Side) -> Option<(EpId, EpId)> {
    let (a, b) = (here.open(), there.open());
    here.device.connect(a, &there.device.address(b)?).expect("reachable");
    there.device.connect(b, &here.device.address(a)?).expect("reachable");
    let until = now_ns() + 5_000_000_000;
    while (here.device.state(a), there.device.state(b)) != (Some(QpState::Rts), Some(QpState::Rts)) {
        here.turn();
        there.turn();
        if now_ns() > until {
            return None;
        }
    }
    Some((a, b))
}

fn addresses(config: &UcxConfig) -> usize {
    let (mut here, mut there) = (Side::new(config), Side::new(config));
    let peer = there.open();
    let whole = address(&there, peer);
    let Place::Worker(blob) = &whole.place else { return 0 };
    let (mut tried, mut refused) = (0, 0);
    for (change, bytes) in changes(blob) {
        say(&change);
        let Some(frame) = (Address { place: Place::Worker(bytes), ..whole.clone() }).encode() else {
            continue;
        };
        let ep = here.open();
        match here.device.connect(ep, &frame) {
            Ok(()) => {
                for _ in 0..20 {
                    here.turn();
                    there.turn();
                }
            }
            Err(_) => refused += 1,
        }
        here.device.close(ep);
        tried += 1;
    }
    assert!(refused > 0 && refused < tried, "{refused} of {tried} were refused");
    assert!(connected(&mut here, &mut there).is_some(), "and what is whole still connects");
    tried
}

fn keys(config: &UcxConfig) -> usize {
    let (mut here, mut there) = (Side::new(config), Side::new(config));
    let (ep, _) = connected(&mut here, &mut there).expect("connected");
    let whole = Key::decode(&there.device.export(there.mr).expect("a key")).expect("ours");
    let mut tried = 0;
    let ranges =
        [(whole.addr, whole.len), (whole.addr - 4096, whole.len), (whole.addr, whole.len + (1 << 30))];
    let blobs = changes(&whole.packed).into_iter().map(|(change, packed)| (change, packed, ranges[0]));
    let wide = ranges[1..].iter().map(|range| (format!("{range:?}"), whole.packed.clone(), *range));
    for (change, packed, (addr, len)) in blobs.chain(wide) {
        say(&change);
        let key = Key { packed, addr, len, ..whole.clone() }.encode().expect("short");
        tried += 1;
        let Ok(memory) = here.device.import(ep, &key) else { continue };
        // The first and the last 8 bytes of what it says.
        for at in [addr, addr + len - 8] {
            let piece = [Sge { mr: here.mr, len: 8, offset: 0 }];
            let op = Op::Read { remote: RemoteAddr { rkey: memory.rkey, addr: at } };
            let work = Work { id: WorkId(at), op, data: Data::Pieces(&piece), signalled: true, fence: false };
            if here.device.post(ep, &work).is_err() || here.device.ring(ep).is_err() {
                continue;
            }
            let until = now_ns() + 1_000_000_000;
            while here.turn() == 0 && now_ns() < until {
                there.turn();
            }
        }
    }
    assert!(!here.region.is_empty());
    let malformed = RemoteKey::from_bytes(&[7; 40]).expect("short");
    assert!(here.device.import(ep, &malformed).is_err());
    tried
}

fn hellos(config: &UcxConfig) -> usize {
    let (mut here, mut there) = (Side::new(config), Side::new(config));
    let whole = there.device.common.shared.lock().state.settings.control_rkey.clone();
    assert_eq!(config.transport, Transport::Shm, "nothing else has control words");
    let mut tried = 0;
    for (change, bytes) in changes(&whole).into_iter().step_by(5) {
        say(&change);
        there.device.common.shared.lock().state.settings.control_rkey = bytes;
        let (a, b) = (here.open(), there.open());
        let addresses = (here.device.address(a).expect("one"), there.device.address(b).expect("one"));
        here.device.connect(a, &addresses.1).expect("reachable");
        there.device.connect(b, &addresses.0).expect("reachable");
        let until = now_ns() + 2_000_000_000;
        while here.device.state(a) == Some(QpState::Init) && now_ns() < until {
            here.turn();
            there.turn();
        }
        here.device.close(a);
        there.device.close(b);
        tried += 1;
    }
    tried
}
