//! The text of a recorded run: what is written is what is read, and everything else is refused where it is wrong.

use proptest::prelude::*;
use wavetank_contract::{Instant, OpKind, Status};
use wavetank_harness::record::{End, Event, RecordedRun, Submit};
use wavetank_harness::workload::{Node, NodeId, Region, Settings};

use crate::{everything, parse, recorded, text};

fn small() -> String {
    let run = recorded(everything(1));
    let first = Event::Finish { serial: 0, at: Instant(9), end: End::SUCCESS, len: 7 };
    let submit = |at, kind, region, offset, len| {
        let at = Instant(at);
        Event::Submit(Submit { at, kind, from: 0, to: 1, region, offset, len, connection: 0 })
    };
    let events = vec![
        submit(1, OpKind::Read, Some(0), 8, 100),
        submit(2, OpKind::Send, None, 0, 10),
        submit(2, OpKind::FetchAdd, Some(1), 16, 8),
        first,
        Event::Receive {
            connection: 0,
            at: Instant(9),
            kind: OpKind::Send,
            end: End::SUCCESS,
            len: 10,
            imm: None,
        },
        Event::Finish { serial: 1, at: Instant(9), end: End::Deadline, len: 0 },
        Event::Async { node: 1, at: Instant(10), what: "PortErr".to_owned() },
    ];
    text(&RecordedRun { events, ..run })
}

#[test]
fn the_text_is_what_the_documentation_shows() {
    let text = small();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["wavetank-sim 1", "backend mock", "simulated yes", "device mock/cx6"]);
    assert!(lines.contains(&"profile cx6 850 0 80 120 1") && lines.contains(&"deadline none"));
    assert!(lines.contains(&"region 1 1024 cells") && lines.contains(&"node storage"));
    let start = lines.iter().position(|line| *line == "events").unwrap();
    assert_eq!(
        lines[start + 1..],
        [
            "submit 0 1 read 0 1 0 8 100 0",
            "submit 1 2 send 0 1 - 0 10 0",
            "submit 2 2 fetch_add 0 1 1 16 8 0",
            "finish 0 9 SUCCESS 7",
            "receive 0 9 send SUCCESS 10 -",
            "finish 1 9 DEADLINE 0",
            "event 1 10 PortErr",
            "end 7",
        ]
    );
}

#[test]
fn a_real_run_is_read_as_it_was_written() {
    let run = recorded(everything(3));
    let read = parse(&text(&run)).unwrap();
    let first_line = text(&run).lines().position(|line| line == "events").unwrap() as u32 + 2;
    assert_eq!(read, RecordedRun { first_line, ..run });
}

/// Replaces one thing and wants the whole error.
#[track_caller]
fn broken(from: &str, to: &str, error: &str) {
    let good = small();
    assert!(good.contains(from), "{from:?} is not in\n{good}");
    let found = parse(&good.replacen(from, to, 1)).unwrap_err();
    assert_eq!(found, format!("run.sim:{error}"));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    broken("wavetank-sim 1", "wavetank-sim 2", "1: wavetank-sim: version \"2\"; this build reads version 1");
    broken("simulated yes", "simulated maybe", "3: simulated: found \"maybe\"; wanted yes or no");
    broken("device mock/cx6\n", "", "17: node: 1 devices are named for 2 nodes");
    broken("seed 1", "seed -1", "8: seed: found \"-1\"; wanted 0 to 18446744073709551615");
    broken("mtu 4096", "mtu 4000", "10: mtu: found 4000; wanted 256, 512, 1024, 2048 or 4096");
    broken("window 2\n", "", "13: window: found \"signal_every\"; wanted \"window\": a number");
    broken("region 1 1024 cells", "region 2 1024 cells", "19: region: found \"2\"; wanted 0 to 1");
    broken(
        "1024 cells",
        "99999999999999 cells",
        "19: region: found \"99999999999999\"; wanted 1 to 17179869184",
    );
    broken("submit 1 2", "submit 2 2", "22: submit: found \"2\"; wanted 1 to 1");
    broken("submit 1 2 send 0 1", "submit 1 2 send 1 1", "22: submit: node 1 would work on itself");
    broken(
        "0 8 100 0",
        "0 65500 100 0",
        "21: submit: 100 bytes at 65500 of node 1 are not inside region 0: 65536 bytes of node 1",
    );
    broken(
        "0 8 100 0",
        "0 18446744073709551615 100 0",
        "21: submit: 100 bytes at 18446744073709551615 of node 1 are not inside region 0: 65536 bytes of node 1",
    );
    broken(
        "1 16 8 0",
        "0 16 8 0",
        "23: submit: region 0 has atomics and other operations: neither can be checked",
    );
    broken("1 16 8 0", "1 12 8 0", "23: submit: an atomic works on 8 aligned bytes");
    broken("send 0 1 - 0", "send 0 1 0 0", "22: submit: a send has no region: wanted - and offset 0");
    broken("finish 0 9 SUCCESS 7", "finish 0 9 SUCESS 7", "24: finish: \"SUCESS\" is no status");
    broken("finish 0 9 SUCCESS 7", "finish 0 9 SUCCESS 101", "24: finish: found \"101\"; wanted 0 to 100");
    broken("finish 0 9 ", "finish 0 1 ", "24: finish: found \"1\"; wanted 2 to 18446744073709551614");
    broken("finish 1 9", "finish 0 9", "26: finish: operation 0 has ended before");
    broken("finish 1 9", "finish 3 9", "26: finish: found \"3\"; wanted 0 to 2");
    broken("receive 0 9 send", "receive 0 9 sand", "25: receive: \"sand\" is no operation");
    broken("finish 1 9 DEADLINE 0", "finish 1 9 DEADLINE 0 0", "26: finish: wanted 4 fields");
    broken("event 1 10 ", "happened 1 10 ", "27: happened: wanted submit, finish, receive, event or end");
    broken("end 7", "end 8", "28: end: found \"8\"; wanted 7 to 7");
    broken("end 7\n", "end 7", "28: line: the file is cut in this line: no newline ends it");
    broken("end 7\n", "end 7\nend 7\n", "29: end: nothing comes after the end");
    broken("end 7\n", "", "27: end: the file is cut: `end` and the number of events come last");
    broken("backend mock", "backend", "2: backend: nothing follows");
    broken("backend mock", "backend \u{7}", "2: line: a character in it is not text");
}

