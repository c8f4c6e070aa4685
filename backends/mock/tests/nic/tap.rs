//! Taps: everything is told once, in order, with the fields that are on the wire, and nobody is disturbed by it.

use std::cell::RefCell;
use std::rc::Rc;

use wavetank_contract::*;
use wavetank_mock::{Fate, Happening, Mark, Opcode, PacketView, StepKind, Tap};

use crate::lab::*;

/// What was seen, in a line each, and the packets that arrived.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<(Instant, String)>>>);

impl Tap for Seen {
    fn see(&mut self, at: Instant, happening: &Happening<'_>) {
        let line = match happening {
            Happening::Posted { node, ep, work } => format!("{node}.{} posted {}", ep.0, work.id.0),
            Happening::Sent(p) => format!("{} sent {:?}", p.from_node, p.opcode),
            Happening::Arrived(p, Fate::Taken) => format!("{} took {:?}", p.to_node, p.opcode),
            Happening::Arrived(p, Fate::Dropped(why)) => {
                format!("{} dropped {:?}: {}", p.to_node, p.opcode, why.name())
            }
            Happening::TimedOut { node, ep } => format!("{node}.{} timed out", ep.0),
            Happening::ReceiverWaited { node, ep } => format!("{node}.{} waited", ep.0),
            Happening::Completed { node, completion: c } => {
                format!("{node}.{} completed {} {:?}", c.ep.0, c.id.0, c.status)
            }
            Happening::Event { node, event } => format!("{node} event {event:?}"),
        };
        self.0.borrow_mut().push((at, line));
    }
}

impl Seen {
    fn take(&self) -> Vec<String> {
        self.0.borrow_mut().drain(..).map(|(_, line)| line).collect()
    }
}

fn tapped() -> (Lab, End, End, Seen) {
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.mtu, s.timeout, s.retry_cnt) = (Mtu::B256, 8, 1);
    let (a, b) = lab.pair_with(0, 1, tune, tune);
    let seen = Seen::default();
    lab.fabric.set_tap(Some(Box::new(seen.clone())));
    (lab, a, b, seen)
}

#[test]
fn everything_about_a_send_is_told_once_and_in_order() {
    let (mut lab, a, b, seen) = tapped();
    lab.go(b, &[recv(1, &[lab.piece(1, 0, 1000)])]);
    lab.go(a, &[send(2, &[lab.piece(0, 0, 300)])]);
    lab.run();
    let expected = [
        "1.0 posted 1",
        "0.0 posted 2",
        "0 sent SendFirst",
        "0 sent SendLast",
        "1 took SendFirst",
        "1 took SendLast",
        "1.0 completed 1 Success",
        "1 sent Acknowledge",
        "0 took Acknowledge",
        "0.0 completed 2 Success",
    ];
    assert_eq!(seen.take(), expected);
}

#[test]
fn a_tap_that_was_taken_off_sees_nothing() {
    let (mut lab, a, _, seen) = tapped();
    lab.fabric.set_tap(None);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 300)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(seen.take(), [""; 0]);
}

#[test]
fn timeouts_waits_and_events_are_told_once_each() {
    let (mut lab, a, b, seen) = tapped();
    lab.fabric.link(0, 1).lose_after = Some(0);
    lab.go(a, &[send(1, &[])]);
    lab.run_until(Instant(1_100_000));
    lab.go(b, &[recv(2, &[])]);
    lab.run();
    assert_good(&lab.ends(0), [1]);
    let all = seen.take();
    let count = |line: &str| all.iter().filter(|l| *l == line).count();
    assert_eq!(count("0.0 timed out"), lab.count(StepKind::TimedOut));
    assert_eq!(count("0.0 waited"), lab.count(StepKind::ReceiverWaited));
    assert_eq!((count("1 dropped SendOnly: packet-lost"), count("0.0 timed out")), (1, 1));
    assert!(count("0.0 waited") >= 1);
    lab.fabric.set_port(0, false);
    lab.fabric.set_port(0, true);
    lab.fabric.change_gid(1);
    assert_eq!(seen.take(), ["0 event PortErr", "0 event PortActive", "1 event GidChange"]);
    // A refused request: the event before what is flushed, and the completion of what was refused.
    let (mut lab, a, _, seen) = tapped();
    lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], RemoteAddr { rkey: RkeyId(77), addr: 0 })]);
    lab.run();
    let all = seen.take();
    assert_eq!(
        all.iter().filter(|l| l.contains("event")).collect::<Vec<_>>(),
        ["1 event QpAccessErr(EpId(0))"]
    );
    assert_eq!(all.last().unwrap(), "0.0 completed 1 RemAccessErr");
}

type Cause = fn(&mut Lab);

#[test]
fn every_reason_to_drop_a_packet_is_told() {
    let reasons: [(Mark, Cause); 7] = [
        (Mark::PacketLost, |lab| lab.fabric.link(0, 1).loss_one_in = 1),
        (Mark::PacketCorrupted, |lab| lab.fabric.link(0, 1).corrupt_one_in = 1),
        (Mark::PacketTruncated, |lab| lab.fabric.link(0, 1).truncate_one_in = 1),
        (Mark::PortWasDown, |lab| lab.fabric.set_port(1, false)),
        (Mark::StaleAddress, |lab| lab.fabric.change_gid(1)),
        (Mark::NobodyThere, |lab| lab.fabric.crash(1)),
        (Mark::SilentDrop, |lab| _ = lab.nodes[1].nic.modify(EpId(0), QpState::Err)),
    ];
    for (mark, cause) in reasons {
        let (mut lab, a, _, seen) = tapped();
        cause(&mut lab);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 8)], lab.at(1, 0))]);
        lab.run();
        let told = format!("1 dropped WriteOnly: {}", mark.name());
        assert_eq!(seen.take().iter().filter(|line| **line == told).count(), 2, "{told}");
        assert_eq!(lab.fabric.passed(mark), 2, "{told}");
    }
}

