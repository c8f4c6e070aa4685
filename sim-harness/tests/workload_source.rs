//! Workloads from files: the shipped ones, recordings, and how they are told apart.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

use std::fs;
use std::path::Path;

use wavetank_contract::chance::Seeded;
use wavetank_harness::workload::recording::{File, IoKind, IoOp};
use wavetank_harness::workload::{Arrival, Generator, NodeId, Recording, Source, Stop, Workload};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads");

/// Writes files into a new directory and loads the first of them.
fn load(files: &[(&str, &str)]) -> Result<Workload, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let at = format!("{}/", dir.path().display());
    Workload::load(&dir.path().join(files[0].0)).map_err(|e| e.to_string().replace(&at, ""))
}

fn shipped(name: &str) -> Workload {
    Workload::load(&Path::new(SHIPPED).join(name)).unwrap()
}

const LOG: &str = "fio version 3 iolog\n0 f add\n0 f open\n5 f read 0 4096\n7 f write 4096 512\n";

#[test]
fn every_shipped_workload_is_right() {
    let mut names = Vec::new();
    for entry in fs::read_dir(SHIPPED).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let workload = Workload::load(&path).unwrap();
            assert!(Generator::new(&workload).next(&mut Seeded::new(1)).is_some());
            names.push(workload.name);
        }
    }
    names.sort();
    assert_eq!(names, ["incast", "mixed", "open-loop", "pgbench-8k"]);
}

#[test]
fn the_mixed_workload_posts_every_kind() {
    let workload = shipped("mixed.toml");
    let (mut generator, mut chance) = (Generator::new(&workload), Seeded::new(1));
    let mut kinds: Vec<_> =
        std::iter::from_fn(|| generator.next(&mut chance)).map(|p| p.kind.name()).collect();
    assert_eq!(kinds.len(), 50_000);
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["compare_swap", "fetch_add", "read", "send", "write", "write_imm"]);
}

#[test]
fn a_real_postgresql_log_is_read_whole() {
    let workload = shipped("pgbench-8k.toml");
    let Source::Iolog { log, .. } = &workload.source else { panic!("{:?}", workload.source) };
    assert_eq!((workload.nodes.len(), workload.regions.len(), workload.load.concurrency), (2, 44, 32));
    assert_eq!(workload.regions.iter().map(|r| r.bytes).sum::<u64>(), 168_534_016);
    assert_eq!((log.ignored, workload.load.stop), (Default::default(), Stop::End));
    let (mut generator, mut chance) = (Generator::new(&workload), Seeded::new(1));
    let ops: Vec<_> = std::iter::from_fn(|| generator.next(&mut chance)).collect();
    let of = |kind: &str, len: u32| ops.iter().filter(|p| p.kind.name() == kind && p.len == len).count();
    assert_eq!((of("read", 8192), of("write", 8192), of("write", 16384)), (8602, 11_057, 341));
    assert_eq!((ops.len(), chance.draws()), (20_000, 0));
    assert!(ops.iter().all(|p| p.at.is_none() && p.from == NodeId(0) && p.to == NodeId(1)));
    assert!(ops.iter().all(|p| {
        let region = &workload.regions[p.region.unwrap().0 as usize];
        p.offset + u64::from(p.len) <= region.bytes
    }));
}

#[test]
fn an_iolog_needs_no_toml() {
    let workload = load(&[("x.iolog", LOG)]).unwrap();
    assert_eq!((workload.name.as_str(), workload.regions.len(), workload.regions[0].bytes), ("x", 1, 4608));
    assert_eq!((workload.load.arrival, workload.load.concurrency), (Arrival::Closed, 32));
}

#[test]
fn the_recorded_pace_is_kept_when_asked_for() {
    let toml = "profile = \"ideal\"\n[source]\niolog = \"x.iolog\"\npace = true\n";
    let asked = load(&[("w.toml", toml), ("x.iolog", LOG)]).unwrap();
    let mut later = load(&[("x.iolog", LOG)]).unwrap();
    later.set_recorded_pace().unwrap();
    for workload in [asked, later] {
        let (mut generator, mut chance) = (Generator::new(&workload), Seeded::new(1));
        let times: Vec<_> =
            std::iter::from_fn(|| generator.next(&mut chance)).map(|p| p.at.unwrap().0).collect();
        assert_eq!(times, [5_000, 7_000]);
    }
}

#[test]
fn a_clock_that_runs_backwards_has_no_pace() {
    let log = "fio version 3 iolog\n9 f add\n9 f open\n12 f read 0 4\n11 f read 0 4\n";
    let mut workload = load(&[("x.iolog", log)]).unwrap();
    let error = workload.set_recorded_pace().unwrap_err().to_string();
    assert!(error.ends_with("x.iolog:5: time: the clock runs backwards here; a log is replayed at its pace only if times never fall"), "{error}");
    assert_eq!(workload.load.arrival, Arrival::Closed);
    let toml = "profile = \"ideal\"\n[source]\niolog = \"x.iolog\"\npace = true\n";
    assert!(load(&[("w.toml", toml), ("x.iolog", log)]).unwrap_err().starts_with("x.iolog:5: time: "));
}

#[test]
fn version_2_has_a_pace_only_with_waits() {
    let mut workload =
        load(&[("x.iolog", "fio version 2 iolog\nf add\nf open\nf read 0 4\nf read 4 4\n")]).unwrap();
    let error = workload.set_recorded_pace().unwrap_err().to_string();
    assert!(error.ends_with("x.iolog:1: time: version 2 without a wait between its operations has no pace; replay it without pace"), "{error}");
}

#[test]
fn a_mix_has_no_recorded_pace() {
    let error = shipped("mixed.toml").set_recorded_pace().unwrap_err().to_string();
    assert!(error.ends_with("mixed.toml:1: pace: only an iolog has a recorded pace"), "{error}");
}

