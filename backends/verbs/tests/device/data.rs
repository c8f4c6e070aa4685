//! Every operation, with its data checked at the other side.

use wavetank_contract::{Backend, Data, Mtu, Op, OpKind, Sge, Status, Work, WorkId};

use crate::lab::Pair;

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_message_arrives_with_its_bytes_length_and_immediate() {
    let Some(mut p) = Pair::open() else { return };
    let immediate = p.a.dev.caps().immediate;
    p.a.fill(0, 9000, 1);
    for imm in [None, Some(0xdead_0001)] {
        if imm.is_some() && !immediate {
            continue;
        }
        let take = p.b.piece(4096, 10_000);
        let recv = p.b.post(Op::Recv, &[take]);
        let give = p.a.piece(0, 9000);
        let sent = p.a.post(Op::Send { imm }, &[give]);
        let sent = p.finish(sent);
        assert_eq!((sent.status, sent.kind, sent.len), (Status::Success, OpKind::Send, 9000));
        let got = p.finish_b(recv);
        assert_eq!((got.status, got.kind, got.len, got.imm), (Status::Success, OpKind::Send, 9000, imm));
        assert!(p.b.holds(4096, 9000, 1));
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn writes_and_reads_of_all_sizes_move_exactly_their_bytes() {
    let Some(mut p) = Pair::open() else { return };
    for (i, len) in [0u32, 1, 7, 64, 1024, 1025, 4096, 4097, 65_536, 300_000].into_iter().enumerate() {
        let seed = i as u8;
        p.a.fill(0, 400_000, seed);
        p.b.fill(0, 500_000, 100 + seed);
        let (give, to) = (p.a.piece(5, len), p.remote(1000));
        let id = p.a.post(Op::Write { remote: to, imm: None }, &[give]);
        let done = p.finish(id);
        assert_eq!((done.status, done.kind, done.len), (Status::Success, OpKind::Write, len), "{len} bytes");
        let mut sent = vec![0; len as usize];
        p.a.region.read(5, &mut sent);
        let mut placed = vec![0; len as usize];
        p.b.region.read(1000, &mut placed);
        assert!(sent == placed, "{len} bytes written");
        assert!(p.b.holds(0, 1000, 100 + seed), "before");

        let (take, from) = (p.a.piece(500_000, len), p.remote(1000));
        let id = p.a.post(Op::Read { remote: from }, &[take]);
        let done = p.finish(id);
        assert_eq!((done.status, done.kind, done.len), (Status::Success, OpKind::Read, len), "{len} bytes");
        p.a.region.read(500_000, &mut placed);
        assert!(sent == placed, "{len} bytes read back");
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn a_write_with_an_immediate_spends_a_receive_and_says_so() {
    let Some(mut p) = Pair::open() else { return };
    if !p.a.dev.caps().immediate {
        return;
    }
    let recv = p.b.post(Op::Recv, &[]);
    p.a.fill(0, 5000, 9);
    let (give, remote) = (p.a.piece(0, 5000), p.remote(0));
    let id = p.a.post(Op::Write { remote, imm: Some(77) }, &[give]);
    assert_eq!(p.finish(id).kind, OpKind::WriteImm);
    let got = p.finish_b(recv);
    assert_eq!((got.status, got.kind, got.len, got.imm), (Status::Success, OpKind::WriteImm, 5000, Some(77)));
    assert!(p.b.holds(0, 5000, 9));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn atomics_change_the_word_and_answer_what_was_there() {
    let Some(mut p) = Pair::open() else { return };
    if !p.a.dev.caps().atomics {
        return;
    }
    p.b.region.word(64).set(100);
    let (piece, remote) = (p.a.piece(8, 8), p.remote(64));
    let ops = [
        (Op::FetchAdd { remote, add: 5 }, 100, 105, OpKind::FetchAdd),
        (Op::FetchAdd { remote, add: u64::MAX }, 105, 104, OpKind::FetchAdd),
        (Op::CompareSwap { remote, compare: 104, swap: 7 }, 104, 7, OpKind::CompareSwap),
        (Op::CompareSwap { remote, compare: 104, swap: 9 }, 7, 7, OpKind::CompareSwap),
    ];
    for (op, former, now, kind) in ops {
        let id = p.a.post(op, &[piece]);
        let done = p.finish(id);
        assert_eq!((done.status, done.kind, done.len), (Status::Success, kind, 8));
        assert_eq!((p.a.region.word(8).get(), p.b.region.word(64).get()), (former, now), "{op:?}");
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn pieces_are_gathered_and_scattered_up_to_the_promised_number() {
    let Some(mut p) = Pair::open() else { return };
    let n = p.a.dev.caps().sge_max as u64;
    p.a.fill(0, 4096, 3);
    let gather: Vec<Sge> = (0..n).map(|i| p.a.piece(i * 7, 7)).collect();
    let scatter: Vec<Sge> = (0..n).map(|i| p.b.piece(i * 100, 7)).collect();
    let recv = p.b.post(Op::Recv, &scatter);
    let sent = p.a.post(Op::Send { imm: None }, &gather);
    assert_eq!(p.finish(sent).status, Status::Success);
    assert_eq!(p.finish_b(recv).len as u64, 7 * n);
    for i in 0..n {
        let (mut x, mut y) = ([0; 7], [0; 7]);
        p.a.region.read(i * 7, &mut x);
        p.b.region.read(i * 100, &mut y);
        assert_eq!(x, y, "piece {i}");
    }
    let remote = p.remote(0);
    let read: Vec<Sge> = (0..n).map(|i| p.a.piece(10_000 + i * 50, 3)).collect();
    let id = p.a.post(Op::Read { remote }, &read);
    assert_eq!(p.finish(id).status, Status::Success);
    let (mut x, mut y) = ([0; 3], [0; 3]);
    p.a.region.read(10_000 + (n - 1) * 50, &mut x);
    p.b.region.read((n - 1) * 3, &mut y);
    assert_eq!(x, y);
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn inline_bytes_are_taken_at_the_post_up_to_the_promised_number() {
    let Some(mut p) = Pair::open() else { return };
    let max = p.a.dev.caps().inline_bytes_max as usize;
    for len in [0, 1, max / 2, max] {
        let mut bytes: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5a).collect();
        let sent = bytes.clone();
        let remote = p.remote(0);
        let id = WorkId(1_000_000 + len as u64);
        let work = Work {
            id,
            op: Op::Write { remote, imm: None },
            data: Data::Inline(&bytes),
            signalled: true,
            fence: false,
        };
        p.a.dev.post(p.a.ep, &work).expect("taken");
        bytes.fill(0xff);
        p.a.dev.ring(p.a.ep).expect("taken");
        let done = p.finish(id);
        assert_eq!((done.status, done.len as usize), (Status::Success, len));
        let mut placed = vec![0; len];
        p.b.region.read(0, &mut placed);
        assert!(sent == placed, "{len} inline bytes");
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn unsignalled_works_are_done_and_free_their_places_with_a_later_signalled_one() {
    let Some(mut p) = Pair::shaped(|s| s.send_depth = 8) else { return };
    p.a.fill(0, 4096, 4);
    for round in 0..10u64 {
        for i in 0..8u64 {
            let (piece, remote) = (p.a.piece(i * 8, 8), p.remote(round * 64 + i * 8));
            let pieces = [piece];
            let mut work = p.a.work(Op::Write { remote, imm: None }, &pieces);
            work.signalled = i == 7;
            p.a.dev.post(p.a.ep, &work).expect("a free place");
        }
        p.a.dev.ring(p.a.ep).expect("taken");
        let before = p.a.done.len();
        p.until("the signalled one", |a, _| a.done.len() > before);
        assert_eq!(p.a.done.len(), before + 1);
        let (mut x, mut y) = ([0; 64], [0; 64]);
        p.a.region.read(0, &mut x);
        p.b.region.read(round * 64, &mut y);
        assert_eq!(x, y);
    }
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn works_of_one_endpoint_complete_in_order_and_a_fenced_one_sees_the_reads_before_it() {
    let Some(mut p) = Pair::open() else { return };
    p.b.fill(0, 65_536, 5);
    let (take, from) = (p.a.piece(100_000, 65_536), p.remote(0));
    let read_pieces = [take];
    let read = p.a.work(Op::Read { remote: from }, &read_pieces);
    p.a.dev.post(p.a.ep, &read).expect("taken");
    // Writes back what the READ brought: with the fence it cannot overtake it.
    let to = p.remote(200_000);
    let write_pieces = [take];
    let mut write = p.a.work(Op::Write { remote: to, imm: None }, &write_pieces);
    write.fence = true;
    p.a.dev.post(p.a.ep, &write).expect("taken");
    p.a.dev.ring(p.a.ep).expect("taken");
    p.until("both", |a, _| a.done.len() == 2);
    assert_eq!(p.a.statuses(), [(read.id.0, Status::Success), (write.id.0, Status::Success)]);
    assert!(p.b.holds(200_000, 65_536, 5));
}

#[test]
#[ignore = "needs devices named in WAVETANK_DEVICES"]
fn the_smaller_mtu_of_both_ends_is_used() {
    let Some((a, b)) = crate::lab::devices() else { return };
    let open = |name: &str, mtu| {
        let config = wavetank_verbs::VerbsConfig::new(name);
        let dev = wavetank_verbs::VerbsDevice::open(&config).unwrap_or_else(|e| panic!("{e}"));
        crate::lab::Side::with(dev, 64, |s| s.mtu = mtu)
    };
    let mut p = Pair::connected(open(&a, Mtu::B4096), open(&b, Mtu::B256));
    p.a.fill(0, 100_000, 6);
    let (give, remote) = (p.a.piece(0, 100_000), p.remote(0));
    let id = p.a.post(Op::Write { remote, imm: None }, &[give]);
    assert_eq!(p.finish(id).status, Status::Success);
    assert!(p.b.holds(0, 100_000, 6));
}
