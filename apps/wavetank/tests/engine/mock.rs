//! One engine on simulated NICs: every needle, through every kind of client.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use wavetank_client::{Options, Wanted, blocking};
use wavetank_volume::{Generator, Version};

use crate::comparing::{Tally, Way, compare};
use crate::daemon::Daemon;
use crate::latency::measure;
use crate::library::Shelf;
use crate::traces::{Traces, descriptors, settled};
use crate::voices::{VOICES, Voice};
use crate::waiting::{PATIENCE, show, until};

/// A few thousand needles: of every version, small ones, and some that are long.
pub(crate) fn shelves() -> [Shelf; 4] {
    let of = |seed, needles, len_max| Generator { seed, needles, len_max };
    [
        Shelf::new(1, Version::V1, of(11, 700, 9000)),
        Shelf::new(2, Version::V2, of(12, 700, 20_000)),
        Shelf::new(3, Version::V3, of(13, 1500, 60_000)),
        Shelf::new(4, Version::V3, of(14, 12, 3 << 20)),
    ]
}

fn folder(shelves: &[Shelf]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("volumes")).unwrap();
    shelves.iter().for_each(|shelf| shelf.write_to(&folder.path().join("volumes")));
    folder
}

/// An engine that exports the volumes of a folder.
pub(crate) fn mock(folder: &Path, more: &[&str]) -> Daemon {
    let volumes = folder.join("volumes");
    let args = ["--backend", "mock", "--export", volumes.to_str().unwrap()];
    Daemon::start(folder, "engine", &[&args, more].concat())
}

#[test]
fn every_needle_is_read_whole_and_in_parts_by_every_kind_of_client() {
    let shelves = shelves();
    let folder = folder(&shelves);
    let mut daemon = mock(folder.path(), &[]);
    let (well, health) = daemon.health();
    assert!(well && health["simulated"] == true && health["volumes"] == 4, "{health}");
    assert_eq!(daemon.metrics().of("simulated"), 1);
    let traces = Traces::of(&daemon);
    for name in VOICES {
        let mut voice = Voice::connect(name, &daemon.socket, &Options::default()).unwrap();
        assert_eq!(voice.is_simulated(), [true, true], "{name}");
        let mut all = Tally::default();
        for shelf in &shelves {
            let tally =
                compare(&mut voice, shelf, shelf, Way::Any, 1).unwrap_or_else(|why| panic!("{name}: {why}"));
            all.reads += tally.reads;
            all.bytes += tally.bytes;
            for code in ["NEEDLE_NOT_FOUND", "NEEDLE_DELETED", "WRONG_COOKIE", "PAST_END"] {
                assert!(tally.refusals.contains_key(code), "{name}: nobody was told {code}: {tally:?}");
            }
            let expires = shelf.version != Version::V1;
            assert_eq!(tally.refusals.contains_key("NEEDLE_EXPIRED"), expires, "{name}: {tally:?}");
        }
        show(&format!("mock, {name}: {} reads, {} bytes\n", all.reads, all.bytes));
    }
    measure("mock", &daemon, &shelves[2]);
    let metrics = daemon.metrics();
    for name in ["client_reads_native", "client_reads_ring", "client_reads_seaweedfs", "sessions"] {
        assert!(metrics.of(name) > 2000, "{name}: {metrics:?}");
    }
    assert!(metrics.reads("push") > 0 && metrics.reads("pull") > 0, "{metrics:?}");
    settled(&daemon, PATIENCE).unwrap();
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    assert_eq!(traces.left(), Vec::<String>::new());
}

#[test]
fn content_of_another_seed_is_told_from_what_is_there() {
    let shelf = Shelf::new(3, Version::V3, Generator { seed: 13, needles: 40, len_max: 5000 });
    let folder = folder(&[shelf]);
    let daemon = mock(folder.path(), &[]);
    for name in VOICES {
        let mut voice = Voice::connect(name, &daemon.socket, &Options::default()).unwrap();
        compare(&mut voice, &shelf, &shelf, Way::Any, 1).unwrap();
        let why = compare(&mut voice, &shelf, &shelf.of_another_seed(), Way::Any, 1).unwrap_err();
        assert!(why.contains("right for") || why.contains("WRONG BYTES"), "{name}: {why}");
        // The same with one byte.
        let why = wrong_byte(&mut voice, &shelf);
        assert!(why.contains("WRONG BYTES") && why.contains("first at Some(7)"), "{name}: {why}");
    }
}

fn wrong_byte(voice: &mut Voice, shelf: &Shelf) -> String {
    use crate::comparing::judge;
    use crate::library::Right;
    let long = |id: &u64| matches!(shelf.right(*id), Right::Bytes(bytes) if bytes.len() > 7);
    let id = shelf.ids().into_iter().find(long).unwrap();
    let Right::Bytes(mut bytes) = shelf.right(id) else { panic!("it was there") };
    bytes[7] ^= 1;
    let wanted = shelf.wanted(id);
    judge(&voice.read(&wanted), &wanted, &Right::Bytes(bytes), Way::Any).unwrap_err()
}

/// Twins of the looks at what is left.
#[test]
fn a_loan_a_client_and_a_descriptor_that_are_kept_are_seen() {
    let shelf = Shelf::new(3, Version::V3, Generator { seed: 13, needles: 40, len_max: 5000 });
    let folder = folder(&[shelf]);
    let mut daemon = mock(folder.path(), &["--drain-timeout", "1"]);
    let before = descriptors(daemon.process.pid());
    let traces = Traces::of(&daemon);
    let mut client = blocking::Client::connect(&daemon.socket, &Options::default()).unwrap();
    let lent = client.read(&shelf.wanted(3)).unwrap();
    let why = settled(&daemon, Duration::from_millis(300)).unwrap_err();
    assert!(why.contains("(\"leases_now\", 1)") && why.contains("client_connections_now"), "{why}");
    assert!(descriptors(daemon.process.pid()).len() > before.len(), "a connection is a descriptor");
    // A loan that is never given back is no whole end.
    assert_eq!(daemon.stop(), Some(1), "{}", daemon.log());
    let left = traces.left();
    assert!(left.iter().any(|what| what.contains("memory")), "the client has the arena: {left:?}");
    assert_eq!(lent.as_ref().len(), 2000, "and what was lent stays good");
    drop((lent, client));
    assert_eq!(traces.left(), Vec::<String>::new());
}

#[test]
fn what_a_client_leaves_behind_that_is_killed_or_says_nothing_comes_back() {
    let shelf = Shelf::new(3, Version::V3, Generator { seed: 13, needles: 40, len_max: 5000 });
    let folder = folder(&[shelf]);
    let mut daemon = mock(folder.path(), &[]);
    let pid = daemon.process.pid();
    let before = descriptors(pid);
    for name in VOICES {
        for _ in 0..5 {
            let mut voice = Voice::connect(name, &daemon.socket, &Options::default()).unwrap();
            voice.read_all(&[shelf.wanted(3), Wanted { len: 5, ..shelf.wanted(3) }]);
        }
    }
    settled(&daemon, PATIENCE).unwrap();
    until("descriptors are closed", || descriptors(pid).len() <= before.len());
    assert_eq!(daemon.stop(), Some(0));
}
