//! The atomic check: every cell is a chain.

use wavetank_harness::{Check, Workload};

use crate::lying::Lie;
use crate::support::{failed, lie_once, load, op, run_ok, two_nodes};

/// One cell, added to and swapped by many at a time.
fn counter(concurrency: u32) -> Workload {
    let cell = "[[region]]\nname = \"counters\"\nnode = \"storage\"\nsize = \"4KiB\"\n";
    let place = "place = { zipf = 0, objects = 1 }\n";
    let add = op("fetch_add", "counters", "8") + place + "weight = 2\n";
    let swap = op("compare_swap", "counters", "8") + place;
    two_nodes(&(cell.to_owned() + &add + &swap + &load(concurrency, 200)))
}

#[test]
fn atomics_on_one_cell_hold_at_every_concurrency() {
    for concurrency in [1, 7, 64] {
        let report = run_ok(counter(concurrency));
        assert_eq!((report.ops, report.bytes_verified), (200, 1600));
    }
}

#[test]
fn an_atomic_that_returns_another_value_is_found() {
    let report = lie_once(&counter(4), Lie::WrongAtomic, 100);
    failed(&report, Check::Atomic, &["region counters, at the end", "the cell at 0"]);
    assert!(report.mismatches > 0);
}

#[test]
fn an_addition_done_twice_is_found() {
    // The last of all: nothing that follows notices, only the cell does.
    let report = lie_once(&counter(1), Lie::AtomicTwice, 60);
    failed(&report, Check::Atomic, &["region counters, at the end", "the cell at 0"]);
}

#[test]
fn an_addition_that_two_atomics_found_the_same_value_for_is_found_at_once() {
    // A flipped former value that another atomic finds as well cannot be had for sure; the same value twice can.
    let mut cells = wavetank_harness::atomic::Cells::default();
    assert_eq!(cells.done(16, 0, 5), Ok(()));
    let twice = cells.done(16, 0, 9).unwrap_err();
    assert!(twice.contains("two atomics found 0x0 in the cell at 16: one left 0x5, one 0x9"), "{twice}");
}

#[test]
fn a_stray_write_to_a_cell_nobody_used_is_found_by_the_sweep() {
    let report = lie_once(&counter(4), Lie::Stray { region: 2, offset: 2050 }, 100);
    failed(&report, Check::Atomic, &["region counters, at the end", "2048"]);
}
