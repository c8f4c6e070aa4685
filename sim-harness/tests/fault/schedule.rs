//! Schedules in TOML: what is read, and what is refused and why.

use std::path::Path;

use proptest::prelude::*;
use wavetank_harness::WorkloadError;
use wavetank_harness::fault::schedule::{MAX_FAULTS, Names, Schedule};
use wavetank_harness::fault::{Fault, parse_line};
use wavetank_harness::lab::{Cause, DeviceFault};
use wavetank_harness::workload::Patience;

use crate::all::{any_fault, causes};

fn names() -> Names {
    let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Names { nodes: named(&["client", "storage", "third"]), regions: named(&["pages", "log", "/dev/\"sdb\""]) }
}

fn parse(text: &str) -> Result<Schedule, WorkloadError> {
    Schedule::parse(Path::new("faults.toml"), text.as_bytes(), &names())
}

#[test]
fn a_schedule_says_when_where_what_and_for_how_long() {
    let table: &[(&str, &[&str])] = &[
        (
            "at = '2ms'\nbetween = ['client', 'storage']\nlose = { one_in = 100, burst = 3 }\nfor = '30ms'",
            &[
                "at 2000000 for 30000000 link 0 1 lose one-in 100 burst 3",
                "at 2000000 for 30000000 link 1 0 lose one-in 100 burst 3",
            ],
        ),
        ("at = '0s'\nfrom = 'storage'\nto = 'client'\ncut = true", &["at 0 link 1 0 cut"]),
        ("at_ns = 7\nfrom = 'client'\nto = 'third'\nlose_nth = 4", &["at 7 link 0 2 lose nth 4"]),
        (
            "one_in = 1000\nfrom = 'client'\nto = 'storage'\nlose = { one_in = 5 }\nfor_ns = 9",
            &["each-op 1000 for 9 link 0 1 lose one-in 5 burst 1"],
        ),
        (
            "one_in = 1\nbetween = ['client', 'storage']\nmend = true",
            &["each-op 1 mend 0 1", "each-op 1 mend 1 0"],
        ),
        (
            "op = 3\nfrom = 'client'\nto = 'storage'\nreorder = { one_in = 9, by = '7us' }",
            &["op 3 link 0 1 reorder one-in 9 by 7000"],
        ),
        ("op = 3\nfrom = 'client'\nto = 'storage'\ndelay_ns = 5", &["op 3 link 0 1 delay 5"]),
        ("op = 3\nfrom = 'client'\nto = 'storage'\nthrottle = 25", &["op 3 link 0 1 throttle 25"]),
        (
            "op = 17\nconnection = 3\nnode = 'storage'\ndevice = 'port-down'",
            &["op 17 connection 3 device 1 port-down"],
        ),
        ("at = '1us'\nnode = 'storage'\ndevice = 'pause'\nfor = '1ms'", &["at 1000 device 1 pause 1000000"]),
        (
            "at = '1us'\nnode = 'storage'\ndevice = 'fail-registration'",
            &["at 1000 device 1 fail-registration 0"],
        ),
        (
            "at = '1us'\nnode = 'storage'\ndevice = 'shallow-buffer'\nbytes = '64KiB'",
            &["at 1000 device 1 shallow-buffer 65536"],
        ),
        ("at = '1us'\nnode = 'client'\nhost = 'crash'\nfor = '2us'", &["at 1000 for 2000 host 0 crash"]),
        ("at = '1us'\nregion = 'log'\nmemory = 'roll-key'", &["at 1000 memory 1 roll-key"]),
    ];
    for (text, lines) in table {
        let text = format!("# the first line\n[[fault]]\n{text}\n");
        let schedule = parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let expected: Vec<Fault> = lines.iter().map(|line| parse_line(line).expect(line)).collect();
        assert_eq!(schedule.faults, expected, "{text}");
        assert_eq!((schedule.patience, schedule.cite(0)), (Patience::DISTURBED, "faults.toml:2".to_owned()));
    }
}

#[test]
fn every_cause_can_be_written_and_read() {
    for cause in causes() {
        let schedule = Schedule {
            faults: vec![normal(Fault { cause, ..fault("at 5 mend 0 1") })],
            ..Schedule::default()
        };
        let text = schedule.to_toml(&names());
        let read = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read.faults, schedule.faults, "{text}");
    }
}

#[test]
fn connections_hold_out_as_long_as_the_schedule_says() {
    let text =
        "[connection]\ntimeout = 8\nretry_cnt = 2\n[[fault]]\nat = '0s'\nnode = 'client'\nhost = 'pause'";
    assert_eq!(parse(text).expect("a schedule").patience, Patience { timeout: 8, retry_cnt: 2 });
}

