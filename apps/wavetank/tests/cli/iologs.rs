//! Exit status 2: fio iologs that cannot be replayed. Each error names file, line and field.

use crate::files::file;
use crate::program::replay;

const HEAD: &str = "fio version 3 iolog\n0 a add\n1 a open\n";

#[track_caller]
fn broken(lines: &str, args: &[&str], place: &str, parts: &[&str]) {
    let (_folder, path) = file("cut.iolog", format!("{HEAD}{lines}"));
    replay(&path, args).refused(&format!("{}:{place}", path.display()), parts);
}

#[test]
fn a_small_iolog_is_replayed() {
    let (_folder, path) =
        file("small.iolog", format!("{HEAD}2 a write 0 4096\n3 a read 0 4096\n4 a close\n"));
    let report = replay(&path, &["--json"]).json();
    assert_eq!((&report["ops"], &report["bytes_verified"]), (&2.into(), &8192.into()));
}

#[test]
fn a_log_cut_in_a_line_is_refused_even_where_the_line_still_reads_well() {
    broken("2 a read 0 4096\n3 a read 4096 81", &[], "5: length: ", &["cut", "\"81\""]);
    broken("2 a read 0 4096\n3 a re", &[], "5: ", &["cut"]);
}

#[test]
fn an_offset_or_end_past_2_to_the_63_is_refused() {
    broken("2 a read 9223372036854775808 4096\n", &[], "4: offset: ", &["9223372036854775808", "2^63"]);
    broken("2 a read 9223372036854775807 4096\n", &[], "4: length: ", &["9223372036854775807", "2^63"]);
    broken("2 a read 18446744073709551616 1\n", &[], "4: offset: ", &["18446744073709551616"]);
}

#[test]
fn a_file_that_no_memory_holds_is_refused() {
    broken("2 a read 4611686018427387904 4096\n", &[], "4: offset: ", &["16GiB"]);
}

#[test]
fn a_log_without_operations_is_refused() {
    broken("", &[], "3: action: ", &["without a read or a write"]);
}

#[test]
fn a_clock_that_runs_backwards_has_no_pace() {
    broken("9 a read 0 4096\n8 a read 0 4096\n", &["--pace"], "5: time: ", &["backwards"]);
}

#[test]
fn garbage_behind_a_good_head_is_refused() {
    broken("\u{0}\u{1}\u{2}\n", &[], "4: ", &[]);
}
