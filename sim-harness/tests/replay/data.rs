//! The bytes check: what READs bring, what WRITEs leave, and every byte of every region at the end.

use wavetank_harness::report::Spent;
use wavetank_harness::{Check, Workload};

use crate::lying::Lie;
use crate::support::{failed, failed_only, lie_about, lie_once, load, op, reads, two_nodes, two_nodes_with};

/// Whole log written and read by turns, one operation at a time.
fn log_turns() -> Workload {
    two_nodes(&(op("write", "log", "16KiB") + &op("read", "log", "16KiB") + &load(1, 40)))
}

fn one_page() -> Workload {
    two_nodes(&(op("read", "pages", "8KiB") + "place = \"sequential\"\n" + &load(1, 6)))
}

#[test]
fn a_flipped_bit_of_a_read_is_found_and_is_nobodys() {
    let report = lie_once(&one_page(), Lie::FlipRead(100), 2);
    failed_only(
        &report,
        Check::Bytes,
        &[
            "operation 2 (test.toml:15), read of 8192 bytes, client -> storage, region pages at offset 16384",
            "byte 100 of it is wrong",
            "nobody's pattern",
        ],
    );
    assert_eq!((report.mismatches, report.ops), (1, 6), "the run goes on");
    assert_eq!(report.to_json(&Spent::default())["mismatches"], 1);
}

#[test]
fn every_byte_of_a_read_is_looked_at() {
    for byte in [0, 1, 7, 8, 4095, 4096, 8184, 8191] {
        let report = lie_once(&one_page(), Lie::FlipRead(byte), 0);
        failed_only(&report, Check::Bytes, &[&format!("byte {byte} of it is wrong")]);
    }
}

#[test]
fn every_byte_of_an_odd_read_is_looked_at() {
    let text = op("read", "pages", "13") + "align = 1\n" + &load(1, 3);
    for byte in 0..13 {
        let report = lie_once(&two_nodes(&text), Lie::FlipRead(byte), 1);
        failed_only(&report, Check::Bytes, &[&format!("byte {byte} of it is wrong")]);
    }
}

#[test]
fn a_shifted_read_names_where_its_bytes_are_from() {
    let report = lie_once(&one_page(), Lie::ShiftRead, 1);
    failed_only(
        &report,
        Check::Bytes,
        &["operation 1 ", "byte 0 of it is wrong", "pages generation 0, offset 8200"],
    );
}

#[test]
fn a_stale_read_names_the_older_generation() {
    let report = lie_about(&log_turns(), Lie::StaleRead, 5, 1);
    failed_only(
        &report,
        Check::Bytes,
        &["region log at offset 0", "byte 0 of it is wrong", "log generation 0, offset 0"],
    );
    assert_eq!(report.mismatches, 1);
}

#[test]
fn a_torn_read_names_the_first_byte_of_its_other_half() {
    let report = lie_about(&log_turns(), Lie::TornRead, 5, 1);
    failed_only(&report, Check::Bytes, &["byte 8192 of it is wrong", "log generation 0, offset 8192"]);
}

#[test]
fn a_foreign_read_names_the_other_region() {
    let report = lie_once(&one_page(), Lie::ForeignRead, 1);
    failed_only(&report, Check::Bytes, &["region pages at offset 8192", "log generation 0, offset 8192"]);
}

#[test]
fn a_read_that_brings_nothing_finds_poison() {
    let report = lie_once(&one_page(), Lie::EmptyRead, 3);
    failed_only(&report, Check::Bytes, &["byte 0 of it is wrong", "poison: nothing arrived here"]);
}

#[test]
fn a_read_that_brings_nothing_is_found_though_the_same_bytes_came_before() {
    // One place, one buffer: without poison the bytes of the read before would do.
    let text = op("read", "log", "16KiB") + &load(1, 5);
    let report = lie_once(&two_nodes(&text), Lie::EmptyRead, 3);
    failed_only(&report, Check::Bytes, &["poison: nothing arrived here"]);
    let report = lie_once(&two_nodes(&text), Lie::HalfRead, 3);
    failed_only(&report, Check::Bytes, &["byte 8192 of it is wrong", "poison: nothing arrived here"]);
}

