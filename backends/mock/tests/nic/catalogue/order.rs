//! Order and visibility.

use wavetank_contract::*;
use wavetank_mock::{Mark, Opcode, Profile, StepKind};

use crate::lab::*;

const PLACED: [Mark; 2] = [Mark::PlacedOutOfOrder, Mark::Torn];

/// Touching a source before its work completes sends mixed generations: what was lost is read from memory again.
#[test]
fn a_source_changed_before_completion_arrives_in_mixed_generations() {
    for (lose, touch, changed) in [(false, true, false), (true, false, false), (true, true, true)] {
        let mut lab = Lab::new(2);
        let (a, _) = lab.pair_with(0, 1, |s| s.mtu = Mtu::B256, |s| s.mtu = Mtu::B256);
        let older = lab.get(0, 0, 2560);
        let newer = fresh(3, 2560);
        lab.fabric.link(0, 1).lose_after = lose.then_some(4);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 2560)], lab.at(1, 0))]);
        lab.run_to(StepKind::Delivered(Opcode::WriteMiddle));
        if lose {
            lab.run_to(StepKind::Lost(Opcode::WriteMiddle));
        } else {
            lab.run_to(StepKind::Delivered(Opcode::WriteLast));
        }
        if touch {
            lab.put(0, 0, &newer);
        }
        lab.run();
        assert_good(&lab.ends(0), [1]);
        let at = if lose && touch { 1024 } else { 2560 };
        lab.expect(1, 0, &older[..at]);
        lab.expect(1, at, &newer[at..]);
        lab.check();
        assert_eq!(lab.marks([Mark::SourceChanged])[0] > 0, changed);
    }
}

/// Writes a large message in disorder, and looks at the target at every step.
fn look(on: bool, seed: u64, with_read: bool) -> (Lab, bool) {
    const LEN: usize = 40_000;
    let mut lab = Lab::of(2, Profile::CX6, Seeded::new(seed));
    let (a, _) = lab.pair(0, 1);
    let target = usize::from(!with_read);
    lab.fabric.place_out_of_order(target as u16, on);
    let expected = lab.get(1 - target, 100, LEN);
    let before = lab.get(target, 300, LEN);
    let local = lab.piece(0, if with_read { 300 } else { 100 }, LEN as u32);
    let remote = lab.at(1, if with_read { 100 } else { 300 });
    lab.go(a, &[if with_read { read(1, &[local], remote) } else { write(1, &[local], remote) }]);
    let mut last_byte_first = false;
    while let Some(step) = lab.fabric.step(&mut *lab.chance) {
        lab.steps.push(step);
        let now = lab.get(target, 300, LEN);
        for (word, bytes) in now.chunks(4).enumerate() {
            let range = word * 4..(word * 4 + 4).min(LEN);
            assert!(bytes == &expected[range.clone()] || bytes == &before[range], "foreign bytes");
        }
        let whole = now == expected;
        last_byte_first |= !whole && now[LEN - 8..] == expected[LEN - 8..];
        let mut out = Completions::with_capacity(8);
        let cq = lab.nodes[0].cq;
        if lab.nodes[0].nic.poll(cq, &mut out) > 0 {
            assert_eq!(out.as_slice()[0].status, Status::Success);
            assert!(whole, "complete means that all of it is visible");
        }
    }
    lab.expect(target, 300, &expected);
    lab.check();
    (lab, last_byte_first)
}

#[test]
fn polling_the_last_byte_is_legal_only_where_data_is_placed_in_order() {
    for with_read in [false, true] {
        let (lab, last_byte_first) = look(false, 1, with_read);
        assert_eq!((lab.marks(PLACED), last_byte_first), ([0, 0], false));
        let (mut passed, mut fooled) = ([0, 0], 0);
        for seed in 0..20 {
            let (lab, last_byte_first) = look(true, seed, with_read);
            let marks = lab.marks(PLACED);
            passed = [passed[0] + marks[0], passed[1] + marks[1]];
            fooled += u32::from(last_byte_first);
        }
        assert!(passed[0] > 0 && passed[1] > 0 && fooled > 0, "{passed:?} {fooled}");
    }
}