#[test]
fn a_tap_disturbs_nobody() {
    let steps = |tap: bool| {
        let mut lab = Lab::of(2, wavetank_mock::Profile::CX6, Seeded::new(4));
        if tap {
            lab.fabric.set_tap(Some(Box::new(Seen::default())));
        }
        let (a, _) = lab.pair(0, 1);
        lab.fabric.link(0, 1).loss_one_in = 10;
        lab.go(
            a,
            &[
                write(1, &[lab.piece(0, 0, 100_000)], lab.at(1, 0)),
                read(2, &[lab.piece(0, 0, 99_000)], lab.at(1, 0)),
            ],
        );
        lab.run();
        lab.steps
    };
    assert_eq!(steps(true), steps(false));
}

/// The fields of every packet that left.
#[derive(Clone, Default)]
struct Fields(Rc<RefCell<Vec<[u64; 14]>>>);

impl Tap for Fields {
    fn see(&mut self, _: Instant, happening: &Happening<'_>) {
        let Happening::Sent(p) = happening else { return };
        let PacketView { from_node, to_node, from_qpn, to_qpn, opcode, ack_requested, psn, .. } = *p;
        let PacketView { remote_addr, rkey, message_len, imm, syndrome, msn, compare, operand, .. } = *p;
        assert_ne!(from_node, to_node);
        self.0.borrow_mut().push([
            opcode as u64,
            from_qpn.into(),
            to_qpn.into(),
            ack_requested.into(),
            psn.into(),
            remote_addr,
            rkey.into(),
            message_len.into(),
            imm.into(),
            syndrome.into(),
            msn.into(),
            compare,
            operand,
            p.payload.len() as u64,
        ]);
    }
}

#[test]
fn packets_are_told_with_the_fields_that_are_on_the_wire_and_no_others() {
    let mut lab = Lab::new(2);
    let tune = |s: &mut EndpointSpec| (s.mtu, s.timeout) = (Mtu::B256, 8);
    let (_, b) = (lab.pair(0, 1), lab.pair_with(1, 0, tune, tune).1);
    // Endpoint 1 of node 0 talks to endpoint 1 of node 1.
    let (a, b) = (b, End { node: 1, ep: EpId(1) });
    let fields = Fields::default();
    lab.fabric.set_tap(Some(Box::new(fields.clone())));
    lab.put(1, 0, &7u64.to_le_bytes());
    let (to, key) = (lab.at(1, 0), lab.at(1, 0).rkey.0);
    lab.go(b, &[recv(9, &[]), recv(9, &[])]);
    for work in [
        write(1, &[lab.piece(0, 0, 300)], lab.at(1, 512)),
        read(2, &[lab.piece(0, 0, 600)], to),
        swap(3, lab.piece(0, 0, 8), to, 7, 9),
        send(4, &[]).imm(0xfeed),
        write(5, &[], to).imm(0xbeef),
    ] {
        lab.go(a, &[work]);
        lab.run();
    }
    use Opcode::*;
    let fields = fields.0.take();
    let first = fields[0][4];
    let psn = |n: u64| (first + n) & 0xff_ffff;
    let row = |opcode: Opcode, ack: u64, n: u64| {
        let mut row = [0; 14];
        (row[0], row[1], row[2], row[3], row[4]) = (opcode as u64, 0x12, 0x12, ack, psn(n));
        row
    };
    let with = |mut row: [u64; 14], fields: &[(usize, u64)]| {
        fields.iter().for_each(|(i, value)| row[*i] = *value);
        row
    };
    let (addr, rkey, len, imm, syndrome, msn, compare, operand, payload) = (5, 6, 7, 8, 9, 10, 11, 12, 13);
    let expected = [
        with(row(WriteFirst, 0, 0), &[(addr, to.addr + 512), (rkey, key), (len, 300), (payload, 256)]),
        with(row(WriteLast, 1, 1), &[(payload, 44)]),
        with(row(Acknowledge, 0, 1), &[(syndrome, 0x1f), (msn, 1)]),
        with(row(ReadRequest, 1, 2), &[(addr, to.addr), (rkey, key), (len, 600)]),
        with(row(ReadResponseFirst, 0, 2), &[(syndrome, 0x1f), (msn, 2), (payload, 256)]),
        with(row(ReadResponseMiddle, 0, 3), &[(payload, 256)]),
        with(row(ReadResponseLast, 0, 4), &[(syndrome, 0x1f), (msn, 2), (payload, 88)]),
        with(row(CompareSwap, 1, 5), &[(addr, to.addr), (rkey, key), (compare, 7), (operand, 9)]),
        with(row(AtomicAcknowledge, 0, 5), &[(syndrome, 0x1f), (msn, 3), (compare, 7)]),
        with(row(SendOnlyImm, 1, 6), &[(imm, 0xfeed)]),
        with(row(Acknowledge, 0, 6), &[(syndrome, 0x1f), (msn, 4)]),
        with(row(WriteOnlyImm, 1, 7), &[(addr, to.addr), (rkey, key), (imm, 0xbeef)]),
        with(row(Acknowledge, 0, 7), &[(syndrome, 0x1f), (msn, 5)]),
    ];
    for (n, (told, expected)) in fields.iter().zip(&expected).enumerate() {
        assert_eq!(told, expected, "packet {n}");
    }
    assert_eq!(fields.len(), expected.len());
}
