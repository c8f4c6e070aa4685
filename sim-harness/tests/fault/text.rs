//! Faults as lines of text, there and back.

use proptest::prelude::*;
use wavetank_harness::fault::{Fault, When, parse_line};
use wavetank_harness::lab::{Cause, DeviceFault, HostFault, LinkFault, MemoryFault};

use crate::all::{any_fault, causes};

const WHEN: When = When::At(5);

#[test]
fn the_text_of_a_fault_stays_as_it_is() {
    let lose = LinkFault::LoseOneIn { n: 100, burst: 3 };
    let table = [
        (
            When::At(2_000_000),
            Cause::Link { from: 0, to: 1, fault: lose },
            Some(30_000_000),
            "at 2000000 for 30000000 link 0 1 lose one-in 100 burst 3",
        ),
        (
            When::Op { connection: Some(3), op: 17 },
            Cause::Device { node: 1, fault: DeviceFault::PortDown },
            None,
            "op 17 connection 3 device 1 port-down",
        ),
        (
            When::EachOp { one_in: 1000 },
            Cause::Host { node: 0, fault: HostFault::Pause },
            Some(50_000),
            "each-op 1000 for 50000 host 0 pause",
        ),
        (
            When::Op { connection: None, op: 4 },
            Cause::Memory { region: 2, fault: MemoryFault::RollKey },
            None,
            "op 4 memory 2 roll-key",
        ),
        (
            WHEN,
            Cause::Link { from: 1, to: 0, fault: LinkFault::ReorderOneIn { n: 9, by_ns: 70 } },
            None,
            "at 5 link 1 0 reorder one-in 9 by 70",
        ),
        (WHEN, Cause::Mend { from: 0, to: 1 }, None, "at 5 mend 0 1"),
        (
            WHEN,
            Cause::Host { node: 0, fault: HostFault::Restart { same: true } },
            None,
            "at 5 host 0 restart-same",
        ),
    ];
    for (when, cause, lasts_ns, text) in table {
        let fault = Fault { when, cause, lasts_ns };
        assert_eq!(fault.to_string(), text);
        assert_eq!(parse_line(text), Ok(fault), "{text}");
    }
}

#[test]
fn every_cause_has_a_text_of_its_own() {
    let mut texts: Vec<String> = causes().iter().map(Cause::to_string).collect();
    for (cause, text) in causes().into_iter().zip(&texts) {
        assert_eq!(
            parse_line(&format!("at 5 {text}")),
            Ok(Fault { when: WHEN, cause, lasts_ns: None }),
            "{text}"
        );
    }
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), causes().len());
}

#[test]
fn a_line_that_is_not_right_is_refused_with_what_would_be() {
    let table = [
        ("", "ends where a time should be"),
        ("soon link 0 1 cut", "\"soon\"; wanted one of at, op, each-op"),
        ("at link 0 1 cut", "\"link\" for at; wanted 0 to 31536000000000000"),
        ("at 31536000000000001 link 0 1 cut", "wanted 0 to 31536000000000000"),
        ("at +5 link 0 1 cut", "\"+5\" for at"),
        ("at 05 link 0 1 cut", "\"05\" for at"),
        ("at 5", "ends where a cause should be"),
        ("at 5 for 0 link 0 1 cut", "\"0\" for for; wanted 1 to"),
        ("at 5 for link 0 1 cut", "\"link\" for for"),
        ("op 5 connection 65536 link 0 1 cut", "for connection; wanted 0 to 65535"),
        ("op 4294967296 link 0 1 cut", "for op; wanted 0 to 4294967295"),
        ("each-op 0 link 0 1 cut", "for each-op; wanted 1 to"),
        ("at 5 wire 0 1 cut", "wanted one of link, mend, device, host, memory"),
        ("at 5 link 0 256 cut", "\"256\" for a node; wanted 0 to 255"),
        ("at 5 link 0 1", "ends where what happens to the link should be"),
        ("at 5 link 0 1 melt", "\"melt\"; wanted one of cut, lose"),
        ("at 5 link 0 1 lose 100", "\"100\"; wanted \"one-in\""),
        ("at 5 link 0 1 lose one-in 0 burst 1", "for one-in; wanted 1 to"),
        ("at 5 link 0 1 lose one-in 5", "ends where \"burst\" should be"),
        ("at 5 link 0 1 lose one-in 5 burst 0", "for burst; wanted 1 to"),
        ("at 5 link 0 1 reorder one-in 5", "ends where \"by\" should be"),
        ("at 5 link 0 1 delay 0", "for delay; wanted 1 to"),
        ("at 5 link 0 1 throttle 100", "wanted 1 to 99"),
        ("at 5 link 0 1 cut off", "\"off\" where the line should end"),
        ("at 5 mend 0", "ends where a node should be"),
        ("at 5 device 0 explode", "mark-congestion, fail-registration, pause, shallow-buffer"),
        ("at 5 device 0 pause 0", "for pause; wanted 1 to"),
        ("at 5 host 0 sleep", "wanted one of pause, resume, crash, restart, restart-same, client-death"),
        ("at 5 memory 65536 roll-key", "for a region; wanted 0 to 65535"),
        ("at 5 memory 0 melt", "wanted one of deregister, roll-key, revoke-window, change-source"),
    ];
    for (line, said) in table {
        let why = parse_line(line).expect_err(line);
        assert!(why.contains(said), "{line}: {why}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(fault in any_fault()) {
        prop_assert_eq!(parse_line(&fault.to_string()), Ok(fault));
    }

    #[test]
    fn no_line_is_read_as_another(line in "(at|op|each-op) [0-9+x]{1,3} (for 1 )?(link|mend|device|host|memory) [01] ?[01]? ?[a-z -]{0,20}[0-9]{0,3}") {
        if let Ok(fault) = parse_line(&line) {
            let plain: Vec<&str> = line.split_ascii_whitespace().collect();
            prop_assert_eq!(fault.to_string(), plain.join(" "));
        }
    }
}
