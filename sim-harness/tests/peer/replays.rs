//! What goes well.

use wavetank_harness::Replay;
use wavetank_harness::peer::{Event, Served, ServerConfig};
use wavetank_harness::report::{ReadBack, Spent};

use crate::support::{load, mixed, op, run, tell, workload};

#[test]
fn a_workload_is_replayed_and_checked_as_in_one_process() {
    let alone = Replay::prepare(mixed(500)).unwrap().run(&mut |_| ());
    let (report, story) = run(mixed(500), ServerConfig::default());
    assert!(report.ok() && alone.ok(), "{}", tell(&report));
    assert_eq!((report.ops, report.mismatches), (500, 0));
    assert_eq!(report.bytes_swept, alone.bytes_swept, "all of it, over the wire");
    let written: u64 = report.latencies.rows().find(|row| row.label() == "write").map_or(0, |row| row.bytes);
    assert_eq!(
        report.bytes_verified + written,
        alone.bytes_verified,
        "where they arrive WRITEs are not seen"
    );
    let read = report.read_back.as_ref().unwrap();
    let (names, agreed) = (read.regions.iter().map(|r| &*r.name).collect::<Vec<_>>(), read.agreed);
    assert_eq!((names, agreed, read.bytes), (vec!["pages", "log"], Some(2), report.bytes_swept));
    assert_eq!(alone.read_back, None::<ReadBack>);
    let told = report.to_json(&Spent::default());
    assert_eq!(told["read_back"], serde_json::json!({ "bytes": 85_537, "regions": 2, "agreed": 2 }));
    assert_eq!(story.served, Served { goodbyes: 1, ..Served::default() }, "{}", story.tell());
    let [Event::Joined { regions: 2, bytes: 86_016, endpoints: 2, .. }, left] = &story.events[..] else {
        panic!("{}", story.tell())
    };
    assert!(matches!(left, Event::Left { vanished: None, used_bytes: 0, .. }), "{}", story.tell());
}

#[test]
fn atomics_are_chains_there_too() {
    let region = "[[region]]\nname = \"cells\"\nnode = \"storage\"\nsize = \"1KiB\"\n";
    let atomic = |kind: &str| format!("[[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"cells\"\n");
    let text =
        region.to_owned() + &atomic("fetch_add") + &atomic("compare_swap") + &op("read", "pages", "100");
    let (report, story) = run(workload(&(text + &load(400))), ServerConfig::default());
    assert!(report.ok() && report.ops == 400, "{}", tell(&report));
    assert!(story.served.ok() && report.read_back.is_some_and(|read| read.agreed == Some(3)));
}

#[test]
fn a_run_of_one_seed_is_the_same_every_time_up_to_its_sweep() {
    let once = || run(mixed(200), ServerConfig::default()).0;
    assert_eq!(once().trace.hash(), once().trace.hash());
}
