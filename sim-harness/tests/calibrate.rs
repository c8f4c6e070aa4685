//! Profiles fitted to recorded runs: what the mock was is found again, and what it was not is seen.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

use std::path::Path;

use wavetank_harness::calibrate::{CalibrateError, calibrate, measure};
use wavetank_harness::record::{End, Event, RecordedRun};
use wavetank_harness::{Replay, Workload};
use wavetank_mock::Profile;

/// A run of READs and WRITEs of some sizes on a mock of this profile.
fn recorded(profile: &Profile, sizes: &str, concurrency: u32, count: u32) -> RecordedRun {
    let op = |kind: &str| {
        format!(
            "[[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"pages\"\nsize = {{ list = [{sizes}] }}\n"
        )
    };
    let text = format!(
        "profile = \"cx6\"\nmtu = 1024\n[[node]]\nname = \"client\"\n[[node]]\nname = \"storage\"\n\
         [[region]]\nname = \"pages\"\nnode = \"storage\"\nsize = \"8MiB\"\n{}{}\
         [load]\nconcurrency = {concurrency}\ncount = {count}\n",
        op("read"),
        op("write")
    );
    let mut workload = Workload::parse(Path::new("w.toml"), text.as_bytes()).unwrap();
    workload.settings.profile = profile.clone();
    let mut replay = Replay::prepare(workload).unwrap();
    replay.record();
    let report = replay.run(&mut |_| ());
    assert!(report.ok(), "{:?}", report.failures.told());
    report.recorded.unwrap()
}

/// Sizes to fit to, and others to validate on.
const FITTED: &str = "[64, 1], [1024, 1], [4096, 1], [16384, 1]";
const OTHERS: &str = "[512, 1], [2048, 1], [8192, 1]";

fn odd() -> Profile {
    Profile {
        name: "odd".into(),
        base_ns: 4_000,
        packet_ns: 900,
        byte_ps: 350,
        jitter_ns: 30_000,
        jitter_shape: 6,
    }
}

#[test]
fn a_known_profile_is_recovered_and_holds_for_a_workload_it_was_not_fitted_to() {
    for truth in [Profile::RXE, odd()] {
        let fit = calibrate(&recorded(&truth, FITTED, 2, 1600), "found", &mut |_, _| ()).unwrap();
        assert!(fit.error < 0.12, "{truth:?}: {fit:?}");
        let other = measure(&recorded(&truth, OTHERS, 8, 1600), &fit.profile).unwrap();
        assert!(other.error < 0.15, "{truth:?}: {other:?}");
        for row in &other.rows {
            let [p50, _] = row.ratios();
            assert!((0.85..1.18).contains(&p50), "{truth:?}: {}: {p50}", row.label());
        }
        assert_eq!(fit.profile.name, "found");
    }
}

#[test]
fn the_numbers_of_a_plain_profile_are_found_themselves() {
    let fit = calibrate(&recorded(&Profile::RXE, FITTED, 1, 1600), "rxe", &mut |_, _| ()).unwrap();
    let Profile { base_ns, packet_ns, byte_ps, jitter_ns, jitter_shape, .. } = fit.profile;
    // A packet's delay without its bytes, on average; and what 4 KiB cost.
    let mean_ns = base_ns + packet_ns + jitter_ns / (u64::from(jitter_shape) + 1);
    assert!((11_400..12_600).contains(&mean_ns), "12,000 ns: {fit:?}");
    let page_ns = 4 * packet_ns + byte_ps * 4096 / 1000;
    assert!((3_000..3_600).contains(&page_ns), "3,277 ns: {fit:?}");
}

#[test]
fn a_wrong_profile_shows_a_large_error() {
    let run = recorded(&Profile::RXE, FITTED, 2, 1600);
    let (right, wrong) = (measure(&run, &Profile::RXE).unwrap(), measure(&run, &Profile::CX6).unwrap());
    assert!(right.error < 0.05, "{right:?}");
    assert!(wrong.error > 3.0, "a tenth of the latency: {wrong:?}");
    assert!(wrong.rows.iter().all(|row| row.ratios()[0] < 0.3), "{wrong:?}");
    assert!(!wrong.rows.is_empty());
}

#[test]
fn progress_is_told_of_each_better_step() {
    let mut told = Vec::new();
    let run = recorded(&Profile::CX6, "[64, 1], [65536, 1]", 1, 400);
    calibrate(&run, "x", &mut |_, error| told.push(error)).unwrap();
    assert!(told.len() > 10);
}

#[test]
fn a_run_in_which_hardly_anything_ended_well_is_refused() {
    let short = recorded(&Profile::CX6, "[64, 1]", 1, 20);
    let error = calibrate(&short, "x", &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, CalibrateError::TooFew { most: ..30, ops: 20 }), "{error}");
    let mut failed = recorded(&Profile::CX6, "[64, 1]", 1, 400);
    for event in &mut failed.events {
        if let Event::Finish { end, .. } = event {
            *end = End::Deadline;
        }
    }
    let error = measure(&failed, &Profile::CX6).unwrap_err();
    assert!(error.to_string().contains("0 operations of one kind and size ended well"), "{error}");
}
