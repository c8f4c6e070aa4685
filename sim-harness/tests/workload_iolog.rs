//! fio iologs: each wrong line gives its own error, with file, line and field.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should stop

use std::io::{BufReader, Read};
use std::path::Path;

use wavetank_harness::workload::Iolog;
use wavetank_harness::workload::iolog::Version;
use wavetank_harness::workload::recording::{File, IoKind, IoOp};

fn parse(text: impl AsRef<[u8]>) -> Result<Iolog, String> {
    Iolog::parse(Path::new("x.iolog"), text.as_ref()).map_err(|e| e.to_string())
}

/// Asserts the whole error of a version 3 log whose fourth line is `line`.
#[track_caller]
fn fourth(line: &str, error: &str) {
    let text = format!("fio version 3 iolog\n0 f add\n0 f open\n{line}\n9 f read 0 1\n");
    assert_eq!(parse(text).unwrap_err(), format!("x.iolog:4: {error}"));
}

#[test]
fn version_3_gives_files_times_and_extents() {
    let text = "fio version 3 iolog\r\n100 b add\r\n100 a add\n100 c add\n100 a open\n101 b open\n\
                102 a write 4096 512\n103 b read 0 8\n104 a\tread 0 1\n104 a close\n105 b sync 0 0\n\
                105 b datasync\n106 a trim 0 4096\n106 b sync\n";
    let log = parse(text).unwrap();
    assert_eq!(log.version, Version::V3);
    let file = |name: &str, extent_bytes| File { name: name.to_owned(), extent_bytes };
    assert_eq!(log.recording.files, [file("a", 4608), file("b", 8)]);
    let op = |at_ns, offset, len, file, line, kind| IoOp { at_ns, offset, len, file, line, kind };
    let ops = [
        op(2000, 4096, 512, 0, 7, IoKind::Write),
        op(3000, 0, 8, 1, 8, IoKind::Read),
        op(4000, 0, 1, 0, 9, IoKind::Read),
    ];
    assert_eq!(log.recording.ops, ops);
    let ignored = log.ignored;
    assert_eq!((ignored.sync, ignored.datasync, ignored.trim, ignored.untouched_files), (2, 1, 1, 1));
}

#[test]
fn waits_of_version_2_add_up() {
    let text =
        "fio version 2 iolog\nf add\nf open\nf read 0 1\nf wait 50 0\nf wait 70\nf write 1 1\nf close\n";
    let log = parse(text).unwrap();
    let times: Vec<_> = log.recording.ops.iter().map(|op| (op.at_ns, op.line)).collect();
    assert_eq!((log.version, times), (Version::V2, vec![(0, 4), (120_000, 7)]));
}

#[test]
fn a_file_stays_open_until_it_was_closed_as_often_as_opened() {
    let open = "fio version 2 iolog\nf add\nf add\nf open\nf open\nf close\nf read 0 1\nf close\n";
    assert!(parse(open).is_ok());
    let error = parse(format!("{open}f read 0 1\n")).unwrap_err();
    assert_eq!(error, "x.iolog:9: file: \"f\" is not open here; a file is added, then opened, then used");
    let error = parse(format!("{open}f close\n")).unwrap_err();
    assert_eq!(error, "x.iolog:9: file: \"f\" is not open here; a file is added, then opened, then used");
}

#[test]
fn a_file_is_added_and_opened_before_use() {
    fourth("1 g read 0 1", "file: \"g\" was never added; a file is added, then opened, then used");
    fourth("1 g open", "file: \"g\" was never added; a file is added, then opened, then used");
    fourth("1 g close", "file: \"g\" was never added; a file is added, then opened, then used");
}

#[test]
fn an_unknown_header_is_refused() {
    let is =
        |text: &str, error: &str| assert_eq!(parse(text).unwrap_err(), format!("x.iolog:1: header: {error}"));
    is("", "the file is empty");
    is("fio version 4 iolog\n", "unknown version \"4\"; 2 and 3 are known");
    is("fio version 1\n", "found \"fio version 1\"; wanted \"fio version 3 iolog\" (or 2)");
    is("fio version 3 iolo", "found \"fio version 3 iolo\"; wanted \"fio version 3 iolog\" (or 2)");
    is("fio version 3 iolog", "the file is cut after this line: no newline ends it");
    is("seed = 1\n", "found \"seed = 1\"; wanted \"fio version 3 iolog\" (or 2)");
}

#[test]
fn a_line_cut_anywhere_is_noticed() {
    let whole = "fio version 3 iolog\n0 f add\n0 f open\n12 f read 16384 8192\n";
    for cut in 1..=21 {
        let text = &whole[..whole.len() - cut];
        let error = parse(text).unwrap_err();
        let field = match 20 - cut.min(20) {
            _ if cut == 21 => "x.iolog:3: action: the log ends without a read or a write",
            0..=2 => "x.iolog:4: time: the file is cut at \"1",
            3..=4 => "x.iolog:4: file: the file is cut at \"f\"",
            5..=9 => "x.iolog:4: action: the file is cut at \"r",
            10..=15 => "x.iolog:4: offset: the file is cut at \"1",
            _ => "x.iolog:4: length: the file is cut at \"8",
        };
        assert!(error.starts_with(field), "cut {cut}: {error}");
    }
    assert!(parse(whole).is_ok());
}

