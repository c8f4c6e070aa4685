//! Peers that crash, and come back with other numbers or with the same.

use wavetank_contract::error::*;
use wavetank_contract::*;
use wavetank_mock::{Mark, Opcode, SCRIBBLE, StepKind};

use super::*;

/// The same memory for another life of a node: what `Lab::of` gives a node, with the memory as it is expected to be.
fn revive(lab: &mut Lab, node: usize, same: bool) {
    lab.nodes[node].nic = lab.fabric.restart(node as u16, same);
    let bytes: Vec<u8> = (0..MEM).map(|i| original(node, i)).collect();
    let nic = &mut lab.nodes[node].nic;
    let mem = nic.allocate(&RegionSpec::new(MEM as u64)).unwrap();
    let mr = nic.register(&mem, PdId(0), Access::ALL).unwrap();
    let cq = nic.open_cq(4096).unwrap();
    let key = nic.export(mr).unwrap();
    let remote = nic.import(EpId(0), &key).unwrap();
    let n = &mut lab.nodes[node];
    (n.mem, n.mr, n.cq, n.remote) = (mem, mr, cq, remote);
    lab.put(node, 0, &bytes);
}

#[test]
fn a_crashed_peer_is_silence_and_its_memory_is_lost() {
    let (mut lab, a, b) = pair(0);
    lab.go(
        a,
        &[write(1, &[lab.piece(0, 0, 100_000)], lab.at(1, 0)), read(2, &[lab.piece(0, 0, 8)], lab.at(1, 0))],
    );
    lab.run_until(Instant(2_000));
    lab.fabric.crash(1);
    lab.fabric.crash(1);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr), (2, Status::WrFlushErr)]);
    assert_eq!((lab.events(0), lab.state(a)), (vec![], QpState::Err), "nobody tells it but silence");
    assert_eq!(lab.fabric.passed(Mark::Crashed), 1);
    assert!(lab.fabric.passed(Mark::NobodyThere) > 7);
    let (_, words, _) = lab.nodes[1].mem.words(0, MEM);
    assert!(words.iter().all(|word| word.get() == SCRIBBLE), "its memory is gone");
    assert_eq!(lab.nodes[1].nic.state(b.ep), None);
}

#[test]
fn whoever_still_has_a_handle_to_a_crashed_device_finds_nothing_behind_it() {
    let (mut lab, a, b) = pair(0);
    let gone = lab.extra(1, 4096, 0, Access::ALL).mr;
    lab.go(b, &[recv(1, &[])]);
    lab.go(a, &[send(2, &[])]);
    lab.run();
    let piece = lab.piece(1, 0, 8);
    lab.fabric.crash(1);
    assert!(matches!(lab.post(b, &recv(1, &[piece])), Err(PostError::Gone(_))));
    assert!(lab.nic(b).ring(b.ep).is_err());
    let (cq, spec) = (lab.nodes[1].cq, lab.spec(1));
    assert_eq!(lab.poll_cq(1, cq), [], "what it had to say was never polled");
    assert_eq!(lab.events(1), []);
    let nic = &mut lab.nodes[1].nic;
    assert_eq!(nic.state(b.ep), None);
    assert_eq!(nic.address(b.ep), None);
    assert!(nic.open(&spec).is_err() && nic.open_cq(8).is_err());
    assert!(nic.modify(b.ep, QpState::Err).is_err());
    assert_eq!(nic.deregister(gone), Err(DeregisterError::Unknown(gone)));
    let mem = nic.allocate(&RegionSpec::new(4096)).unwrap();
    assert!(nic.register(&mem, PdId(0), Access::ALL).is_err());
    nic.close(b.ep);
    assert_eq!(nic.wake(), Wake::Idle);
    lab.run();
}

#[test]
fn a_node_that_comes_back_with_new_numbers_repeats_none_of_the_old() {
    let (mut lab, _, b) = pair(0);
    let old = (b.ep, lab.nodes[1].mr, lab.at(1, 0));
    let address = lab.nic(b).address(b.ep).unwrap();
    for life in 1..4 {
        lab.fabric.crash(1);
        revive(&mut lab, 1, false);
        let (a, b) = lab.pair_with(0, 1, tune, tune);
        assert_ne!((b.ep, lab.nodes[1].mr), (old.0, old.1));
        assert_ne!(lab.nic(b).address(b.ep).unwrap().as_bytes()[6..10], address.as_bytes()[6..10]);
        traffic(&mut lab, a);
        lab.run();
        assert_good(&lab.ends(0), 0..40);
        lab.check();
        // The key of the first life is dead for good.
        let (a, _) = lab.pair_with(0, 1, tune, tune);
        lab.go(a, &[write(99, &[lab.piece(0, 0, 8)], old.2)]);
        lab.run();
        assert_eq!(lab.ends(0), [(99, Status::RemAccessErr)]);
        lab.check();
        assert_eq!(lab.fabric.passed(Mark::RestartedNew), life);
    }
}

