//! A conversation that is cut, damaged, doubled or mixed with another: an error, or the same result, never another one.

use wavetank_engine::bootstrap::frame::Frame;
use wavetank_engine::bootstrap::{BootstrapError, Role, Step};

use crate::sides::{DIALER, LISTENER, Side, converse, encoded, frames, instance_of, offer, script, us};

/// The steps of a side, in the order in which its peer's messages end them.
fn steps(role: Role) -> [Step; 4] {
    match role {
        Role::Dialer => [Step::Hello, Step::Answer, Step::Ready, Step::Over],
        Role::Listener => [Step::Hello, Step::Offer, Step::Ready, Step::Ack],
    }
}

#[test]
fn a_conversation_cut_after_any_byte_names_the_step_it_was_cut_at() {
    let script = script();
    for role in [Role::Dialer, Role::Listener] {
        let from = role.other();
        let frames = &script[from as usize];
        let ends: Vec<usize> = frames
            .iter()
            .scan(0, |at, f| {
                Some({
                    *at += f.len();
                    *at
                })
            })
            .collect();
        let total = *ends.last().unwrap();
        for cut in 0..total {
            let (mut dialer, mut listener) = (Side::new(Role::Dialer), Side::new(Role::Listener));
            let mut passed = 0;
            converse(&mut dialer, &mut listener, |sender, mut bytes| {
                if sender == from {
                    bytes.truncate(cut - passed);
                    passed += bytes.len();
                }
                vec![bytes]
            });
            let side = if role == Role::Dialer { &mut dialer } else { &mut listener };
            let done = ends.iter().filter(|end| **end <= cut).count();
            let amid_expected = cut > 0 && !ends.contains(&cut);
            match side.machine.end() {
                Err(BootstrapError::Closed { step, amid }) => {
                    assert_eq!(
                        (step, amid),
                        (steps(role)[done], amid_expected),
                        "{} cut at {cut}",
                        role.name()
                    );
                }
                other => panic!("{} cut at {cut}: {other:?}", role.name()),
            }
        }
    }
    // The twin: uncut, the end is nothing to complain of.
    let (mut dialer, mut listener) = (Side::new(Role::Dialer), Side::new(Role::Listener));
    converse(&mut dialer, &mut listener, |_, bytes| vec![bytes]);
    assert!(dialer.machine.end().is_ok() && listener.machine.end().is_ok());
}

#[test]
fn a_changed_byte_is_never_believed() {
    let script = script();
    let offers = [Role::Listener, Role::Dialer].map(|role| offer(role, 2));
    for from in [Role::Dialer, Role::Listener] {
        let total: usize = script[from as usize].iter().map(Vec::len).sum();
        for (at, change) in (0..total).flat_map(|at| [1, 2, 4, 8, 16, 32, 64, 128, 255].map(|c| (at, c))) {
            let (mut dialer, mut listener) = (Side::new(Role::Dialer), Side::new(Role::Listener));
            let mut passed = 0;
            converse(&mut dialer, &mut listener, |sender, mut bytes| {
                if sender == from {
                    if let Some(byte) = at.checked_sub(passed).and_then(|at| bytes.get_mut(at)) {
                        *byte ^= change;
                    }
                    passed += bytes.len();
                }
                vec![bytes]
            });
            let hit = if from == Role::Dialer { &listener } else { &dialer };
            assert!(!hit.machine.is_established(), "{} byte {at} ^ {change} was believed", from.name());
            // Whatever was learnt before the damage is the truth.
            for (side, theirs) in [&dialer, &listener].into_iter().zip(&offers) {
                assert!(side.got.as_ref().is_none_or(|got| got == theirs), "byte {at} ^ {change}");
            }
            for (side, peer) in [(&dialer, LISTENER), (&listener, DIALER)] {
                assert!(side.machine.peer().is_none_or(|p| p.instance.get() == peer));
            }
        }
    }
}

#[test]
fn a_message_that_comes_twice_ends_it() {
    let script = script();
    for from in [Role::Dialer, Role::Listener] {
        for doubled in 0..script[from as usize].len() {
            let (mut dialer, mut listener) = (Side::new(Role::Dialer), Side::new(Role::Listener));
            let mut count = 0;
            converse(&mut dialer, &mut listener, |sender, bytes| {
                if sender != from || bytes.is_empty() {
                    return vec![bytes];
                }
                count += 1;
                if count == doubled + 1 { vec![[&bytes[..], &bytes].concat()] } else { vec![bytes] }
            });
            let hit = if from == Role::Dialer { &listener } else { &dialer };
            let error = hit.error.as_ref().expect("an error");
            assert!(!hit.machine.is_established());
            let last = doubled + 1 == script[from as usize].len();
            match error {
                BootstrapError::Unexpected { .. } if !last => {}
                BootstrapError::Garbage { .. } if last => {
                    assert!(error.to_string().contains("behind the last"))
                }
                other => panic!("{} doubled {doubled}: {other}", from.name()),
            }
        }
    }
}

#[test]
fn a_message_of_another_life_of_a_side_is_refused() {
    let script = script();
    let stale: [fn(&mut Frame); 2] = [|frame| frame.from += 1, |frame| frame.to = 0xdead];
    for (from, change) in [Role::Dialer, Role::Listener].iter().flat_map(|r| stale.map(|c| (*r, c))) {
        // The first message of a dialer is for whoever listens, and tells who it is from.
        for changed in 1..script[from as usize].len() {
            let (mut dialer, mut listener) = (Side::new(Role::Dialer), Side::new(Role::Listener));
            let mut count = 0;
            converse(&mut dialer, &mut listener, |sender, bytes| {
                if sender != from || bytes.is_empty() {
                    return vec![bytes];
                }
                count += 1;
                let mut frame = frames(&bytes).remove(0);
                if count == changed + 1 {
                    change(&mut frame);
                }
                vec![encoded(&frame)]
            });
            let hit = if from == Role::Dialer { &listener } else { &dialer };
            let error = hit.error.as_ref().expect("an error");
            let peer_expected = instance_of(from);
            assert!(
                matches!(error, BootstrapError::Stale { peer, .. } if *peer == peer_expected),
                "{} {changed}: {error}",
                from.name()
            );
        }
    }
}

#[test]
fn a_listener_that_answers_somebody_else_is_refused() {
    let script = script();
    let mut dialer = Side::of(Role::Dialer, us(DIALER + 1));
    dialer.turn();
    dialer.hear(&script[Role::Listener as usize][0]);
    assert!(
        matches!(dialer.error, Some(BootstrapError::Stale { to: DIALER, peer: 0, .. })),
        "{:?}",
        dialer.error
    );
}