#[test]
fn missing_fields_are_named() {
    let shape = "the line ends before it; a line is [time] file action, and for I/O an offset and a length";
    fourth("", &format!("time: missing: {shape}"));
    fourth("1", &format!("file: missing: {shape}"));
    fourth("1 f", &format!("action: missing: {shape}"));
    fourth("1 f read", &format!("offset: missing: {shape}"));
    fourth("1 f write 0", &format!("length: missing: {shape}"));
}

#[test]
fn numbers_are_whole_and_below_2_to_the_63() {
    fourth("x f read 0 1", "time: \"x\" is not a whole number");
    fourth("-1 f read 0 1", "time: \"-1\" is not a whole number");
    fourth("1 f read 0x10 1", "offset: \"0x10\" is not a whole number");
    fourth("1 f read -1 1", "offset: \"-1\" is not a whole number");
    fourth("1 f read 1.5 1", "offset: \"1.5\" is not a whole number");
    fourth("1 f read 9223372036854775808 1", "offset: 9223372036854775808 is past 2^63 - 1");
    fourth("1 f read 18446744073709551616 1", "offset: 18446744073709551616 is past 2^63 - 1");
    fourth(
        "1 f read 9223372036854775807 1",
        "length: 1 bytes at 9223372036854775807 end past 2^63 - 1, where every file ends",
    );
    fourth("1 f read 0 8k", "length: \"8k\" is not a whole number");
    fourth("1 f sync 0 x", "length: \"x\" is not a whole number");
    fourth(
        "9223372036854775807 f read 0 1",
        "time: 9223372036854775807 us after the start is more than a run may take (31536000s)",
    );
}

#[test]
fn lengths_are_1_byte_to_1_gib() {
    fourth("1 f read 0 0", "length: found 0; wanted 1 to 1073741824 bytes (1GiB)");
    fourth("1 f write 0 1073741825", "length: found 1073741825; wanted 1 to 1073741824 bytes (1GiB)");
    fourth(
        "1 f write 0 9223372036854775807",
        "length: found 9223372036854775807; wanted 1 to 1073741824 bytes (1GiB)",
    );
}

#[test]
fn unknown_actions_are_refused() {
    fourth(
        "1 f erase 0 1",
        "action: unknown action \"erase\"; known are add, open, close, read, write, sync, datasync, trim, wait (version 2)",
    );
    fourth("1 f wait 5 0", "action: version 3 has no wait: its times pace it");
    fourth("1 f add 5", "action: \"5\" follows it; add, open and close end the line");
    fourth("1 f read 0 1 2", "length: \"2\" follows it; a line ends with the length");
    let error = parse("fio version 2 iolog\nf wait x 0\n").unwrap_err();
    assert_eq!(error, "x.iolog:2: offset: \"x\" is not a whole number");
    let error = parse("fio version 2 iolog\nf wait 9223372036854775807 0\n").unwrap_err();
    assert_eq!(
        error,
        "x.iolog:2: offset: 9223372036854775807 us after the start is more than a run may take (31536000s)"
    );
}

#[test]
fn a_sparse_file_past_the_memory_limit_is_refused_where_it_grows() {
    fourth(
        "1 f write 1099511627776 1024",
        "offset: makes the files 1073741825KiB together, the limit is 16GiB; each file is held in memory from byte 0 \
         to the last byte touched",
    );
    let text = "fio version 2 iolog\nf add\nf open\ng add\ng open\nf read 17179869183 1\ng read 0 1\n";
    let error = parse(text).unwrap_err();
    assert!(error.starts_with("x.iolog:7: offset: makes the files 17179869185B together"), "{error}");
}

#[test]
fn what_is_not_text_is_refused() {
    let is = |bytes: &[u8], error: &str| {
        let text = [b"fio version 3 iolog\n", bytes, b"\n"].concat();
        assert_eq!(parse(text).unwrap_err(), format!("x.iolog:2: {error}"));
    };
    is(b"0 \xff add", "line: byte 0xff in column 3 is not UTF-8");
    is(b"0 f\0 add", "line: byte 0x00 in column 4 is not text");
    is(b"0 \x1b[2J add", "line: byte 0x1b in column 3 is not text");
    is(&[b'x'; 4095], "line: longer than 4094 bytes");
    let long = "n".repeat(257);
    is(
        format!("0 {long} add").as_bytes(),
        &format!("file: \"{}\"... is longer than 256 bytes", "n".repeat(60)),
    );
}

#[test]
fn an_endless_line_is_not_buffered() {
    // Without a bound this would never return.
    let endless = BufReader::new(std::io::repeat(b'7'));
    let error = Iolog::parse(Path::new("x.iolog"), endless).unwrap_err();
    assert_eq!(error.to_string(), "x.iolog:1: line: longer than 4094 bytes");
    let header = "fio version 3 iolog\n".as_bytes().chain(std::io::repeat(b'7'));
    let error = Iolog::parse(Path::new("x.iolog"), BufReader::new(header)).unwrap_err();
    assert_eq!(error.to_string(), "x.iolog:2: line: longer than 4094 bytes");
}

#[test]
fn a_log_without_io_is_refused() {
    let error = parse("fio version 3 iolog\n0 f add\n0 f open\n0 f sync 0 0\n").unwrap_err();
    assert_eq!(
        error,
        "x.iolog:4: action: the log ends without a read or a write: there is nothing to replay"
    );
}

#[test]
fn more_files_than_regions_are_refused() {
    let mut text = "fio version 2 iolog\n".to_owned();
    (0..=65_536).for_each(|n| text.push_str(&format!("f{n} add\n")));
    assert_eq!(parse(text).unwrap_err(), "x.iolog:65538: file: more than 65536 files; each becomes a region");
}
