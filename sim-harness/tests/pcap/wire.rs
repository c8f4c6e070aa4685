//! Whole runs: `tshark` agrees on every packet of a disturbed network.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use wavetank_contract::Instant;
use wavetank_harness::fault::inject;
use wavetank_harness::lab::{Cause, LinkFault};
use wavetank_harness::pcap::{BYTES_MAX, Capture};
use wavetank_harness::watch::{Taps, Watch};
use wavetank_harness::{Replay, Workload};
use wavetank_mock::{Happening, Tap};

use crate::tshark::{expected, program, read};

/// Every verb, in sizes of a part of a packet to many packets.
const WORKLOAD: &str = "
profile = \"cx6\"
mtu = 1024
queue_pairs = 2
[[node]]
name = \"client\"
[[node]]
name = \"storage\"
[[region]]
name = \"pages\"
node = \"storage\"
size = \"64KiB\"
[[region]]
name = \"cells\"
node = \"storage\"
size = \"4KiB\"
[load]
concurrency = 6
count = 300
";

fn workload() -> Workload {
    let mut text = WORKLOAD.to_owned();
    for (kind, sizes) in
        [("read", &["100B", "5001B"][..]), ("write", &["1B", "4098B"]), ("write_imm", &["3KiB"])]
    {
        for size in sizes {
            text += &format!(
                "[[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"pages\"\nsize = \"{size}\"\n"
            );
        }
    }
    for kind in ["fetch_add", "compare_swap"] {
        text += &format!("[[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"cells\"\nsize = \"8B\"\n");
    }
    text += "[[op]]\nkind = \"send\"\nfrom = \"client\"\nto = \"storage\"\nsize = \"2500B\"\n";
    Workload::parse(Path::new("test.toml"), text.as_bytes()).expect("a good workload")
}

/// What should be read, and the opcodes and syndromes among it.
#[derive(Clone, Default)]
struct Expecting(Rc<RefCell<Expected>>);

/// Lines, and opcodes with syndromes.
type Expected = (Vec<String>, BTreeSet<(u8, u8)>);

impl Tap for Expecting {
    fn see(&mut self, at: Instant, happening: &Happening<'_>) {
        if let Happening::Sent(packet) = happening {
            let (lines, kinds) = &mut *self.0.borrow_mut();
            lines.push(expected(at, packet));
            kinds.insert((packet.opcode as u8, packet.syndrome));
        }
    }
}

#[test]
fn tshark_agrees_on_every_packet_of_a_lossy_run() {
    let Some(program) = program() else { return };
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let out = file.reopen().expect("it was just made");
    let capture = Capture::new(Box::new(std::io::BufWriter::new(out)), BYTES_MAX).expect("the disk has room");
    let expecting = Expecting::default();
    let mut replay = Replay::prepare(workload()).expect("it can be set up");
    let tap = Taps::join(vec![capture.tap(), Box::new(expecting.clone())]);
    replay.watch(Watch { tap, ..Watch::default() });
    for (from, to) in [(0, 1), (1, 0)] {
        let cause = Cause::Link { from, to, fault: LinkFault::LoseOneIn { n: 30, burst: 1 } };
        inject(replay.world().fabric().expect("simulated"), cause).expect("simulated");
    }
    let report = replay.run(&mut |_| ());
    assert!(report.ok(), "{:?}", report.failures.told());
    let captured = capture.finish().expect("the disk has room");

    let read = read(&program, file.path());
    let (lines, kinds) = &*expecting.0.borrow();
    assert_eq!((read.len(), captured.packets), (lines.len(), lines.len() as u64));
    for (index, (read, sent)) in read.iter().zip(lines).enumerate() {
        assert_eq!(read, sent, "packet {index}");
    }
    // All that such a run has: every request and answer but an immediate at the end of a SEND, and sequence NAKs.
    let opcodes: BTreeSet<u8> = kinds.iter().map(|(opcode, _)| *opcode).collect();
    assert_eq!(opcodes.len(), 17, "{opcodes:?}");
    assert!(kinds.contains(&(0x11, 0x60)), "no sequence NAK: {kinds:?}");
}