#[test]
fn a_schedule_that_is_not_right_is_refused_with_line_and_key() {
    // What is said, with the line and key of it, of a fault whose table begins in line 1.
    let table: &[(&str, &str)] = &[
        ("at = 5", "faults.toml:2: fault[0].at: found 5; wanted a string"),
        ("at = '5'", "faults.toml:2: fault[0].at: \"5\" is not a duration"),
        ("at = '366000000s'", "fault[0].at: found \"366000000s\"; wanted 0ns to"),
        ("op = -1", "fault[0].op: -1 is negative"),
        ("op = 4294967296", "fault[0].op: found 4294967296; wanted 0 to 4294967295"),
        ("one_in = 0", "fault[0].one_in: found 0; wanted 1 to 4294967295"),
        ("op = 1\nconnection = 65536", "fault[0].connection: found 65536; wanted 0 to 65535"),
        ("connection = 1", "fault[0].connection: counts its operations; say which one with op"),
        ("at = '1s'\nconnection = 1", "fault[0].connection: counts its operations"),
        (
            "node = 'client'",
            "faults.toml:1: fault[0]: does not say when; give at = \"2ms\", op = 17 or one_in",
        ),
        ("at = '1s'\nop = 1", "faults.toml:3: fault[0].op: at says when already"),
        ("at = '1s'\nat_ns = 1", "fault[0].at_ns: at says when already"),
        ("at = '1s'", "faults.toml:1: fault[0]: does not say where; give between"),
        ("at = '1s'\nnode = 'client'\nregion = 'log'", "fault[0].region: node says where already"),
        (
            "at = '1s'\nbetween = ['client', 'storage']\nfrom = 'client'",
            "fault[0].from: between says where already",
        ),
        ("at = '1s'\nbetween = 'client'", "fault[0].between: found \"client\"; wanted two nodes"),
        ("at = '1s'\nbetween = ['client']", "fault[0].between: found a list of 1; wanted two nodes"),
        (
            "at = '1s'\nbetween = ['client', 'stroage']",
            "fault[0].between[1]: there is no node \"stroage\"; there is client, storage, third",
        ),
        ("at = '1s'\nbetween = ['client', 'client']", "fault[0].between[1]: is the same node twice"),
        ("at = '1s'\nfrom = 'client'\ncut = true", "fault[0].to: missing; name the node"),
        (
            "at = '1s'\nbetween = ['client', 'storage']\nto = 'third'\ncut = true",
            "fault[0].to: does not go with between",
        ),
        (
            "at = '1s'\nnode = 'client'\nhost = 'pause'\nnth = 3",
            "fault[0].nth: does not go with node and host",
        ),
        ("at = '1s'\nnode = 'client'\nhost = 'pause'\ncut = true", "fault[0].cut: happens to links"),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'",
            "does not say what happens to the link; give one of cut",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\ncut = true\ndelay = '1s'",
            "fault[0].delay: cut says what already; give each a [[fault]] of its own",
        ),
        ("at = '1s'\nfrom = 'client'\nto = 'storage'\ncut = false", "fault[0].cut: is true or left out"),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\nlose = 100",
            "fault[0].lose: found 100; wanted a table",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\nlose = { one_in = 0 }",
            "fault[0].lose.one_in: found 0; wanted 1 to",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\nlose = { one_in = 9, burst = 0 }",
            "fault[0].lose.burst: found 0; wanted 1 to",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\nlose = {}",
            "fault[0].lose.one_in: missing; how rare it is",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\nlose = { one_in = 9, bursts = 2 }",
            "fault[0].lose.bursts: unknown key; known here: one_in, burst",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\nreorder = { one_in = 9 }",
            "fault[0].reorder.by: missing",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\ndelay = '0s'",
            "fault[0].delay: found \"0s\"; wanted 1ns to",
        ),
        (
            "at = '1s'\nfrom = 'client'\nto = 'storage'\nthrottle = 100",
            "fault[0].throttle: found 100; wanted 1 to 99",
        ),
        (
            "one_in = 9\nbetween = ['client', 'storage']\ncut = true",
            "fault[0].between: chance would be drawn for each",
        ),
        ("at = '1s'\nnode = 'client'", "does not say what happens to the node; give device"),
        (
            "at = '1s'\nnode = 'client'\ndevice = 'remove'\nhost = 'pause'",
            "fault[0].host: device says what already",
        ),
        (
            "at = '1s'\nnode = 'client'\ndevice = 'melt'",
            "fault[0].device: found \"melt\"; wanted one of port-down, port-up, remove",
        ),
        (
            "at = '1s'\nnode = 'client'\ndevice = 'shallow-buffer'",
            "fault[0].bytes: missing; the size of the buffer",
        ),
        (
            "at = '1s'\nnode = 'client'\ndevice = 'pause'",
            "fault[0].for: missing; a port is paused for a time",
        ),
        (
            "at = '1s'\nnode = 'client'\ndevice = 'remove'\nfor = '1s'",
            "fault[0].for: remove is not undone by time",
        ),
        (
            "at = '1s'\nnode = 'client'\nhost = 'sleep'",
            "fault[0].host: found \"sleep\"; wanted one of pause, resume",
        ),
        (
            "at = '1s'\nnode = 'client'\nhost = 'pause'\nfor = '0s'",
            "fault[0].for: found \"0s\"; wanted 1ns to",
        ),
        (
            "at = '1s'\nnode = 'client'\nhost = 'pause'\nfor = '1s'\nfor_ns = 1",
            "fault[0].for_ns: for already says it",
        ),
        ("at = '1s'\nregion = 'log'", "fault[0].memory: missing; what happens to the region"),
        ("at = '1s'\nregion = 'lag'\nmemory = 'roll-key'", "there is no region \"lag\"; there is pages, log"),
        (
            "at = '1s'\nregion = 'log'\nmemory = 'melt'",
            "fault[0].memory: found \"melt\"; wanted one of deregister",
        ),
        ("when = '1s'", "faults.toml:2: fault[0].when: unknown key; known here: at, at_ns, op"),
        ("at = ", "faults.toml:2: syntax"),
    ];
    for (text, said) in table {
        let error = parse(&format!("[[fault]]\n{text}\n")).expect_err(text).to_string();
        assert!(error.contains(said), "{text}\nsaid   {error}\nwanted {said}");
    }
    let whole: &[(&str, &str)] = &[
        ("", "fault: missing; say what goes wrong with [[fault]]"),
        ("fault = 3", "fault: write it as [[fault]]"),
        ("faults = 3", "faults: unknown key; known here: connection, fault"),
        ("[connection]\ntimeout = 0", "connection.timeout: found 0; wanted 1 to 31"),
        ("[connection]\nretry_cnt = 7", "connection.retry_cnt: found 7; wanted 0 to 6"),
        ("[connection]\nmtu = 7", "connection.mtu: unknown key"),
    ];
    for (text, said) in whole {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text}\nsaid   {error}\nwanted {said}");
    }
}

