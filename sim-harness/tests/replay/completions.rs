//! The completion, success, floor and event checks: what the device says of its works.

use wavetank_contract::OpKind;
use wavetank_harness::Check;
use wavetank_mock::Profile;

use crate::lying::Lie;
use crate::support::{failed, failed_only, lie_about, lie_once, reads, tell, two_nodes, two_nodes_with};

#[test]
fn a_completion_that_comes_twice_is_found() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::Duplicate, 5);
    failed_only(&report, Check::Completion, &["node 0", "which is not outstanding"]);
}

#[test]
fn a_completion_that_names_no_work_is_found() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::Forge, 5);
    failed_only(&report, Check::Completion, &["names work 0xffffffffffffffff, which is not outstanding"]);
}

#[test]
fn a_completion_of_another_endpoint_is_found() {
    let workload = two_nodes_with("queue_pairs = 2", &reads(4, 20));
    let report = lie_once(&workload, Lie::WrongEndpoint, 5);
    failed(&report, Check::Completion, &["node 0: work", "of endpoint 1 completed on endpoint 0"]);
}

#[test]
fn completions_out_of_order_are_found() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::Swap, 5);
    failed(
        &report,
        Check::Completion,
        &["read number 6 of endpoint 0 completed, read number 5 before it never did"],
    );
    assert_eq!(report.failures.told()[0].check, Check::Completion, "the cause first: {}", tell(&report));
}

#[test]
fn a_completion_that_never_comes_is_found_when_the_next_one_does() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::Drop, 5);
    failed(
        &report,
        Check::Completion,
        &["read number 6 of endpoint 0 completed, read number 5 before it never did"],
    );
    failed(&report, Check::Success, &["operation 5 ", "GENERAL_ERR"]);
}

#[test]
fn a_work_that_fails_is_found_and_ends_the_run() {
    let report = lie_once(&two_nodes(&reads(4, 1000)), Lie::Fail, 5);
    failed(&report, Check::Success, &["operation 5 (test.toml:15)", "read of 4096 bytes", "REM_OP_ERR"]);
    assert!(report.ops < 1000, "it makes no sense to go on");
}

#[test]
fn a_failure_ends_the_run_though_more_than_are_told_came_before_it() {
    let report = lie_about(&two_nodes(&reads(1, 1000)), Lie::FlipThenFail, 0, 31);
    assert!(report.failures.told().iter().all(|failure| failure.check == Check::Bytes), "{}", tell(&report));
    assert!(report.failures.has(Check::Success));
    assert_eq!((report.failures.total(), report.mismatches, report.ops), (31, 30, 31));
}

#[test]
fn a_post_the_device_refuses_is_found() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::Refuse, 0);
    failed(&report, Check::Success, &["operation 0 ", "was not taken", "does not promise anything"]);
}

#[test]
fn a_read_faster_than_light_is_found() {
    let report = lie_about(&two_nodes(&reads(1, 20)), Lie::CompleteAtOnce, 5, 1);
    let floor = Profile::CX6.floor_ns(OpKind::Read, 4096);
    failed_only(
        &report,
        Check::Floor,
        &["operation 5 ", "region pages at offset", &format!("0 ns, the least possible is {floor} ns")],
    );
    assert_eq!(report.mismatches, 0, "its bytes were right");
}

#[test]
fn an_event_nobody_caused_is_found() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::Event, 5);
    failed(&report, Check::Event, &["node 0: PortErr"]);
}