#[test]
fn a_run_without_operations_and_an_endless_line_are_refused() {
    let good = small();
    let (head, _) = good.split_once("submit").unwrap();
    assert_eq!(
        parse(&format!("{head}end 0\n")).unwrap_err(),
        "run.sim:21: end: there is no operation in this run"
    );
    let endless = format!("wavetank-sim {}", "1".repeat(1 << 20));
    assert_eq!(parse(&endless).unwrap_err(), "run.sim:1: line: longer than 8192 bytes");
}

fn ends() -> impl Strategy<Value = End> {
    let others = [End::Refused, End::Deadline, End::Cancelled, End::SessionEnded];
    let all: Vec<End> = Status::ALL.into_iter().map(End::Completed).chain(others).collect();
    prop::sample::select(all)
}

/// Names that a line can hold.
fn names() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_/.:-]([a-zA-Z0-9 _/.:é-]{0,20}[a-zA-Z0-9])?"
}

prop_compose! {
    fn submits()(kind in prop::sample::select(vec![OpKind::Read, OpKind::Write, OpKind::WriteImm, OpKind::Send]),
                 offset in 0u64..1000, len in 1u32..3000, connection in any::<u32>(), gap in 0u64..1_000_000)
                 -> (Submit, u64) {
        let region = (kind != OpKind::Send).then_some(0);
        let offset = if region.is_some() { offset } else { 0 };
        (Submit { at: Instant(0), kind, from: 0, to: 1, region, offset, len, connection }, gap)
    }
}

prop_compose! {
    fn runs()(ops in prop::collection::vec((submits(), ends(), any::<bool>(), any::<Option<u32>>()), 1..30),
              texts in prop::collection::vec(names(), 6), seed in any::<u64>(), deadline_ns in prop::option::of(1u64..1_000_000_000),
              simulated in any::<bool>()) -> RecordedRun {
        let mut events = Vec::new();
        let mut at = 0;
        for (serial, ((submit, gap), end, both, imm)) in (0u64..).zip(ops) {
            at += gap;
            events.push(Event::Submit(Submit { at: Instant(at), ..submit }));
            if both {
                events.push(Event::Finish { serial, at: Instant(at), end, len: u64::from(submit.len) });
                events.push(Event::Receive { connection: 1, at: Instant(at), kind: OpKind::Recv, end, len: 4, imm });
                events.push(Event::Async { node: 1, at: Instant(at), what: texts[4].clone() });
            }
        }
        RecordedRun {
            backend: texts[0].clone(),
            simulated,
            devices: vec![texts[1].clone(), texts[5].clone()],
            caps: texts[2].clone(),
            workload: texts[3].clone(),
            settings: Settings { seed, deadline_ns, ..Settings::default() },
            nodes: vec![Node { name: texts[0].clone() }, Node { name: texts[1].clone() }],
            regions: vec![Region { name: texts[2].clone(), node: NodeId(1), bytes: 4000 }],
            events,
            first_line: 0,
        }
    }
}

proptest! {
    #[test]
    fn every_run_is_read_as_it_was_written(run in runs()) {
        let written = text(&run);
        let read = parse(&written).map_err(TestCaseError::fail)?;
        prop_assert_eq!(RecordedRun { first_line: 0, ..read.clone() }, run);
        prop_assert_eq!(text(&read), written);
    }

    #[test]
    fn garbage_is_refused_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(RecordedRun::parse("x".as_ref(), &bytes[..]).is_err());
    }

    #[test]
    fn a_damaged_run_is_read_or_refused_and_never_panics(at in 0usize..2000, byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = small().into_bytes();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let read = RecordedRun::parse("x".as_ref(), &bytes[..]);
        prop_assert!(!cut || read.is_err(), "a run that was cut is refused");
        if let Ok(run) = read {
            // What is read can be set up.
            let _ = wavetank_harness::Workload::of_run("x".as_ref(), run);
        }
    }
}