#[test]
fn a_source_excludes_what_it_decides() {
    let is = |rest: &str, error: &str| {
        let toml = format!("profile = \"ideal\"\n{rest}");
        assert_eq!(load(&[("w.toml", &toml), ("x.iolog", LOG)]).unwrap_err(), format!("w.toml:{error}"));
    };
    let source = "[source]\niolog = \"x.iolog\"\n";
    is(
        &format!("{source}[[node]]\nname = \"a\""),
        "4: node: [source] brings its own nodes, regions and operations; remove one of them",
    );
    is(
        &format!("{source}[load]\nrate = 5"),
        "5: load.rate: [source] decides this (see source.pace); remove it",
    );
    is(
        &format!("{source}[load]\nduration = \"1s\""),
        "5: load.duration: [source] decides this (see source.pace); remove it",
    );
    is(&format!("{source}volume = \"x.iolog\""), "2: source: give exactly one of iolog and volume");
    is("[source]", "2: source: give exactly one of iolog and volume");
    is("[source]\nvolume = \"x.iolog\"\npace = true", "4: source.pace: a volume has no pace; remove it");
    is(&format!("{source}pace = 1"), "4: source.pace: found 1; wanted true or false");
    is("[source]\niolog = \".\"", "3: source.iolog: . is not a file");
    is(
        &format!("{source}[[expect.latency]]\nop = \"send\"\nmax = \"1s\""),
        "5: expect.latency[0].op: no send is ever posted, so its latency cannot be checked",
    );
    is(
        &format!("{source}[[expect.latency]]\nop = \"write\"\nsize = 4096\nmax = \"1s\""),
        "6: expect.latency[0].size: no write of 4KiB is ever posted",
    );
}

#[test]
fn a_missing_iolog_is_reported_where_it_is_named() {
    let error = load(&[("w.toml", "profile = \"ideal\"\n[source]\niolog = \"gone.iolog\"\n")]).unwrap_err();
    assert!(error.starts_with("w.toml:3: source.iolog: gone.iolog cannot be read: "), "{error}");
}

#[test]
fn a_wrong_iolog_is_reported_by_its_own_line() {
    let toml = "profile = \"ideal\"\n[source]\niolog = \"x.iolog\"\n";
    let error = load(&[("w.toml", toml), ("x.iolog", "fio version 3 iolog\n0 f read 0 1\n")]).unwrap_err();
    assert!(error.starts_with("x.iolog:2: file: \"f\" was never added"), "{error}");
}

#[test]
fn a_count_replays_the_beginning_of_a_recording() {
    let toml = "profile = \"ideal\"\n[source]\niolog = \"x.iolog\"\n[load]\ncount = 1\n";
    let workload = load(&[("w.toml", toml), ("x.iolog", LOG)]).unwrap();
    let (mut generator, mut chance) = (Generator::new(&workload), Seeded::new(1));
    assert!(generator.next(&mut chance).is_some() && generator.next(&mut chance).is_none());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Workload::load(Path::new("nowhere/w.toml")).unwrap_err();
    assert!(error.to_string().starts_with("nowhere/w.toml: cannot be read: "), "{error}");
    assert_eq!((error.line(), error.key()), (None, None));
}

#[test]
fn operations_that_do_not_fit_in_memory_together_are_refused() {
    let log = "fio version 3 iolog\n0 f add\n0 f open\n0 f read 0 4\n0 f read 0 1073741824\n";
    let error = load(&[("x.iolog", log)]).unwrap_err();
    assert_eq!(
        error,
        "x.iolog:5: length: 32 operations like this in flight, and all files, need 33GiB; the limit is 16GiB, so \
         write a workload with [source] and a smaller load.concurrency"
    );
    let toml = "profile = \"ideal\"\n[source]\niolog = \"x.iolog\"\n[load]\nconcurrency = 4\n";
    assert!(load(&[("w.toml", toml), ("x.iolog", log)]).is_ok());
    let error = load(&[("w.toml", &toml[..toml.find("[load]").unwrap()]), ("x.iolog", log)]).unwrap_err();
    assert!(
        error.starts_with("w.toml:1: load.concurrency: missing; 32 operations of up to 1GiB in flight"),
        "{error}"
    );
}

#[test]
fn a_volume_is_replayed_once_its_needles_are_brought() {
    let needle = |offset, len| IoOp { at_ns: 0, offset, len, file: 0, line: 0, kind: IoKind::Read };
    let volume = |ops| Recording { files: vec![File { name: "7.dat".to_owned(), extent_bytes: 100 }], ops };
    let mut workload = Workload::from_volume(Path::new("v/7.dat"));
    assert!(Generator::new(&workload).next(&mut Seeded::new(1)).is_none());
    workload.bring_volume(volume(vec![needle(8, 60), needle(72, 28)])).unwrap();
    assert_eq!((workload.regions[0].name.as_str(), workload.regions[0].bytes), ("7.dat", 100));
    let (mut generator, mut chance) = (Generator::new(&workload), Seeded::new(1));
    let got: Vec<_> = std::iter::from_fn(|| generator.next(&mut chance)).map(|p| (p.offset, p.len)).collect();
    assert_eq!(got, [(8, 60), (72, 28)]);
    for bad in [needle(72, 29), needle(u64::MAX, 1), needle(0, 0), IoOp { file: 1, ..needle(0, 1) }] {
        let error = workload.bring_volume(volume(vec![bad])).unwrap_err().to_string();
        assert!(error.starts_with("v/7.dat: ") && error.contains("are not inside file"), "{error}");
    }
    assert!(shipped("mixed.toml").bring_volume(volume(vec![])).is_err());
}
