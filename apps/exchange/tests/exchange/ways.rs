//! Every needle of every sort of volume, whole and in ranges, by every way.

use wavetank_contract::chance::{Choices as _, Seeded, Site};
use wavetank_exchange::{Absence, Mode, NotRead, Path, Reader, Wanted};
use wavetank_volume::Version;

use crate::rig::{Known, Truth, exporter_config, key, reader_config, rig, volume, wanted};

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];

fn folder() -> (tempfile::TempDir, Vec<(u32, Vec<Known>)>) {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (i, version) in VERSIONS.into_iter().enumerate() {
        let number = i as u32 + 1;
        let (writer, known) = volume(version, number);
        writer
            .write_to(&folder, &if number == 2 { "pictures_2".into() } else { number.to_string() })
            .unwrap();
        all.push((number, known));
    }
    (folder, all)
}

async fn check(reader: &Reader, wanted: &Wanted, known: &Known, volume: u32) -> Option<Path> {
    let read = reader.read(wanted).await;
    let what = format!("{wanted:?} of volume {volume}");
    let whole = match (&known.truth, &read) {
        (Truth::There(bytes), _) => bytes,
        (Truth::Deleted, Err(NotRead::Absent(Absence::Deleted))) => return None,
        (Truth::Expired, Err(NotRead::Absent(Absence::Expired))) => return None,
        (truth, other) => panic!("{what}: {truth:?}, and {other:?}"),
    };
    let from = wanted.offset as usize;
    if from > whole.len() || (from == whole.len() && from > 0) {
        let error = read.expect_err("it begins behind the end");
        assert_eq!(error, NotRead::Absent(Absence::OutOfRange), "{what}");
        assert_eq!(error.http_status(), 416);
        return None;
    }
    let to = wanted.len.map_or(whole.len(), |len| whole.len().min(from + len as usize));
    let found = match read {
        Ok(found) => found,
        Err(NotRead::NotPulled(_)) if wanted.mode == Mode::Pull && whole.is_empty() => return None,
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(found.about.whole_bytes, whole.len() as u64, "{what}");
    assert_eq!(found.len(), (to - from) as u64, "{what}");
    assert!(found.to_vec() == whole[from..to], "{what}: {:?} {}", found.path, found.why);
    Some(found.path)
}

#[test]
fn every_needle_whole_and_by_ranges_equals_the_file_by_every_way() {
    let (folder, all) = folder();
    for mode in [Mode::Push, Mode::Pull, Mode::Auto] {
        let (mut net, reader, exporter) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
        let mut dice = Seeded::new(5);
        for (volume, known) in &all {
            for known in known {
                for round in 0..8u64 {
                    let mut wanted = Wanted { mode, ..wanted(&reader, *volume, known) };
                    if round > 1 {
                        let len = match &known.truth {
                            Truth::There(bytes) => bytes.len() as u64,
                            _ => 10,
                        };
                        wanted.offset = dice.choose(Site::Swarm, len + 2);
                        wanted.len = Some(dice.choose(Site::Swarm, len + 2));
                    }
                    let path = net.run(check(&reader, &wanted, known, *volume));
                    match (mode, path) {
                        (Mode::Push, Some(path)) => assert_eq!(path, Path::Pushed),
                        (Mode::Pull, Some(path)) => assert_eq!(path, Path::Pulled),
                        _ => {}
                    }
                }
            }
        }
        let stats = reader.stats();
        assert_eq!((stats.corrupt, stats.connections), (0, 1), "{stats:?}");
        if mode == Mode::Auto {
            assert!(stats.of(Path::Pulled) > 50 && stats.of(Path::Pushed) > 50, "{stats:?}");
        }
        let segments = exporter.segment_stats();
        assert!(segments.keys <= segments.segments, "a key for each segment, for one peer: {segments:?}");
    }
}

#[test]
fn what_is_missing_or_has_another_cookie_is_told_apart_inside_and_alike_outside() {
    let (folder, all) = folder();
    let (mut net, reader, _) = rig(folder.path(), exporter_config(), reader_config(&["0"]));
    let there = &all[2].1[0];
    for mode in [Mode::Push, Mode::Pull, Mode::Auto] {
        let mut read = |wanted: Wanted| net.run(reader.read(&wanted)).expect_err("it is not there");
        let missing = read(Wanted { id: 999, mode, ..wanted(&reader, 3, there) });
        let cookie = read(Wanted { cookie: 1, mode, ..wanted(&reader, 3, there) });
        let volume = read(Wanted { volume: 9, mode, ..wanted(&reader, 3, there) });
        assert_eq!(missing, NotRead::Absent(Absence::Missing));
        assert_eq!(cookie, NotRead::Absent(Absence::WrongCookie));
        assert_eq!(volume, NotRead::NotExported { volume: 9, tried: 1 });
        for error in [missing, cookie, volume] {
            assert_eq!(error.http_status(), 404);
        }
    }
}

#[test]
fn engines_with_one_key_read_and_say_how_they_would() {
    let (folder, all) = folder();
    let mut config = exporter_config();
    config.key = Some(key(1));
    let mut reading = reader_config(&["0"]);
    reading.key = Some(key(1));
    let (mut net, reader, exporter) = rig(folder.path(), config, reading);
    let (volume, known) = (&all[2].0, &all[2].1[4]);
    let wanted = Wanted { volume: *volume, ..wanted(&reader, 3, known) };
    assert!(reader.explain(&wanted).contains("is asked whether"), "{}", reader.explain(&wanted));
    for _ in 0..3 {
        net.run(check(&reader, &wanted, known, 3));
    }
    assert!(reader.explain(&wanted).starts_with("pulled: a grant was there"), "{}", reader.explain(&wanted));
    assert_eq!((exporter.stats().admitted, exporter.stats().refused), (1, 0));
    assert_eq!(reader.peers()[0].2.len(), 3);
}
