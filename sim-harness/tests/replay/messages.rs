//! The message check: once, in order, whole.

use wavetank_harness::Check;

use crate::lying::Lie;
use crate::support::{
    failed, failed_only, lie_once, load, op, parse, run_ok, tell, two_nodes, two_nodes_with,
};

/// Messages of 3000 bytes from the client.
pub(crate) fn sends(concurrency: u32, count: u32) -> String {
    let op = "[[op]]\nkind = \"send\"\nfrom = \"client\"\nto = \"storage\"\nsize = 3000\n";
    op.to_owned() + &load(concurrency, count)
}

#[test]
fn a_corrupted_message_names_its_first_wrong_byte() {
    let report = lie_once(&two_nodes(&sends(2, 10)), Lie::CorruptMessage(1234), 6);
    failed_only(
        &report,
        Check::Message,
        &["node 1, connection 0: message 6 is not what was sent", "byte 1234", "nobody's pattern"],
    );
    assert_eq!((report.mismatches, report.ops), (1, 10));
}

#[test]
fn a_message_that_lost_its_end_is_found() {
    let report = lie_once(&two_nodes(&sends(2, 10)), Lie::ShortenMessage, 6);
    failed_only(&report, Check::Message, &["message 6 has 2999 bytes, 3000 were sent"]);
}

#[test]
fn a_lost_message_is_found_when_the_next_arrives() {
    let report = lie_once(&two_nodes(&sends(1, 10)), Lie::LoseMessage, 6);
    failed(&report, Check::Completion, &["node 1: recv number 7", "recv number 6 before it never did"]);
    failed(&report, Check::Message, &["node 1, connection 0", "GENERAL_ERR"]);
}

#[test]
fn a_receive_that_fails_is_found_and_ends_the_run() {
    let report = lie_once(&two_nodes(&sends(1, 100_000)), Lie::FailReceive, 6);
    failed(&report, Check::Message, &["node 1, connection 0: recv on endpoint 0", "REM_OP_ERR"]);
    assert!(report.ops < 100, "{}", tell(&report));
}

#[test]
fn a_receiver_whose_endpoint_died_ends_the_run() {
    let mut replay = wavetank_harness::Replay::prepare(two_nodes(&sends(1, 1000))).unwrap();
    let world = replay.world();
    let context = world.nodes[1].driver.context();
    let err = wavetank_contract::QpState::Err;
    wavetank_engine::RdmaOps::modify(context, wavetank_contract::EpId(0), err).unwrap();
    let report = replay.run(&mut |_| ());
    failed(&report, Check::Message, &["node 1, connection 0: recv on endpoint 0", "WR_FLUSH_ERR"]);
}

#[test]
fn a_changed_immediate_is_found() {
    let text = op("write_imm", "log", "1KiB") + &load(1, 8);
    let report = lie_once(&two_nodes(&text), Lie::WrongImmediate, 4);
    failed(&report, Check::Message, &["an immediate Some(", "that nobody sent, or that came before"]);
}

#[test]
fn immediates_of_different_regions_are_told_apart() {
    // Both regions count their generations from 1, and share a connection.
    let text = op("write_imm", "log", "1KiB") + &op("write_imm", "pages", "9KiB") + &load(8, 200);
    for settings in ["", "queue_pairs = 3\nchunk = \"512\"\nmtu = 256"] {
        assert_eq!(run_ok(two_nodes_with(settings, &text)).ops, 200);
    }
}

#[test]
fn messages_in_both_directions_and_of_every_size_arrive() {
    let workload = parse(
        r#"
profile = "rxe"
mtu = 256
queue_pairs = 2
signal_every = 3
[[node]]
name = "a"
[[node]]
name = "b"
[[region]]
name = "box"
node = "b"
size = "64KiB"
[[op]]
kind = "send"
from = "a"
to = "b"
size = { uniform = [1, 5000] }
weight = 3
[[op]]
kind = "send"
from = "b"
to = "a"
size = { uniform = [1, 9000] }
weight = 3
[[op]]
kind = "write_imm"
from = "a"
region = "box"
size = { uniform = [1, 20000] }
align = 1
[[op]]
kind = "write"
from = "a"
region = "box"
size = { uniform = [1, 20000] }
align = 1
[load]
concurrency = 40
count = 2000
"#,
    );
    assert_eq!(run_ok(workload).ops, 2000);
}

#[test]
fn receives_spread_over_an_arena_leave_room_for_its_largest_operation() {
    // One node posts small and large operations and receives messages too, all in one arena.
    let workload = parse(
        r#"
profile = "cx6"
[[node]]
name = "a"
[[node]]
name = "b"
[[region]]
name = "big"
node = "b"
size = "4MiB"
[[op]]
kind = "read"
from = "a"
region = "big"
size = { list = [["4KiB", 20], ["1MiB", 1]] }
[[op]]
kind = "send"
from = "b"
to = "a"
size = { list = [[64, 9], ["60KiB", 1]] }
weight = 20
[load]
concurrency = 6
count = 2000
"#,
    );
    for seed in 0..5 {
        let mut workload = workload.clone();
        workload.settings.seed = seed;
        assert_eq!(run_ok(workload).ops, 2000, "seed {seed}");
    }
}
