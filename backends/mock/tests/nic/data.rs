//! Bytes: every verb, every size around a packet, every MTU, and nothing outside the target changes.

use wavetank_contract::*;
use wavetank_mock::{Opcode, StepKind, digest};

use crate::lab::*;

const MTUS: [Mtu; 5] = [Mtu::B256, Mtu::B512, Mtu::B1024, Mtu::B2048, Mtu::B4096];

fn sizes(mtu: u32) -> [u32; 10] {
    [0, 1, 7, 8, mtu - 1, mtu, mtu + 1, 2 * mtu, 5 * mtu + 3, 9 * mtu]
}

fn each_size(mut case: impl FnMut(&mut Lab, End, End, u32)) {
    for mtu in MTUS {
        for len in sizes(mtu.bytes()) {
            let mut lab = Lab::new(2);
            let (a, b) = lab.pair_with(0, 1, |s| s.mtu = mtu, |s| s.mtu = mtu);
            case(&mut lab, a, b, len);
            lab.run();
            lab.check();
            assert!(lab.events(0).is_empty() && lab.events(1).is_empty());
        }
    }
}

#[test]
fn a_write_of_any_size_lands_and_touches_nothing_else() {
    each_size(|lab, a, _, len| {
        lab.go(a, &[write(1, &[lab.piece(0, 4099, len)], lab.at(1, 8191))]);
        lab.expect_copy(0, 4099, 1, 8191, len as usize);
        lab.run();
        let done = lab.poll(0);
        assert_eq!((done.len(), done[0].status, done[0].len), (1, Status::Success, len));
        assert_eq!((done[0].kind, done[0].imm, done[0].vendor), (OpKind::Write, None, 0));
        assert!(lab.poll(1).is_empty(), "a WRITE is silent at the target");
    });
}

#[test]
fn a_read_of_any_size_brings_what_the_owner_put_there() {
    each_size(|lab, a, _, len| {
        lab.go(a, &[read(1, &[lab.piece(0, 4099, len)], lab.at(1, 8191))]);
        lab.expect_copy(1, 8191, 0, 4099, len as usize);
        lab.run();
        let done = lab.poll(0);
        assert_eq!((done.len(), done[0].status, done[0].len), (1, Status::Success, len));
        assert_eq!(done[0].kind, OpKind::Read);
    });
}

#[test]
fn a_send_of_any_size_meets_its_receive() {
    each_size(|lab, a, b, len| {
        lab.go(b, &[recv(9, &[lab.piece(1, 8191, len + 5)])]);
        lab.go(a, &[send(1, &[lab.piece(0, 4099, len)])]);
        lab.expect_copy(0, 4099, 1, 8191, len as usize);
        lab.run();
        assert_good(&lab.ends(0), [1]);
        let got = lab.poll(1);
        assert_eq!((got.len(), got[0].id.0, got[0].status), (1, 9, Status::Success));
        assert_eq!((got[0].len, got[0].imm, got[0].kind), (len, None, OpKind::Send));
        assert_eq!(got[0].ep, b.ep);
    });
}

#[test]
fn immediates_arrive_with_sends_and_with_writes_that_spend_a_receive() {
    each_size(|lab, a, b, len| {
        let spare = lab.piece(1, 100_000, 4096 * 10);
        lab.go(b, &[recv(8, &[]), recv(9, &[spare])]);
        let from = [lab.piece(0, 4099, len)];
        lab.go(a, &[write(1, &from, lab.at(1, 8191)).imm(0xfeed_0001), send(2, &from).imm(0)]);
        lab.expect_copy(0, 4099, 1, 8191, len as usize);
        lab.expect_copy(0, 4099, 1, 100_000, len as usize);
        lab.run();
        assert_good(&lab.ends(0), [1, 2]);
        let got: Vec<_> = lab.poll(1).iter().map(|c| (c.id.0, c.kind, c.len, c.imm)).collect();
        let first = (8, OpKind::WriteImm, len, Some(0xfeed_0001));
        assert_eq!(got, [first, (9, OpKind::Send, len, Some(0))]);
    });
}

