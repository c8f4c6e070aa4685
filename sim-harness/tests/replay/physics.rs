//! Latencies follow from the profile, and queues are seen.

use std::path::Path;

use wavetank_contract::OpKind;
use wavetank_harness::workload::Percentile;
use wavetank_harness::{Report, Workload};
use wavetank_mock::Profile;

use crate::support::{load, op, parse, reads, run_ok, two_nodes, two_nodes_with};

/// Ethernet, IP, UDP, BTH, ICRC, FCS, preamble and gap.
const FRAME: u64 = 82;
const RETH: u64 = 16;
const AETH: u64 = 4;

/// A single operation of this kind and size on `ideal`, in virtual ns.
fn lone(kind: &str, len: u64, mtu: u64) -> u64 {
    let size = len.to_string();
    let mut workload = two_nodes_with(&format!("mtu = {mtu}"), &(op(kind, "pages", &size) + &load(1, 1)));
    workload.settings.profile = Profile::IDEAL;
    run_ok(workload).elapsed_ns
}

/// Serialisation of a message of `len` bytes, with a first and a last header of their own.
fn message_ns(len: u64, mtu: u64, first: u64, last: u64) -> u64 {
    let packets = len.div_ceil(mtu).max(1);
    (0..packets)
        .map(|packet| {
            let payload = mtu.min(len - packet * mtu);
            let header = match packet {
                0 => first,
                _ if packet + 1 == packets => last,
                _ => 0,
            };
            // Payload is padded to words of four bytes.
            Profile::IDEAL.serialise_ns(payload.next_multiple_of(4) + FRAME + header)
        })
        .sum()
}

#[test]
fn a_lone_read_takes_exactly_its_request_and_its_response() {
    let ideal = Profile::IDEAL;
    for mtu in [256, 1024, 4096] {
        for len in [1, 8, 255, 256, 257, 4096, 4097, 65_536] {
            let request = ideal.serialise_ns(FRAME + RETH) + ideal.base_ns;
            let response = message_ns(len, mtu, AETH, AETH) + ideal.base_ns;
            assert_eq!(lone("read", len, mtu), request + response, "{len} bytes in packets of {mtu}");
        }
    }
    assert_eq!(lone("read", 4096, 4096), 2 + 500 + 84 + 500);
}

#[test]
fn a_lone_write_takes_exactly_its_packets_and_their_acknowledgement() {
    let ideal = Profile::IDEAL;
    for len in [1, 256, 4096, 65_536] {
        let there = message_ns(len, 1024, RETH, 0) + ideal.base_ns;
        let back = ideal.serialise_ns(FRAME + AETH) + ideal.base_ns;
        assert_eq!(lone("write", len, 1024), there + back, "{len} bytes");
    }
}

fn percentile(report: &Report, percentile: Percentile) -> u64 {
    report.latencies.rows().find(|row| row.size.is_none()).unwrap().percentile_ns(percentile)
}

#[test]
fn jitter_stays_within_the_profile_and_shows() {
    for device in [Profile::CX6, Profile::RXE] {
        let mut workload = two_nodes(&reads(1, 2000));
        workload.settings.profile = device.clone();
        let report = run_ok(workload);
        let least =
            device.serialise_ns(FRAME + RETH) + device.serialise_ns(4096 + FRAME + AETH) + 2 * device.base_ns;
        let row = report.latencies.rows().next().unwrap();
        let (min, max) = (row.latency.min(), row.latency.max());
        let most = least + 2 * device.jitter_ns;
        // The histogram keeps three digits.
        assert!(min >= least - least / 1000 && max <= most + most / 1000, "{least} {min} {max} {most}");
        assert!(max - min > device.jitter_ns, "{min} to {max}: both packets jitter");
        assert!(min >= device.floor_ns(OpKind::Read, 4096));
    }
}

/// Clients that read 64 KiB blocks of one storage node.
fn incast(clients: u32, concurrency: u32) -> Report {
    let mut text = "profile = \"cx6\"\n[[node]]\nname = \"storage\"\n".to_owned();
    for client in 0..clients {
        text += &format!("[[node]]\nname = \"c{client}\"\n");
    }
    text += "[[region]]\nname = \"blocks\"\nnode = \"storage\"\nsize = \"1MiB\"\n";
    for client in 0..clients {
        text += &format!(
            "[[op]]\nkind = \"read\"\nfrom = \"c{client}\"\nregion = \"blocks\"\nsize = \"64KiB\"\nalign = \"4KiB\"\n"
        );
    }
    run_ok(parse(&(text + &load(concurrency, 1500))))
}

