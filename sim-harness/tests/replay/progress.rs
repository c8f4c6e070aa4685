//! The progress check: while something is outstanding, something is scheduled. A deadline turns silence into a failure
//! of its own.

use wavetank_harness::{Check, Replay};

use crate::lying::Lie;
use crate::support::{
    failed, failed_only, lie_about, lie_once, load, reads, run_ok, tell, two_nodes, two_nodes_with,
};

#[test]
fn works_that_never_start_are_a_deadlock_and_the_ledger_is_printed() {
    let report = lie_once(&two_nodes(&reads(3, 20)), Lie::NeverRing, 0);
    failed_only(
        &report,
        Check::Progress,
        &[
            "3 operations have not ended, 0 messages have not arrived, and nothing is scheduled",
            "node 0: 3 transfers under way, 3 works outstanding",
            "read of 4096 bytes, number 0 of endpoint 0 (Some(Rts))",
            "number 2 of endpoint 0",
            "node 1: 0 transfers under way, 0 works outstanding",
        ],
    );
    assert_eq!((report.ops, report.elapsed_ns), (0, 0));
}

#[test]
fn a_last_completion_that_never_comes_is_a_deadlock() {
    let report = lie_once(&two_nodes(&reads(1, 20)), Lie::Drop, 19);
    failed_only(
        &report,
        Check::Progress,
        &["1 operations have not ended", "node 0: 1 transfers under way, 1 works outstanding", "number 19"],
    );
    assert_eq!(report.ops, 19);
}

#[test]
fn a_lost_message_is_a_deadlock_when_none_follows_it() {
    let report = lie_once(&two_nodes(&crate::messages::sends(1, 5)), Lie::LoseMessage, 4);
    failed(
        &report,
        Check::Progress,
        &["0 operations have not ended, 1 messages have not arrived", "node 1: ", "recv of"],
    );
}

#[test]
fn an_operation_without_an_answer_fails_by_its_deadline() {
    let workload = two_nodes_with("deadline = \"50us\"", &reads(1, 20));
    run_ok(workload.clone());
    let report = lie_about(&workload, Lie::Drop, 7, 1);
    failed_only(
        &report,
        Check::Success,
        &["operation 7 (test.toml:15)", "was not done by its deadline", "0 of 4096 bytes were"],
    );
    assert_eq!(report.ops, 8);
}

#[test]
fn a_silent_peer_fails_by_the_deadline_and_never_hangs() {
    let workload = two_nodes_with("deadline = \"80us\"", &reads(4, 1000));
    for (from, to) in [(0, 1), (1, 0)] {
        let mut replay = Replay::prepare(workload.clone()).unwrap();
        replay.world().fabric().unwrap().link(from, to).loss_one_in = 1;
        let report = replay.run(&mut |_| ());
        let failure = failed(&report, Check::Success, &["operation 0 ", "by its deadline 80000 ns"]);
        assert_eq!(failure.at.0, 80_000);
        assert_eq!((report.elapsed_ns, report.ops), (80_000, 4), "{}", tell(&report));
        assert_eq!(report.failures.total(), 4, "all memory is back: {}", tell(&report));
    }
}

#[test]
fn a_silent_peer_fails_by_retries_where_there_is_no_deadline() {
    let mut replay = Replay::prepare(two_nodes(&reads(4, 1000))).unwrap();
    replay.world().fabric().unwrap().link(0, 1).loss_one_in = 1;
    let report = replay.run(&mut |_| ());
    failed(&report, Check::Success, &["operation 0 ", "RETRY_EXC_ERR", "the peer never acknowledged"]);
    assert!(report.elapsed_ns > 7_000_000_000, "seven timeouts of 1.07 s: {}", report.elapsed_ns);
}

#[test]
fn a_peer_that_comes_back_in_time_is_no_failure() {
    let mut replay = Replay::prepare(two_nodes(&reads(1, 100))).unwrap();
    replay.world().fabric().unwrap().link(1, 0).lose_after = Some(17);
    let report = replay.run(&mut |_| ());
    assert!(report.ok(), "{}", tell(&report));
    assert_eq!(report.ops, 100);
    assert!(report.elapsed_ns > 1_000_000_000, "one timeout: {}", report.elapsed_ns);
}

#[test]
fn an_open_load_of_which_nothing_fits_is_no_deadlock() {
    let text = reads(1, 200).replace("concurrency", "arrival = \"open\"\nrate = \"100M/s\"\nconcurrency");
    let report = run_ok(two_nodes(&text));
    assert_eq!(report.ops, 200);
    // A load with nothing but time to stop it ends as well.
    let timed = load(3, 1).replace("count = 1", "duration = \"100us\"");
    let report = run_ok(two_nodes(&reads(3, 1).replace(&load(3, 1), &timed)));
    assert!(report.ops > 30 && (100_000..120_000).contains(&report.elapsed_ns));
}
