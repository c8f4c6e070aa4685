//! Servers and devices that lie are found, at the latest by the sweep at the end.

use wavetank_engine::{Port, PortConfig};
use wavetank_harness::peer::{Canary, ServerConfig};
use wavetank_harness::{Check, Report, Workload};
use wavetank_mock::MockNic;

use crate::lying::{Liar, Lie, Lying};
use crate::support::{Net, failed, load, mixed, op, run, run_over, tell, workload};

fn sung(canary: Canary, count: u32) -> Report {
    let rest = op("read", "pages", "256") + &load(count);
    let (report, story) =
        run(workload(&rest), ServerConfig { canary: Some(canary), ..ServerConfig::default() });
    assert!(!report.ok(), "{canary:?} was believed");
    assert!(story.served.ok(), "{}", story.tell());
    report
}

#[test]
fn a_byte_that_is_not_the_owner_s_is_found_by_a_read_or_by_the_sweep() {
    let report = sung(Canary::Byte, 2000);
    failed(&report, Check::Bytes, &["operation ", "region pages", "of it is wrong"]);
    // Nobody reads it, and it is found all the same.
    let report = sung(Canary::Byte, 1);
    failed(&report, Check::Bytes, &["region pages, read at the end: byte 32768 is not of generation [0]"]);
    assert_eq!(report.failures.total(), 1, "{}", tell(&report));
}

#[test]
fn a_region_filled_for_somebody_else_is_found_by_the_first_read() {
    let report = sung(Canary::Tag, 50);
    failed(&report, Check::Bytes, &["operation ", "byte 0 of it is wrong"]);
    assert_eq!(report.failures.total(), 50 + 1, "{}", tell(&report));
}

#[test]
fn an_owner_whose_memory_is_not_what_was_read_is_found() {
    let report = sung(Canary::Digest, 50);
    failed(
        &report,
        Check::Bytes,
        &["region pages, at the end: what was read has the digest", "its owner says"],
    );
    assert_eq!((report.failures.total(), report.read_back.unwrap().agreed), (1, Some(1)));
}

/// Both devices tell a lie about so many works from one number of its kind on. Answers also how many there were.
fn lied(workload: &Workload, lie: Lie, from: u64, times: u64) -> (Report, u64) {
    let liar = Liar::new(lie, from, times);
    let Net { fabric, client, server } = Net::new();
    let port = |nic: MockNic| Port::new(Lying::new(nic, liar.clone()), PortConfig::default());
    let (client, server) = (port(client), port(server));
    let (report, _) = run_over(workload.clone(), ServerConfig::default(), fabric, client, server);
    let liar = liar.borrow();
    assert_eq!((liar.told, report.ok()), (times, times == 0), "{lie:?}: {}", tell(&report));
    (report, liar.seen())
}

/// The same about the last work of its kind; the honest twin of the run holds.
fn lied_last(workload: &Workload, lie: Lie) -> Report {
    let (_, works) = lied(workload, lie, 0, 0);
    lied(workload, lie, works - 1, 1).0
}

#[test]
fn a_write_that_is_lost_torn_or_damaged_is_found_though_nobody_looks_when_it_ends() {
    let rest = op("read", "pages", "4KiB") + &op("write", "log", "3000") + &load(40);
    for lie in [Lie::LoseWrite, Lie::TearWrite, Lie::DamageWrite] {
        let report = lied_last(&workload(&rest), lie);
        failed(&report, Check::Bytes, &["region log, read at the end: byte ", "found "]);
        assert_eq!(report.failures.total(), 1, "{}", tell(&report));
    }
}

#[test]
fn a_read_that_lies_is_found_in_the_run_and_in_the_sweep() {
    let (early, _) = lied(&mixed(40), Lie::FlipRead(77), 3, 1);
    failed(&early, Check::Bytes, &["operation ", "byte 77 of it is wrong"]);
    // The READs of the sweep are the last ones.
    let last = lied_last(&mixed(40), Lie::FlipRead(0));
    failed(&last, Check::Bytes, &["region log, read at the end: byte 0 is not of"]);
    failed(&last, Check::Bytes, &["region log"]);
    assert_eq!(last.read_back.expect("it was read").agreed, Some(1), "its owner has something else");
}

#[test]
fn a_read_of_the_sweep_that_fails_is_no_sweep() {
    let last = lied_last(&mixed(40), Lie::Fail);
    failed(
        &last,
        Check::Success,
        &["region log could not be read at the end, and was not swept: bytes 0 to 20480"],
    );
    assert_eq!((last.bytes_swept, last.read_back.expect("in part").agreed), (65_536, Some(1)));
}