#[test]
fn a_life_with_new_numbers_repeats_none_of_any_life_before_it() {
    let (mut lab, ..) = pair(0);
    let first = lab.at(1, 0);
    revive(&mut lab, 1, true);
    assert_eq!(lab.at(1, 0), first, "a life with the same numbers repeats them");
    lab.fabric.crash(1);
    // This one opens and registers nothing, so its own numbers say nothing of what is used up.
    lab.nodes[1].nic = lab.fabric.restart(1, true);
    revive(&mut lab, 1, false);
    assert_ne!(lab.at(1, 0), first);
    let spec = lab.spec(1);
    assert_eq!(lab.open(1, &spec).ep, EpId(1));
    assert_eq!((lab.fabric.passed(Mark::RestartedSame), lab.fabric.passed(Mark::Crashed)), (2, 3));
}

#[test]
fn stale_packets_are_never_carried_out_by_a_queue_pair_of_the_same_number() {
    // Every kind of request of an earlier life meets the queue pair that got its peer's number.
    for verb in 0..4 {
        let (mut lab, old, first) = pair(0);
        lab.put(1, 0, &5u64.to_le_bytes());
        let piece = lab.piece(0, 0, 8);
        let to = lab.at(1, 0);
        let work = match verb {
            0 => write(1, &[piece], to),
            1 => send(1, &[piece]),
            2 => add(1, piece, to, 1),
            _ => read(1, &[piece], to),
        };
        let before = lab.nic(first).address(first.ep).unwrap();
        lab.fabric.crash(1);
        revive(&mut lab, 1, true);
        assert_eq!(lab.at(1, 0), to, "keys repeat");
        let (new, second) = lab.pair_with(0, 1, tune, tune);
        let after = lab.nic(second).address(second.ep).unwrap();
        assert_eq!(before.as_bytes()[..10], after.as_bytes()[..10], "numbers repeat");
        assert_ne!(before.as_bytes()[10..], after.as_bytes()[10..], "sequence numbers do not");
        lab.go(second, &[recv(7, &[lab.piece(1, 500, 8)])]);
        lab.put(1, 0, &5u64.to_le_bytes());
        lab.go(old, &[work]);
        lab.run();
        lab.check();
        assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)], "verb {verb}");
        assert_eq!(lab.ends(1), [], "nothing was received");
        assert_eq!(lab.fabric.passed(Mark::RestartedSame), 1);
        let stale = lab.steps.iter().filter(|s| s.node == 1 && matches!(s.kind, StepKind::Delivered(_)));
        assert_eq!(stale.count(), 7, "they did reach it");
        // The new conversation is none the worse for it.
        assert_eq!((lab.state(new), lab.state(second)), (QpState::Rts, QpState::Rts), "verb {verb}");
        traffic(&mut lab, new);
        assert_traffic(&mut lab);
    }
}

#[test]
fn an_old_key_through_a_new_connection_reaches_the_new_region_when_keys_repeat() {
    for same in [true, false] {
        let (mut lab, ..) = pair(0);
        let kept = lab.at(1, 0);
        lab.fabric.crash(1);
        revive(&mut lab, 1, same);
        let (a, _) = lab.pair_with(0, 1, tune, tune);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], kept)]);
        lab.run();
        if same {
            // Address reuse after a crash: as on any device whose keys can be guessed.
            lab.expect_copy(0, 0, 1, 0, 100);
            assert_good(&lab.ends(0), [1]);
        } else {
            assert_eq!(lab.ends(0), [(1, Status::RemAccessErr)]);
        }
        lab.check();
    }
}

#[test]
fn answers_from_an_earlier_life_are_not_taken() {
    let (mut lab, a, _) = pair(0);
    lab.go(a, &[read(1, &[lab.piece(0, 0, 50_000)], lab.at(1, 0))]);
    lab.run_to(StepKind::Delivered(Opcode::ReadResponseMiddle));
    // The reader's own node dies while answers are under way to it, and gives out the number again.
    lab.fabric.crash(0);
    revive(&mut lab, 0, true);
    let (a, b) = lab.pair_with(0, 1, tune, tune);
    lab.go(a, &[read(1, &[lab.piece(0, 0, 50_000)], lab.at(1, 0))]);
    lab.run();
    assert_good(&lab.ends(0), [1]);
    lab.expect_copy(1, 0, 0, 0, 50_000);
    lab.check();
    assert_eq!((lab.state(a), lab.state(b)), (QpState::Rts, QpState::Rts));
}

#[test]
fn what_is_sent_to_a_removed_device_reaches_nobody() {
    let (mut lab, a, _) = pair(0);
    lab.fabric.remove_device(1);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
    assert_eq!(lab.count(StepKind::Dropped(Mark::NobodyThere, Opcode::WriteOnly)), 7);
    lab.check();
    revive(&mut lab, 1, false);
    let (a, _) = lab.pair_with(0, 1, tune, tune);
    traffic(&mut lab, a);
    assert_traffic(&mut lab);
}

#[test]
fn healing_brings_nobody_back() {
    let (mut lab, a, _) = pair(0);
    lab.fabric.crash(1);
    lab.fabric.heal();
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
}
