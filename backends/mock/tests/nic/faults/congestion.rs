//! Congestion, modelled and not validated: PFC pause, incast before a shallow buffer, ECN marks and slower senders.

use wavetank_contract::*;
use wavetank_mock::{Mark, Opcode, Profile, StepKind};

use super::*;

/// Three senders and one receiver, node 0: each WRITEs 50,000 bytes there, again and again, at the same time.
fn incast(cause: impl FnOnce(&mut Lab)) -> Lab {
    const LEN: u32 = 50_000;
    let mut lab = Lab::of(4, Profile::CX6, Seeded::new(1));
    let tune = |s: &mut EndpointSpec| (s.mtu, s.timeout) = (Mtu::B1024, 8);
    let ends: Vec<End> = (1..4).map(|node| lab.pair_with(node, 0, tune, tune).0).collect();
    cause(&mut lab);
    for end in &ends {
        let at = u64::from(LEN) * end.node as u64;
        let works: Vec<W> =
            (0..40).map(|i| write(i, &[lab.piece(end.node, 0, LEN)], lab.at(0, at))).collect();
        lab.go(*end, &works);
        lab.expect_copy(end.node, 0, 0, at as usize, LEN as usize);
    }
    lab.run();
    for end in ends {
        assert_good(&lab.ends(end.node), 0..40);
    }
    lab.check();
    lab
}

/// When the last packet was delivered.
fn took(lab: &Lab) -> u64 {
    lab.steps.iter().filter(|s| matches!(s.kind, StepKind::Delivered(_))).map(|s| s.at.0).max().unwrap()
}

#[test]
fn what_does_not_fit_a_shallow_buffer_is_dropped_and_repeated() {
    let deep = incast(|lab| lab.fabric.shallow_buffer(0, Some(8 << 20)));
    assert_eq!(passed(&deep), [], "it fits");
    let none = incast(|_| ());
    assert_eq!(passed(&none), []);
    let small = incast(|lab| lab.fabric.shallow_buffer(0, Some(8_000)));
    assert!(small.fabric.passed(Mark::BufferOverflow) > 10);
    assert!(small.count(StepKind::Dropped(Mark::BufferOverflow, Opcode::WriteMiddle)) > 10);
    assert!(took(&small) > 2 * took(&deep), "{} and {}", took(&small), took(&deep));
    let healed = incast(|lab| {
        lab.fabric.shallow_buffer(0, Some(8_000));
        lab.fabric.heal();
    });
    assert_eq!(healed.steps, none.steps, "deep again");
}

#[test]
fn a_deep_buffer_takes_packets_as_fast_as_none() {
    let (deep, none) = (incast(|lab| lab.fabric.shallow_buffer(0, Some(8 << 20))), incast(|_| ()));
    assert!(took(&deep).abs_diff(took(&none)) < took(&none) / 10, "{} and {}", took(&deep), took(&none));
    assert_eq!(deep.delivered(Opcode::WriteMiddle), none.delivered(Opcode::WriteMiddle));
}

#[test]
fn one_sender_alone_congests_nothing() {
    let (mut lab, a, _) = pair_of(Profile::CX6, 1);
    lab.fabric.shallow_buffer(1, Some(4_000));
    lab.fabric.mark_congestion(1, true);
    traffic(&mut lab, a);
    assert_traffic(&mut lab);
    assert_eq!(passed(&lab), []);
}

#[test]
fn packets_that_queue_are_marked_and_their_senders_slow_down() {
    let quiet = incast(|_| ());
    let marked = incast(|lab| lab.fabric.mark_congestion(0, true));
    assert!(marked.fabric.passed(Mark::EcnMarked) > 10);
    let cuts = marked.fabric.passed(Mark::RateCut);
    assert!((3..=3 * (took(&marked) / 50_000 + 1)).contains(&cuts), "each sender once per interval: {cuts}");
    assert_eq!(passed(&marked), [Mark::EcnMarked, Mark::RateCut], "nothing is lost");
    assert!(took(&marked) > took(&quiet), "{} and {}", took(&marked), took(&quiet));
    let healed = incast(|lab| {
        lab.fabric.mark_congestion(0, true);
        lab.fabric.heal();
    });
    assert_eq!(healed.steps, quiet.steps);
}

#[test]
fn a_paused_port_holds_up_queue_pairs_that_are_innocent() {
    let mut lab = Lab::new(3);
    let (guilty, _) = lab.pair(0, 1);
    let (innocent, _) = lab.pair(0, 2);
    let (other, _) = lab.pair(1, 2);
    lab.fabric.pause_port(0, 500_000);
    for (end, to, id) in [(guilty, 1, 1), (innocent, 2, 2), (other, 2, 3)] {
        lab.go(end, &[write(id, &[lab.piece(end.node, 0, 100)], lab.at(to, id * 1000))]);
        lab.expect_copy(end.node, 0, to, id as usize * 1000, 100);
    }
    lab.run_until(Instant(499_999));
    assert_eq!((lab.ends(0), lab.ends(1)), (vec![], vec![(3, Status::Success)]), "only others get through");
    lab.run();
    assert_good(&lab.ends(0), [1, 2]);
    lab.check();
    assert_eq!(lab.fabric.passed(Mark::PfcPaused), 1);
    assert_eq!(lab.count(StepKind::TimedOut), 0);
}

#[test]
fn a_pause_that_nobody_meets_and_one_that_is_healed_hold_up_nothing() {
    let (mut lab, a, _) = pair(0);
    lab.fabric.pause_port(0, 500);
    lab.run_until(Instant(1_000));
    traffic(&mut lab, a);
    assert_traffic(&mut lab);
    assert_eq!(passed(&lab), []);
    let (mut lab, a, _) = pair(0);
    lab.fabric.pause_port(0, 1_000_000_000);
    traffic(&mut lab, a);
    lab.run_until(Instant(10_000));
    assert_eq!(lab.fabric.passed(Mark::PfcPaused), 1);
    lab.fabric.heal();
    assert_traffic(&mut lab);
    let last = lab.steps.iter().map(|s| s.at.0).max().unwrap();
    assert!(last < 100_000, "{last}");
}

#[test]
fn a_storm_of_pauses_that_lasts_looks_like_death() {
    let (mut lab, a, b) = pair(0);
    lab.fabric.pause_port(1, 100 * timeout_ns(8));
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
    assert_eq!(lab.state(b), QpState::Rts);
    assert_eq!(lab.fabric.passed(Mark::PfcPaused), 1);
    lab.expect_copy(0, 0, 1, 0, 100);
    lab.check();
}