#[test]
fn messages_are_cut_into_the_packets_of_the_specification() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair_with(0, 1, |s| s.mtu = Mtu::B256, |s| s.mtu = Mtu::B256);
    let local = [lab.piece(0, 0, 1000)];
    lab.go(a, &[write(1, &local, lab.at(1, 0)), read(2, &local, lab.at(1, 0))]);
    lab.run();
    let kinds: Vec<_> = lab.steps.iter().filter(|s| s.len > 0).map(|s| (s.kind, s.len)).collect();
    let d = StepKind::Delivered;
    let expected = [
        (d(Opcode::WriteFirst), 256),
        (d(Opcode::WriteMiddle), 256),
        (d(Opcode::WriteMiddle), 256),
        (d(Opcode::WriteLast), 232),
        (d(Opcode::ReadResponseFirst), 256),
        (d(Opcode::ReadResponseMiddle), 256),
        (d(Opcode::ReadResponseMiddle), 256),
        (d(Opcode::ReadResponseLast), 232),
    ];
    assert_eq!(kinds, expected);
    let bytes = lab.get(0, 0, 256);
    assert_eq!(lab.steps[0].digest, digest(&bytes), "steps tell what was carried");
}

#[test]
fn sixteen_pieces_some_empty_are_gathered_and_scattered_in_order() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair_with(0, 1, |s| s.mtu = Mtu::B256, |s| s.mtu = Mtu::B256);
    let lens = [0, 1, 300, 0, 7, 8, 256, 255, 257, 0, 3, 511, 1, 0, 1, 0];
    let total: u32 = lens.iter().sum();
    let pieces: Vec<Sge> = (0..16).map(|i| lab.piece(0, 60_000 - i * 1000, lens[i as usize])).collect();
    let receive: Vec<Sge> = (0..16).map(|i| lab.piece(1, 20_003 + i * 1100, lens[15 - i as usize])).collect();
    let message: Vec<u8> =
        pieces.iter().flat_map(|p| lab.get(0, p.offset as usize, p.len as usize)).collect();

    lab.go(b, &[recv(9, &receive)]);
    lab.go(a, &[write(1, &pieces, lab.at(1, 1)), send(2, &pieces)]);
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    assert_eq!(lab.poll(1)[0].len, total);
    lab.expect(1, 1, &message);
    let mut rest = &message[..];
    for p in &receive {
        let (now, later) = rest.split_at(p.len as usize);
        lab.expect(1, p.offset as usize, now);
        rest = later;
    }
    lab.check();

    lab.go(a, &[read(3, &pieces, lab.at(1, 30_000))]);
    let message = lab.get(1, 30_000, total as usize);
    lab.run();
    assert_good(&lab.ends(0), [3]);
    let mut rest = &message[..];
    for p in &pieces {
        let (now, later) = rest.split_at(p.len as usize);
        lab.expect(0, p.offset as usize, now);
        rest = later;
    }
    lab.check();
}

#[test]
fn inline_bytes_are_taken_when_posted() {
    let mut lab = Lab::new(2);
    let (a, b) = lab.pair(0, 1);
    lab.go(b, &[recv(9, &[lab.piece(1, 0, 300)])]);
    for len in [0usize, 1, 219, 220] {
        let mut bytes = fresh(len as u64, len);
        lab.expect(1, 1000 * (len + 1), &bytes);
        let work = Work {
            id: WorkId(len as u64),
            op: Op::Write { remote: lab.at(1, 1000 * (len as u64 + 1)), imm: None },
            data: Data::Inline(&bytes),
            signalled: true,
            fence: false,
        };
        lab.nodes[0].nic.post(a.ep, &work).unwrap();
        bytes.fill(0xee);
    }
    lab.go(a, &[send(7, &[]).inline(b"a message")]);
    lab.run();
    lab.expect(1, 0, b"a message");
    assert_good(&lab.ends(0), [0, 1, 219, 220, 7]);
    lab.check();
}

#[test]
fn compare_and_swap_answers_the_former_value_and_swaps_only_on_a_match() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    lab.put(1, 800, &7u64.to_le_bytes());
    let here = |lab: &Lab, i: u64| lab.piece(0, i * 8, 8);
    let to = lab.at(1, 800);
    let works = [
        swap(1, here(&lab, 0), to, 7, u64::MAX),
        swap(2, here(&lab, 1), to, 7, 1),
        swap(3, here(&lab, 2), to, u64::MAX, 5),
    ];
    lab.go(a, &works);
    lab.run();
    let done = lab.poll(0);
    assert!(done.iter().all(|c| (c.status, c.len, c.kind) == (Status::Success, 8, OpKind::CompareSwap)));
    lab.expect(1, 800, &5u64.to_le_bytes());
    for (i, former) in [7, u64::MAX, u64::MAX].into_iter().enumerate() {
        lab.expect(0, i * 8, &former.to_le_bytes());
    }
    lab.check();
}

