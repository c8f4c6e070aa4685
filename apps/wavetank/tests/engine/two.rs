//! Two engines over UCX: every needle of generated and of real volumes, by every way.

use std::path::Path;

use wavetank_client::{Code, Options, Wanted, blocking};
use wavetank_volume::{Generator, NeedleId, Version, VolumeFiles};

use crate::comparing::{Way, compare};
use crate::daemon::Daemon;
use crate::latency::measure;
use crate::library::Shelf;
use crate::pair::{Site, TRANSPORTS};
use crate::traces::{Traces, settled};
use crate::voices::{Got, VOICES, Voice};
use crate::waiting::{PATIENCE, show};

/// Longest median that is no sleep, in microseconds, however loaded the machine is.
const MEDIAN_US_MAX: u64 = 8000;

/// Needles of which an exporter remembers that they were asked for.
const REMEMBERED: usize = 1 << 14;

/// Needles of 0 to 3 MiB: 2,000, or as many as are asked for.
fn shelves() -> [Shelf; 3] {
    let needles = std::env::var("WAVETANK_SOAK_NEEDLES").map_or(2000, |text| text.parse().unwrap());
    let of = |seed, needles, len_max| Generator { seed, needles, len_max };
    [
        Shelf::new(1, Version::V1, of(21, needles / 4, 12_000)),
        Shelf::new(2, Version::V2, of(22, needles / 4, 12_000)),
        Shelf::new(3, Version::V3, of(23, needles / 2, 40_000)),
    ]
}

fn long() -> Shelf {
    Shelf::new(4, Version::V3, Generator { seed: 24, needles: 24, len_max: 3 << 20 })
}

/// Reads all of several volumes twice by one way, and looks by which way it came.
fn read_all(what: &str, daemon: &Daemon, shelves: &[Shelf], voices: &[&str], way: Way) {
    for (round, name) in voices.iter().enumerate() {
        let mut voice = Voice::connect(name, &daemon.socket, &Options::default()).unwrap();
        let (mut reads, mut bytes) = (0, 0);
        for shelf in shelves {
            let tally = compare(&mut voice, shelf, shelf, way, round as u64)
                .unwrap_or_else(|why| panic!("{what}, {name}: {why}\n{}", daemon.log()));
            (reads, bytes) = (reads + tally.reads, bytes + tally.bytes);
        }
        show(&format!("{what}, {name}: {reads} reads, {bytes} bytes\n"));
    }
}

