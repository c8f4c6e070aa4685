//! Honest devices never fail a check, whatever overlaps whatever: the hunt for false alarms.

use std::fmt::Write as _;

use proptest::prelude::*;
use wavetank_harness::Workload;

use crate::support::{parse, run_ok};

#[test]
fn an_iolog_of_overlapping_reads_and_writes_passes_in_small_chunks_over_many_queue_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = "fio version 2 iolog\n".to_owned();
    for file in ["a", "b"] {
        let _ = writeln!(log, "{file} add\n{file} open");
    }
    for number in 0..1500u64 {
        let spread = wavetank_contract::chance::mix64(number);
        let (file, kind) = (["a", "b"][(spread & 1) as usize], ["read", "write"][(spread >> 1 & 1) as usize]);
        let (offset, len) = (spread >> 8 & 0x1fff, 1 + (spread >> 32 & 0x2fff));
        let _ = writeln!(log, "{file} {kind} {offset} {len}");
    }
    std::fs::write(dir.path().join("log.iolog"), log).unwrap();
    let path = dir.path().join("overlaps.toml");
    for (queue_pairs, chunk, mtu, window) in [(1, 300, 256, 8), (5, 1000, 512, 2), (3, 65_536, 4096, 1)] {
        let text = format!(
            "profile = \"rxe\"\nqueue_pairs = {queue_pairs}\nchunk = {chunk}\nmtu = {mtu}\nwindow = {window}\n\
             signal_every = 7\n[source]\niolog = \"log.iolog\"\n[load]\nconcurrency = 48\n"
        );
        let report = run_ok(Workload::parse(&path, text.as_bytes()).unwrap());
        assert_eq!(report.ops, 1500);
    }
}

#[derive(Clone, Debug)]
struct Mixed {
    kind: &'static str,
    region: usize,
    from: usize,
    min: u32,
    spread: u32,
    align: u32,
    place: &'static str,
}

fn mixed() -> impl Strategy<Value = Mixed> {
    const KINDS: &[&str] =
        &["read", "read", "write", "write", "write_imm", "send", "fetch_add", "compare_swap"];
    const PLACES: &[&str] = &["\"uniform\"", "\"sequential\"", "{ zipf = 0.9, objects = 3 }"];
    (
        prop::sample::select(KINDS),
        0..2usize,
        0..2usize,
        1..3000u32,
        // At most 8704 bytes together: a third of the smaller region, in steps of 512.
        prop_oneof![Just(0), 1..5700u32],
        prop::sample::select(&[1u32, 2, 8, 512][..]),
        prop::sample::select(PLACES),
    )
        .prop_map(|(kind, region, from, min, spread, align, place)| Mixed {
            kind,
            region,
            from,
            min,
            spread,
            align,
            place,
        })
}

fn settings() -> impl Strategy<Value = String> {
    (
        prop::sample::select(&["ideal", "rxe", "cx6"][..]),
        prop::sample::select(&[256, 512, 1024, 2048, 4096][..]),
        1..5u32,
        prop_oneof![256..1000u32, Just(4096), Just(262_144)],
        1..9u32,
        prop::sample::select(&[1, 2, 7, 100][..]),
        any::<u32>(),
    )
        .prop_map(|(profile, mtu, queue_pairs, chunk, window, signal_every, seed)| {
            format!(
                "profile = \"{profile}\"\nmtu = {mtu}\nqueue_pairs = {queue_pairs}\nchunk = {chunk}\n\
                 window = {window}\nsignal_every = {signal_every}\nseed = {seed}\n"
            )
        })
}

/// Regions 0 and 1 are on the storage node and hold data, region 2 holds cells.
fn text(settings: &str, mix: &[Mixed], load: &str) -> String {
    let mut text = settings.to_owned();
    for node in ["a", "b", "storage"] {
        let _ = write!(text, "[[node]]\nname = \"{node}\"\n");
    }
    for (region, bytes) in [("r0", 30_000), ("r1", 27_001), ("cells", 64)] {
        let _ = write!(text, "[[region]]\nname = \"{region}\"\nnode = \"storage\"\nsize = {bytes}\n");
    }
    for Mixed { kind, region, from, min, spread, align, place } in mix {
        let from = ["a", "b"][*from];
        let _ = write!(text, "[[op]]\nkind = \"{kind}\"\nfrom = \"{from}\"\n");
        let size = format!("size = {{ uniform = [{min}, {}] }}\n", min + spread);
        match *kind {
            "send" => {
                let to = if *region == 0 { "storage" } else { ["b", "a"][usize::from(from == "b")] };
                let _ = write!(text, "to = \"{to}\"\n{size}");
            }
            "fetch_add" | "compare_swap" => text += "region = \"cells\"\n",
            _ => {
                let _ = write!(text, "region = \"r{region}\"\n{size}align = {align}\nplace = {place}\n");
            }
        }
    }
    text + load
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_device_passes_every_small_workload(
        settings in settings(),
        mix in prop::collection::vec(mixed(), 1..6),
        concurrency in prop_oneof![1..5u32, 5..80u32],
        count in 1..250u32,
        open in any::<bool>(),
    ) {
        let arrival = if open { "arrival = \"open\"\nrate = \"2M/s\"\n" } else { "" };
        let load = format!("[load]\n{arrival}concurrency = {concurrency}\ncount = {count}\n");
        let text = text(&settings, &mix, &load);
        let report = run_ok(parse(&text));
        prop_assert_eq!(report.ops, u64::from(count));
        prop_assert_eq!(report.mismatches, 0);
        prop_assert_eq!(report.bytes_swept, 30_000 + 27_001 + 64);
    }
}