#[test]
fn fetch_and_add_wraps_and_answers_the_former_value() {
    let mut lab = Lab::new(2);
    let (a, _) = lab.pair(0, 1);
    lab.put(1, 64, &(u64::MAX - 1).to_le_bytes());
    let works: Vec<W> = (0..4).map(|i| add(i, lab.piece(0, i * 8, 8), lab.at(1, 64), 1)).collect();
    lab.go(a, &works);
    lab.run();
    assert_good(&lab.ends(0), 0..4);
    for i in 0..4u64 {
        lab.expect(0, i as usize * 8, &(u64::MAX - 1).wrapping_add(i).to_le_bytes());
    }
    lab.expect(1, 64, &2u64.to_le_bytes());
    lab.check();
}

#[test]
fn atomics_of_two_nodes_on_one_word_lose_no_addition() {
    let mut lab = Lab::new(3);
    let (a, _) = lab.pair(0, 2);
    let (b, _) = lab.pair(1, 2);
    lab.put(2, 0, &0u64.to_le_bytes());
    for i in 0..50 {
        lab.go(a, &[add(i, lab.piece(0, 8, 8), lab.at(2, 0), 1)]);
        lab.go(b, &[add(i, lab.piece(1, 8, 8), lab.at(2, 0), 1000)]);
    }
    lab.run();
    assert_eq!(lab.word(2, 0), 50_050);
}

#[test]
fn a_node_reaches_its_own_memory_through_the_loop() {
    let mut lab = Lab::new(1);
    let (a, b) = lab.pair(0, 0);
    lab.go(b, &[recv(9, &[lab.piece(0, 50_000, 100)])]);
    let works = [
        write(1, &[lab.piece(0, 0, 10_000)], lab.at(0, 20_000)),
        read(2, &[lab.piece(0, 40_000, 5000)], lab.at(0, 20_001)).fenced(),
        send(3, &[lab.piece(0, 7, 100)]),
    ];
    lab.go(a, &works);
    lab.run();
    lab.expect_copy(0, 0, 0, 20_000, 10_000);
    lab.expect_copy(0, 20_001, 0, 40_000, 5000);
    lab.expect_copy(0, 7, 0, 50_000, 100);
    lab.check();
    let of_a: Vec<_> = lab.ends(0).into_iter().filter(|e| e.0 != 9).collect();
    assert_good(&of_a, [1, 2, 3]);
}

#[test]
fn an_endpoint_may_be_its_own_peer() {
    let mut lab = Lab::new(1);
    let spec = lab.spec(0);
    let a = lab.open(0, &spec);
    let own = lab.nic(a).address(a.ep).unwrap();
    lab.nic(a).connect(a.ep, &own).unwrap();
    lab.go(a, &[recv(9, &[lab.piece(0, 9000, 64)]), send(1, &[lab.piece(0, 0, 64)])]);
    lab.run();
    lab.expect_copy(0, 0, 0, 9000, 64);
    lab.check();
    assert_eq!(lab.ends(0).len(), 2);
}

#[test]
fn sequence_numbers_wrap_in_the_middle_of_a_message() {
    let mut lab = Lab::new(2);
    let (mut spec_a, mut spec_b) = (lab.spec(0), lab.spec(1));
    (spec_a.mtu, spec_b.mtu) = (Mtu::B256, Mtu::B256);
    let (a, b) = (lab.open(0, &spec_a), lab.open(1, &spec_b));
    // Each life of an endpoint starts elsewhere; look for one that starts shortly before the wrap.
    let psn = |lab: &mut Lab| {
        let address = lab.nic(a).address(a.ep).unwrap();
        u32::from_le_bytes(address.as_bytes()[10..14].try_into().unwrap())
    };
    for _ in 0..1_000_000 {
        if psn(&mut lab) >= 0x00ff_fe00 {
            break;
        }
        lab.nic(a).modify(a.ep, QpState::Reset).unwrap();
    }
    assert!(psn(&mut lab) >= 0x00ff_fe00, "lives differ");
    lab.connect(a, b);
    lab.go(
        a,
        &[
            read(1, &[lab.piece(0, 0, 100_000)], lab.at(1, 0)),
            write(2, &[lab.piece(0, 100_000, 100_000)], lab.at(1, 100_000)),
        ],
    );
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    assert!(lab.steps.iter().any(|s| s.psn == 0) && lab.steps.iter().any(|s| s.psn == 0x00ff_ffff));
    lab.expect_copy(1, 0, 0, 0, 100_000);
    lab.expect_copy(0, 100_000, 1, 100_000, 100_000);
    lab.check();
}