fn every_needle_by_every_way(transport: &'static str) {
    let mut shelves = shelves().to_vec();
    shelves.push(long());
    let site = Site::new(transport, &shelves);
    let mut exporter = site.exporter(0);
    let address = exporter.address();
    let mut traces = vec![Traces::of(&exporter)];
    for (setting, way, voices) in [
        ("auto", Way::Any, &["socket", "ring"][..]),
        ("pull", Way::Pull, &["tokio"]),
        ("push", Way::Push, &["upstream"]),
    ] {
        let mut reader = site.reader(setting, &address, &["--way", setting]);
        traces.push(Traces::of(&reader));
        let what = format!("{transport}, {setting}");
        read_all(&what, &reader, &shelves, voices, way);
        let metrics = reader.metrics();
        let ids: usize = shelves.iter().map(|shelf| shelf.ids().len()).sum();
        let (pulled, pushed) = (metrics.reads("pull"), metrics.reads("push"));
        assert_eq!(metrics.of("simulated") + metrics.reads("local"), 0, "{what}");
        match way {
            // What is asked for again so late that the exporter has forgotten it is pushed again.
            Way::Any if ids > REMEMBERED => assert!(pushed > 500, "{what}: {pulled} pulled, {pushed} pushed"),
            Way::Any => assert!(pulled > 500 && pushed > 500, "{what}: {pulled} pulled, {pushed} pushed"),
            Way::Pull => assert!(pulled > 500 && pushed == 0, "{what}: {pulled} pulled, {pushed} pushed"),
            Way::Push => assert!(pulled == 0 && pushed > 500, "{what}: {pulled} pulled, {pushed} pushed"),
        }
        let median_us = measure(&what, &reader, &shelves[2]);
        assert!(median_us < MEDIAN_US_MAX, "{what}: {median_us} us");
        settled(&reader, PATIENCE).unwrap();
        assert_eq!(reader.stop(), Some(0), "{}", reader.log());
    }
    assert_eq!(exporter.stop(), Some(0), "{}", exporter.log());
    let left: Vec<String> = traces.iter().flat_map(Traces::left).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn over_tcp_every_needle_is_read_by_every_way() {
    every_needle_by_every_way("tcp");
}

#[test]
fn over_shared_memory_every_needle_is_read_by_every_way() {
    every_needle_by_every_way("shm");
}

#[test]
fn over_either_another_content_is_told_from_what_is_there() {
    let shelf = Shelf::new(3, Version::V3, Generator { seed: 13, needles: 30, len_max: 5000 });
    for transport in TRANSPORTS {
        let site = Site::new(transport, &[shelf]);
        let exporter = site.exporter(0);
        let reader = site.reader("reader", &exporter.address(), &[]);
        for name in VOICES {
            let mut voice = Voice::connect(name, &reader.socket, &Options::default()).unwrap();
            compare(&mut voice, &shelf, &shelf, Way::Any, 1).unwrap();
            let why = compare(&mut voice, &shelf, &shelf.of_another_seed(), Way::Any, 1).unwrap_err();
            assert!(why.contains("right for") || why.contains("WRONG BYTES"), "{transport}, {name}: {why}");
        }
    }
}

#[test]
fn who_has_another_key_is_refused_and_learns_nothing() {
    let shelf = Shelf::new(3, Version::V3, Generator { seed: 13, needles: 30, len_max: 5000 });
    for transport in TRANSPORTS {
        let site = Site::new(transport, &[shelf]);
        let exporter = site.exporter(0);
        let address = exporter.address();
        let other = site.key("other", "a key that the exporter does not have");
        let wanted = Wanted { timeout_ns: 1_000_000_000, ..shelf.wanted(3) };
        let ask = |daemon: &Daemon| {
            let mut client = blocking::Client::connect(&daemon.socket, &Options::default()).unwrap();
            client.read(&wanted).map(|lent| lent.as_ref().len())
        };
        let known = |daemon: &Daemon| daemon.health().1["peers"][0]["volumes"].as_u64();
        for (name, more) in
            [("stranger", &["--peer", &address, "--key-file", &other][..]), ("open", &["--peer", &address])]
        {
            let reader = site.keyed(name, more);
            for _ in 0..3 {
                let code = ask(&reader).unwrap_err().code();
                assert!(matches!(code, Some(Code::PeerGone | Code::TimedOut)), "{name}: {code:?}");
            }
            assert_eq!(known(&reader), Some(0), "{name} knows of volumes");
            assert_eq!(reader.metrics().of("reader_grants"), 0);
        }
        let metrics = exporter.metrics();
        let heard = ["export_admitted", "export_pushes", "export_absent", "export_grants"]
            .map(|name| metrics.of(name));
        assert_eq!(heard, [0; 4], "{transport}: {metrics:?}");
        assert!(metrics.of("export_refused") > 0, "{transport}: {metrics:?}");
        // Twin: with the key.
        let reader = site.reader("friend", &address, &[]);
        assert_eq!(ask(&reader).unwrap(), 2000);
        assert_eq!(known(&reader), Some(1));
        assert_eq!(exporter.metrics().of("export_admitted"), 1);
    }
}

/// Looked for in `WAVETANK_SHARED_DATA`, else in `../shared/data` beside the workspace.
#[test]
fn every_needle_of_real_volumes_is_read_by_every_way() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let shared = std::env::var_os("WAVETANK_SHARED_DATA").map_or(beside, Into::into);
    for (volume, name, expected) in [(1, "1", 298), (2, "healthy_volume", 7)] {
        let dat = shared.join(format!("{name}.dat"));
        if !dat.exists() {
            show(&format!("SKIPPED: no {} (set WAVETANK_SHARED_DATA to its folder)\n", dat.display()));
            continue;
        }
        for transport in TRANSPORTS {
            let site = Site::new(transport, &[]);
            for ending in ["dat", "idx"] {
                let to = site.volumes().join(format!("{volume}.{ending}"));
                std::fs::copy(dat.with_extension(ending), to).unwrap();
            }
            let exporter = site.exporter(0);
            let reader = site.reader("reader", &exporter.address(), &[]);
            assert_eq!(read_real(&reader, volume, &dat), expected, "{transport}, {name}");
        }
    }
}

/// Reads every needle several times; what is right is what the library of volumes reads from the file.
fn read_real(daemon: &Daemon, volume: u32, dat: &Path) -> u64 {
    let mut files = VolumeFiles::open(dat).unwrap();
    let ids: Vec<NeedleId> = files.volume().entries().map(|entry| entry.id).collect();
    let mut voice = Voice::connect("ring", &daemon.socket, &Options::default()).unwrap();
    let mut read = 0;
    for id in ids {
        let ask = wavetank_volume::Ask {
            id,
            cookie: None,
            range: None,
            now_unix_ns: 0,
            inflated_len_max: 64 << 20,
        };
        let mut right = Vec::new();
        let found = files.read_into(&ask, &mut right).unwrap().found().unwrap();
        let wanted = Wanted { volume, needle: id.0, cookie: found.located.cookie.0, ..Wanted::default() };
        let middle = right.len() as u64 / 2;
        for (offset, len) in [(0, 0), (0, 0), (0, 0), (middle, 0), (middle, 100)] {
            let from = right.get(offset as usize..).unwrap_or_default();
            let part = if len == 0 { from } else { &from[..from.len().min(len as usize)] };
            match voice.read(&Wanted { offset, len, ..wanted.clone() }) {
                Got::Bytes(bytes, Some(_)) => {
                    assert!(bytes == part, "volume {volume}, needle {id}, from {offset}")
                }
                other => panic!("volume {volume}, needle {id}: {other:?}"),
            }
        }
        read += 1;
    }
    let metrics = daemon.metrics();
    let (pulled, pushed) = (metrics.reads("pull"), metrics.reads("push"));
    assert!(pulled > 0 && pushed > 0, "{pulled} pulled, {pushed} pushed");
    show(&format!("real volume {volume}: {read} needles, {pulled} reads pulled, {pushed} pushed\n"));
    read
}