#[test]
fn clients_of_one_storage_node_share_its_port() {
    let (lone, shared) = (incast(1, 1), incast(4, 32));
    let link = 1_000_000_000_000 / Profile::CX6.byte_ps;
    assert!(shared.bytes_per_s() <= link, "{} of {link}", shared.bytes_per_s());
    assert!(shared.bytes_per_s() > link * 9 / 10, "{} of {link}: the port is busy", shared.bytes_per_s());
    let (alone, queued) = (percentile(&lone, Percentile::P50), percentile(&shared, Percentile::P50));
    assert!(queued > 10 * alone, "{queued} ns in a queue of 32, {alone} ns alone");
}

/// 64 KiB reads that arrive at this part of the link's rate, in percent.
fn open(percent: u64) -> Report {
    let rate = 1_000_000_000_000 / Profile::CX6.byte_ps / 65_536 * percent / 100;
    let load = format!("[load]\narrival = \"open\"\nrate = \"{rate}/s\"\nconcurrency = 32\ncount = 1000\n");
    run_ok(two_nodes(&(op("read", "pages", "64KiB") + &load)))
}

#[test]
fn an_open_load_beyond_the_link_shows_a_queue_that_grows() {
    let (calm, flooded) = (open(10), open(200));
    let alone = percentile(&incast(1, 1), Percentile::P50);
    assert!(percentile(&calm, Percentile::P50) < alone * 11 / 10, "most find the link free");
    // Half of all arrivals have not been served when the last one comes.
    let served_ns = flooded.elapsed_ns;
    assert!(
        percentile(&flooded, Percentile::Max) > served_ns * 4 / 10,
        "the last waited for half of the run"
    );
    assert!(percentile(&flooded, Percentile::P50) > served_ns * 2 / 10);
    assert!(percentile(&flooded, Percentile::P50) > 32 * alone, "waiting for room counts too");
}

fn iolog(dir: &Path, gap_us: u64) -> Workload {
    let mut log = "fio version 3 iolog\n0 f add\n0 f open\n".to_owned();
    for number in 0..100 {
        let (at, kind) = (number * gap_us, if number % 3 == 0 { "write" } else { "read" });
        log += &format!("{at} f {kind} {} 8192\n", number * 4096);
    }
    let path = dir.join("log.iolog");
    std::fs::write(&path, log + "99999 f close\n").unwrap();
    Workload::load(&path).unwrap()
}

#[test]
fn a_paced_replay_takes_as_long_as_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let fast = run_ok(iolog(dir.path(), 50));
    let mut workload = iolog(dir.path(), 50);
    workload.set_recorded_pace().unwrap();
    let paced = run_ok(workload);
    // The recording's clock counts from its first line; whether in us or ms depends on its version.
    let span = 99 * 50_000;
    assert!(fast.elapsed_ns < span / 4, "{}", fast.elapsed_ns);
    assert!(paced.elapsed_ns >= span, "{}", paced.elapsed_ns);
    assert_eq!((paced.ops, fast.ops), (100, 100));
    assert!(percentile(&paced, Percentile::Max) < 10_000, "each found the link free");
}

#[test]
fn small_packets_are_more_steps_and_the_same_bytes() {
    let text = op("read", "pages", "16KiB") + &op("write", "log", "5000") + &load(4, 200);
    let at = |mtu: u32| run_ok(two_nodes_with(&format!("mtu = {mtu}"), &text));
    let (small, large) = (at(256), at(4096));
    assert!(small.steps > 8 * large.steps, "{} and {} steps", small.steps, large.steps);
    assert_eq!((small.ops, large.ops), (200, 200));
    let moved = |report: &Report| report.latencies.rows().map(|row| row.bytes).sum::<u64>();
    assert_eq!(moved(&small), 2 * small.bytes_verified);
    assert_eq!(moved(&large), 2 * large.bytes_verified);
}