#[test]
fn a_damaged_write_is_found_where_it_lies() {
    let text = op("write", "log", "4KiB") + "align = \"4KiB\"\nplace = \"sequential\"\n" + &load(1, 4);
    let report = lie_once(&two_nodes(&text), Lie::DamageWrite, 3);
    failed(
        &report,
        Check::Bytes,
        &[
            "operation 3 ",
            "write of 4096 bytes",
            "region log at offset 12288",
            "byte 2048 of it is not in place",
        ],
    );
    // Once where it was written, and once more in the sweep: nobody has mended it.
    let again = &report.failures.told()[1];
    assert!(again.what.contains("region log, at the end: byte 14336"), "{again}");
    assert_eq!((report.mismatches, report.failures.total()), (2, 2));
}

#[test]
fn a_lost_write_names_what_is_there_instead() {
    let text = op("write", "log", "4KiB") + "align = \"4KiB\"\nplace = \"sequential\"\n" + &load(1, 4);
    let report = lie_once(&two_nodes(&text), Lie::LoseWrite, 3);
    failed(&report, Check::Bytes, &["byte 0 of it is not in place", "log generation 0, offset 12288"]);
}

#[test]
fn a_torn_write_names_the_first_byte_that_is_missing() {
    let report = lie_once(&log_turns(), Lie::TearWrite, 4);
    failed(&report, Check::Bytes, &["byte 8192 of it is not in place", "log generation 4, offset 8192"]);
}

#[test]
fn a_write_of_one_chunk_among_many_is_found_missing() {
    let settings = "chunk = \"1KiB\"\nmtu = 256\nwindow = 3";
    let text = op("write", "pages", "10000") + &load(4, 20);
    let report = lie_once(&two_nodes_with(settings, &text), Lie::LoseWrite, 33);
    failed(&report, Check::Bytes, &["write of 10000 bytes", "is not in place"]);
}

#[test]
fn a_stray_write_to_a_region_nobody_uses_is_found_by_the_sweep() {
    let report = lie_once(&two_nodes(&reads(4, 20)), Lie::Stray { region: 1, offset: 777 }, 7);
    failed_only(&report, Check::Bytes, &["region log, at the end: byte 777", "nobody's pattern"]);
    assert_eq!(report.mismatches, 1);
}

#[test]
fn a_stray_write_past_a_regions_end_is_found_by_the_sweep() {
    // The region ends inside a page; the rest of the page is nobody's, and registered all the same.
    let text = "[[region]]\nname = \"odd\"\nnode = \"storage\"\nsize = 5000\n".to_owned()
        + &op("read", "odd", "100")
        + &load(2, 10);
    let report = lie_once(&two_nodes(&text), Lie::Stray { region: 2, offset: 5003 }, 7);
    failed_only(&report, Check::Bytes, &["region odd, at the end: byte 5003, past its end"]);
}

#[test]
fn the_sweep_looks_at_every_byte_of_every_region() {
    let workload = two_nodes(&reads(4, 20));
    let report = crate::support::run_ok(workload);
    assert_eq!(report.bytes_swept, (64 + 16) << 10);
    assert_eq!((report.ops, report.bytes_verified), (20, 20 * 4096));
}

#[test]
fn a_last_packet_that_never_arrives_is_found_in_chunks_of_any_size() {
    // One buffer, one place: only poison tells what did not arrive from what came before.
    for (chunk, tail) in [(4096, 256), (300, 44), (264, 8), (264, 16)] {
        let settings = format!("chunk = {chunk}\nmtu = 256");
        let text = op("read", "log", "16KiB") + &load(1, 3);
        // The third work of the second READ.
        let number = 16_384_u64.div_ceil(chunk) + 2;
        let report = lie_once(&two_nodes_with(&settings, &text), Lie::EmptyTail(tail), number);
        failed_only(&report, Check::Bytes, &["poison: nothing arrived here"]);
    }
}
