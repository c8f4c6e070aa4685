//! Stories of replayed operations.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_engine::RdmaOps as _;
use wavetank_harness::explain::Explainer;
use wavetank_harness::fault::{Part, Step, inject};
use wavetank_harness::lab::{Cause, LinkFault, MemoryFault};
use wavetank_harness::watch::{Taps, Watch, Watcher as _};
use wavetank_harness::{Replay, Workload};
use wavetank_mock::Tap;

use crate::told::{Counting, left, said, says};

/// A client that uses one region of a storage node; one packet has 1 KiB.
fn workload(kind: &str, size: &str, load: &str) -> Workload {
    let text = format!(
        "profile = \"cx6\"\nmtu = 1024\nchunk = \"4KiB\"\n\
         [[node]]\nname = \"client\"\n[[node]]\nname = \"storage\"\n\
         [[region]]\nname = \"pages\"\nnode = \"storage\"\nsize = \"64KiB\"\n\
         [[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"pages\"\nsize = \"{size}\"\nalign = \"8B\"\n\
         [load]\n{load}\n"
    );
    Workload::parse(Path::new("test.toml"), text.as_bytes()).expect("a good workload")
}

/// The story of one operation of a run to which these causes were done before it began.
fn story(workload: &Workload, op: u64, causes: &[Cause]) -> String {
    let mut explainer = Explainer::of(op);
    let mut replay = Replay::prepare(workload.clone()).expect("it can be set up");
    replay.watch(explainer.watch());
    for (fault, &cause) in causes.iter().enumerate() {
        explainer.fault(Instant(0), &Step { cause, fault, part: Part::Comes });
        match cause {
            Cause::Memory { .. } => {
                let storage = &mut replay.world().nodes[1].driver;
                storage.context().deregister(wavetank_contract::MrId(0)).expect("it is registered");
            }
            _ => inject(replay.world().fabric().expect("simulated"), cause).expect("simulated"),
        }
    }
    // So that a run that fails goes on until the operation has ended.
    replay.record();
    replay.run(&mut |_| ());
    explainer.told().expect("it was submitted")
}

fn lost(from: u16, to: u16, fault: LinkFault) -> Cause {
    Cause::Link { from, to, fault }
}

#[test]
fn a_quiet_read_is_told_from_submission_to_end() {
    let story = story(&workload("read", "6KiB", "concurrency = 1\ncount = 1"), 0, &[]);
    let told = said(&story);
    assert!(told[0].starts_with("submitted: read of 6KiB from region 0 offset "), "{story}");
    assert!(told[0].ends_with("node 0 endpoint 0 to node 1 over connection 0"), "{story}");
    assert!(told[1].starts_with("posted: read of 4KiB as work 0"), "{story}");
    assert!(told[2].starts_with("posted: read of 2KiB as work 1"), "{story}");
    says(&story, &["READ request PSN", "left node 0", "arrived at node 1", "READ response", "left node 1"]);
    says(
        &story,
        &[
            "PSN 0 to 3 arrived at node 0, 4 packets, the last at +2.2",
            ", with 4KiB",
            "completed: work 0, SUCCESS",
        ],
    );
    says(&story, &["PSN 4 to 5 arrived at node 0", "completed: work 1, SUCCESS", "ended: well, 6KiB done"]);
    assert!(!story.contains("again") && !story.contains("timeout"), "{story}");
}

#[test]
fn a_lost_packet_is_told_with_its_fault_and_what_it_cost() {
    let fault = lost(0, 1, LinkFault::LoseNth { nth: 1 });
    let story = story(&workload("write", "4KiB", "concurrency = 1\ncount = 1"), 0, &[fault]);
    says(
        &story,
        &[
            "fault 0: link 0 1 lose nth 1",
            "submitted: write of 4KiB to region 0",
            "WRITE PSN",
            "left node 0, 4 packets",
            "to node 1 was lost (fault 0: link 0 1 lose nth 1)",
            "NAK: a packet is missing, start again from here",
            "left node 0 again, 3 packets",
            "WRITE PSN 1 arrived at node 1, with 1KiB",
            "WRITE PSN 2 to 3 arrived at node 1 again",
            "ended: well",
        ],
    );
}

#[test]
fn a_cut_link_is_told_to_the_last_repetition() {
    let story =
        story(&workload("read", "1KiB", "concurrency = 1\ncount = 1"), 0, &[lost(1, 0, LinkFault::Cut)]);
    let mut parts = vec!["READ response", "was lost (fault 0: link 1 0 cut)"];
    let repetitions: Vec<String> = (1..=6).map(|n| format!("ACK timeout: repetition {n} of 6")).collect();
    parts.extend(repetitions.iter().map(String::as_str));
    parts.extend(["all 6 repetitions are spent", "completed: work", "RETRY_EXC_ERR", "ended: failed"]);
    says(&story, &parts);
}

#[test]
fn a_refused_key_is_told_with_what_retired_it() {
    let fault = Cause::Memory { region: 0, fault: MemoryFault::Deregister };
    let story = story(&workload("read", "1KiB", "concurrency = 1\ncount = 1"), 0, &[fault]);
    says(&story, &["NAK: remote access error", "(fault 0: memory 0 deregister) at +0 ns", "REM_ACCESS_ERR"]);
}

#[test]
fn what_touched_others_is_not_told() {
    let workload = workload("read", "1KiB", "concurrency = 1\ncount = 3");
    let fault = [lost(0, 1, LinkFault::LoseNth { nth: 1 })];
    // One packet each: the second request is lost.
    assert!(story(&workload, 1, &fault).contains("was lost"));
    for op in [0, 2] {
        assert!(!story(&workload, op, &fault).contains("was lost"));
    }
}

#[test]
fn each_packet_of_a_lossy_run_is_of_exactly_one_operation() {
    for kind in ["read", "write", "fetch_add"] {
        let size = if kind == "fetch_add" { "8B" } else { "9KiB" };
        let workload = workload(kind, size, "concurrency = 6\ncount = 24");
        let (mut told, mut all, mut again) = (0, 0, 0);
        for op in 0..24 {
            let explainer = Explainer::of(op);
            let counted = Rc::new(RefCell::new(0));
            let Watch { tap, watcher, .. } = explainer.watch();
            let taps =
                tap.into_iter().chain([Box::new(Counting(Rc::clone(&counted))) as Box<dyn Tap>]).collect();
            let mut replay = Replay::prepare(workload.clone()).expect("it can be set up");
            replay.watch(Watch { tap: Taps::join(taps), watcher, ..Watch::default() });
            for (from, to) in [(0, 1), (1, 0)] {
                let fault = lost(from, to, LinkFault::LoseOneIn { n: 20, burst: 1 });
                inject(replay.world().fabric().expect("simulated"), fault).expect("simulated");
            }
            let report = replay.run(&mut |_| ());
            assert!(report.ok(), "{kind}: {:?}", report.failures.told());
            let story = explainer.told().expect("it was submitted");
            told += left(&story);
            again += u64::from(story.contains(" again"));
            all = *counted.borrow();
        }
        assert_eq!(told, all, "{kind}");
        assert!(again > 0, "{kind}: nothing was lost");
    }
}
