//! Ports that go down and come up, and addresses that change.

use wavetank_contract::*;
use wavetank_mock::{Mark, Opcode, StepKind};

use super::*;

#[test]
fn a_port_that_is_down_shorter_than_the_retries_stalls_traffic_and_fails_none() {
    for node in [0, 1] {
        let (mut lab, a, b) = pair(0);
        traffic(&mut lab, a);
        lab.run_until(Instant(1_000));
        lab.fabric.set_port(node, false);
        lab.fabric.set_port(node, false);
        let stop = Instant(1_000 + 4 * timeout_ns(8));
        lab.run_until(stop);
        assert!(lab.ends(0).len() < 40, "nothing gets through");
        assert_eq!((lab.state(a), lab.state(b)), (QpState::Rts, QpState::Rts));
        assert_eq!(lab.events(node.into()), [AsyncEvent::PortErr], "told once");
        assert!(lab.fabric.passed(Mark::PortWasDown) > 0);
        lab.fabric.set_port(node, true);
        lab.fabric.set_port(node, true);
        lab.run();
        lab.check();
        let polled: Vec<u64> = lab.ends(0).iter().map(|(id, _)| *id).collect();
        assert_eq!(polled.last(), Some(&39));
        assert_eq!(lab.events(node.into()), [AsyncEvent::PortActive]);
        assert_eq!(lab.events(1 - usize::from(node)), [], "a switch lies between: its peer is told nothing");
        assert_eq!((lab.fabric.passed(Mark::PortDown), lab.fabric.passed(Mark::PortUp)), (1, 1));
    }
}

#[test]
fn a_port_that_stays_down_longer_than_the_retries_is_a_dead_peer() {
    for node in [0, 1] {
        let (mut lab, a, b) = pair(0);
        lab.fabric.set_port(node, false);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
        assert_eq!((lab.state(a), lab.state(b)), (QpState::Err, QpState::Rts));
        assert_eq!(lab.count(StepKind::Dropped(Mark::PortWasDown, Opcode::WriteOnly)), 7);
        lab.check();
    }
}

#[test]
fn what_is_under_way_to_a_port_that_goes_down_does_not_arrive() {
    let (mut lab, a, _) = pair(0);
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run_until(Instant(300));
    lab.fabric.set_port(1, false);
    lab.run_until(Instant(10_000));
    assert_eq!(lab.count(StepKind::Dropped(Mark::PortWasDown, Opcode::WriteOnly)), 1);
    lab.check();
}

#[test]
fn a_healed_network_has_its_ports_up() {
    let (mut lab, a, _) = pair(0);
    lab.fabric.set_port(0, false);
    lab.fabric.set_port(1, false);
    lab.fabric.heal();
    assert_eq!(lab.events(1), [AsyncEvent::PortErr, AsyncEvent::PortActive]);
    traffic(&mut lab, a);
    assert_traffic(&mut lab);
    assert_eq!(lab.fabric.passed(Mark::PortWasDown), 0);
}

#[test]
fn a_changed_address_is_silence_to_who_connected_to_the_old_one() {
    // Whoever asks, and whoever's address changes: requests or their answers go astray.
    for (changes, done, astray) in [(1, false, Opcode::WriteOnly), (0, true, Opcode::Acknowledge)] {
        let (mut lab, a, _) = pair(0);
        lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
        lab.run();
        lab.expect_copy(0, 0, 1, 0, 100);
        lab.fabric.change_gid(changes);
        lab.go(a, &[write(2, &[lab.piece(0, 1000, 100)], lab.at(1, 1000))]);
        lab.run();
        assert_eq!(lab.ends(0), [(1, Status::Success), (2, Status::RetryExcErr)]);
        assert_eq!(lab.count(StepKind::Dropped(Mark::StaleAddress, astray)), 7);
        assert_eq!(lab.fabric.passed(Mark::StaleAddress), 7);
        assert_eq!(lab.events(changes.into()), [AsyncEvent::GidChange]);
        assert_eq!(lab.events(1 - usize::from(changes)), []);
        if done {
            lab.expect_copy(0, 1000, 1, 1000, 100);
        }
        lab.check();
        // Who connects anew has the new address.
        let (a, _) = lab.pair_with(0, 1, tune, tune);
        traffic(&mut lab, a);
        assert_traffic(&mut lab);
        assert_eq!((lab.fabric.passed(Mark::StaleAddress), lab.fabric.passed(Mark::GidChanged)), (7, 1));
    }
}

#[test]
fn an_address_from_before_the_change_leads_nowhere() {
    let mut lab = Lab::new(2);
    let specs = [0, 1].map(|node| {
        let mut spec = lab.spec(node);
        tune(&mut spec);
        spec
    });
    let (a, b) = (lab.open(0, &specs[0]), lab.open(1, &specs[1]));
    let (to_a, old) = (lab.nic(a).address(a.ep).unwrap(), lab.nic(b).address(b.ep).unwrap());
    lab.fabric.change_gid(1);
    let new = lab.nic(b).address(b.ep).unwrap();
    assert_ne!(old, new, "an address has the port's in it");
    lab.nic(b).connect(b.ep, &to_a).unwrap();
    lab.nic(a).connect(a.ep, &old).unwrap();
    lab.go(a, &[write(1, &[lab.piece(0, 0, 100)], lab.at(1, 0))]);
    lab.run();
    assert_eq!(lab.ends(0), [(1, Status::RetryExcErr)]);
    lab.check();
}