#[test]
fn a_schedule_is_bounded_and_is_text() {
    let one = "[[fault]]\nop = 0\nnode = 'client'\nhost = 'pause'\n";
    assert_eq!(parse(&one.repeat(MAX_FAULTS)).expect("just fits").faults.len(), MAX_FAULTS);
    let error = parse(&one.repeat(MAX_FAULTS + 1)).expect_err("one too many").to_string();
    assert!(error.contains("more than 1024 faults"), "{error}");
    let not_text =
        Schedule::parse(Path::new("x.toml"), b"# a\n\xff", &names()).expect_err("no text").to_string();
    assert_eq!(not_text, "x.toml:2: syntax: not UTF-8, so no TOML schedule");
    let long = Schedule::parse(Path::new("x.toml"), &vec![b'#'; 2 << 20], &names())
        .expect_err("too long")
        .to_string();
    assert_eq!(long, "x.toml:1: syntax: a schedule is at most 1MiB");
    let gone = Schedule::read(Path::new("not/there.toml"), &names()).expect_err("not there").to_string();
    assert!(gone.contains("not/there.toml: cannot be read"), "{gone}");
}

fn fault(line: &str) -> Fault {
    parse_line(line).expect(line)
}

/// A fault as a schedule can say it: only what can be undone lasts, and a pause has its length in itself.
fn normal(fault: Fault) -> Fault {
    Fault { lasts_ns: fault.lasts_ns.filter(|_| fault.cause.undone_by().is_some()), ..fault }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        faults in prop::collection::vec(any_fault().prop_map(normal), 1..20),
        timeout in 1..=31u8,
        retry_cnt in 0..=6u8,
    ) {
        let schedule = Schedule { faults, patience: Patience { timeout, retry_cnt }, ..Schedule::default() };
        let text = schedule.to_toml(&names());
        let read = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&read.faults, &schedule.faults);
        prop_assert_eq!(read.patience, schedule.patience);
        prop_assert_eq!(read.to_toml(&names()), text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\[\\[fault\\]\\]\n)?((at|op|between|lose|for|node|device|one_in) = ('[a-z0-9]{0,4}'|[0-9]{1,4}|\\['client', '[a-z]{1,5}'\\]|\\{ one_in = [0-9] \\})\n){0,6}") {
        if let Ok(schedule) = parse(&text) {
            prop_assert!(!schedule.faults.is_empty());
            let paused = |fault: &Fault| matches!(fault.cause, Cause::Device { fault: DeviceFault::Pause { ns: 0 }, .. });
            let for_no_time = schedule.faults.iter().any(paused);
            prop_assert!(!for_no_time);
        }
    }
}