/// A peer's READ sees a small WRITE of somebody else half done, split at a word's border.
#[test]
fn a_reader_sees_a_placement_half_done_and_never_half_a_word() {
    let mut torn = 0;
    for seed in 0..60 {
        let mut lab = Lab::of(3, Profile::IDEAL, Seeded::new(seed));
        let (writer, _) = lab.pair(0, 2);
        let (reader, _) = lab.pair(1, 2);
        lab.fabric.place_out_of_order(2, true);
        let (before, after) = (lab.get(2, 0, 64), lab.get(0, 0, 64));
        lab.go(writer, &[write(1, &[lab.piece(0, 0, 64)], lab.at(2, 0))]);
        for i in 0..20 {
            lab.go(reader, &[read(i, &[lab.piece(1, i * 64, 64)], lab.at(2, 0))]);
        }
        lab.run();
        assert_good(&lab.ends(0), [1]);
        for i in 0..20 {
            let seen = lab.get(1, i * 64, 64);
            let old = seen.chunks(8).zip(before.chunks(8)).filter(|(a, b)| a == b).count();
            let new = seen.chunks(8).zip(after.chunks(8)).filter(|(a, b)| a == b).count();
            assert_eq!(old + new, 8, "half a word");
            torn += u32::from(old > 0 && new > 0);
        }
        lab.expect_copy(0, 0, 2, 0, 64);
    }
    assert!(torn > 0);
}

/// What follows on the same queue pair finds everything before it in place.
#[test]
fn what_follows_on_the_same_endpoint_sees_all_that_was_placed_before_it() {
    for seed in 0..30 {
        let mut lab = Lab::of(2, Profile::IDEAL, Seeded::new(seed));
        let (a, b) = lab.pair(0, 1);
        lab.fabric.place_out_of_order(1, true);
        lab.go(b, &[recv(9, &[])]);
        lab.go(
            a,
            &[
                write(1, &[lab.piece(0, 0, 30_000)], lab.at(1, 0)),
                read(2, &[lab.piece(0, 40_000, 30_000)], lab.at(1, 0)),
                write(3, &[lab.piece(0, 80_000, 30_000)], lab.at(1, 50_000)).imm(7),
            ],
        );
        lab.run();
        assert_good(&lab.ends(0), [1, 2, 3]);
        assert_good(&lab.ends(1), [9]);
        lab.expect_copy(0, 0, 1, 0, 30_000);
        lab.expect_copy(0, 0, 0, 40_000, 30_000);
        lab.expect_copy(0, 80_000, 1, 50_000, 30_000);
        lab.check();
    }
}

/// The queue pair dies, the region goes, or packets are lost on the way: what was kept back is placed in time or never, and
/// outside the message no byte changes.
#[test]
fn disorder_and_other_trouble_lose_nothing_and_touch_nothing_else() {
    const LEN: usize = 30_000;
    for seed in 0..60 {
        for trouble in 0..4 {
            let mut lab = Lab::of(2, Profile::CX6, Seeded::new(seed));
            let short = |s: &mut EndpointSpec| s.timeout = 8;
            let (a, b) = lab.pair_with(0, 1, short, short);
            let target = lab.extra(1, 65_536, 0, Access::ALL);
            lab.nodes[1].nic.register(&target.mem, PdId(0), Access::LOCAL).unwrap();
            (0..2).for_each(|node| lab.fabric.place_out_of_order(node, true));
            let to = RemoteAddr { addr: target.to().addr + 8, ..target.to() };
            lab.go(
                a,
                &[
                    write(1, &[lab.piece(0, 0, LEN as u32)], to),
                    read(2, &[lab.piece(0, 100_000, LEN as u32)], lab.at(1, 0)),
                ],
            );
            for _ in 0..3 + seed % 8 {
                if let Some(step) = lab.fabric.step(&mut *lab.chance) {
                    lab.steps.push(step);
                }
            }
            match trouble {
                0 => lab.nic(b).modify(b.ep, QpState::Err).unwrap(),
                1 => lab.nodes[1].nic.deregister(target.mr).unwrap(),
                2 => (lab.fabric.link(0, 1).loss_one_in, lab.fabric.link(1, 0).loss_one_in) = (5, 5),
                _ => {}
            }
            let mut at_death = vec![0; 65_536];
            target.mem.read(0, &mut at_death);
            lab.run();
            let ends = lab.ends(0);
            let mut now = vec![0; 65_536];
            target.mem.read(0, &mut now);
            let source = lab.get(0, 0, LEN);
            assert!(now[..8].iter().chain(&now[8 + LEN..]).all(|b| *b == FILL), "outside the message");
            let inside = now[8..8 + LEN].iter().zip(&source);
            assert!(inside.clone().all(|(now, new)| *now == *new || *now == FILL));
            if ends[0].1 == Status::Success {
                assert!(inside.clone().all(|(now, new)| now == new), "complete means placed");
            }
            if trouble < 2 {
                assert!(now == at_death, "nothing is placed once it is dead");
            }
            if ends[1].1 == Status::Success {
                lab.expect_copy(1, 0, 0, 100_000, LEN);
                lab.check();
            }
            if trouble == 3 {
                assert_good(&ends, [1, 2]);
            }
        }
    }
}
