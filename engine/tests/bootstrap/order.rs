//! At every step, every kind of message: what is expected is taken, and anything else ends it with both named.

use wavetank_engine::bootstrap::frame::Frame;
use wavetank_engine::bootstrap::message::{Kind, Message};
use wavetank_engine::bootstrap::{BootstrapError, Offer, RefusalCode, Role, Said, Step};

use crate::sides::{Side, encoded, frames, instance_of, offer, script};

/// A side that has heard `heard` of its peer's messages and whose application does as much as `acts` says.
fn side_at(role: Role, heard: usize, acts: bool) -> Side {
    let mut side = Side::new(role);
    for frame in &script()[role.other() as usize][..heard] {
        side.turn();
        side.hear(frame);
    }
    if acts {
        side.turn();
    }
    side
}

/// A well-formed message of a kind, from the right peer.
fn message(role: Role, kind: Kind) -> Vec<u8> {
    let (from, to) = (instance_of(role.other()), instance_of(role));
    let offer = || -> Offer { offer(role.other(), 2) };
    let message = match kind {
        Kind::Hello => return script()[role.other() as usize][0].clone(),
        Kind::Offer => Message::Offer(offer()),
        Kind::Answer => Message::Answer(offer()),
        Kind::Ready => Message::Ready,
        Kind::Ack => Message::Ack,
        Kind::Refuse => Message::Refuse(RefusalCode::Application, Said::from("because")),
    };
    encoded(&Frame { kind, from, to, body: message.encode() })
}

#[test]
fn at_every_step_only_what_is_expected_is_taken() {
    let (dialer, listener) = (Role::Dialer, Role::Listener);
    let places = [
        (dialer, 0, true, Step::Hello, Some(Kind::Hello)),
        (dialer, 1, false, Step::OwnOffer, None),
        (dialer, 1, true, Step::Answer, Some(Kind::Answer)),
        (dialer, 2, false, Step::Connect, None),
        (dialer, 2, true, Step::Ready, Some(Kind::Ready)),
        (listener, 0, true, Step::Hello, Some(Kind::Hello)),
        (listener, 1, true, Step::Offer, Some(Kind::Offer)),
        (listener, 2, false, Step::OwnOffer, None),
        (listener, 2, true, Step::Ready, Some(Kind::Ready)),
        (listener, 3, true, Step::Ack, Some(Kind::Ack)),
    ];
    for (role, heard, acts, at, expected) in places {
        for kind in Kind::ALL {
            let mut side = side_at(role, heard, acts);
            assert_eq!((side.machine.step(), side.error.is_none()), (at, true), "{} {heard}", role.name());
            side.hear(&message(role, kind));
            match (&side.error, kind) {
                (None, kind) => assert_eq!(Some(kind), expected, "{} at {at}", role.name()),
                (
                    Some(BootstrapError::Refused { step, code: RefusalCode::Application, text }),
                    Kind::Refuse,
                ) => {
                    assert_eq!((*step, text.as_str()), (at, "because"));
                }
                (Some(error @ BootstrapError::Unexpected { step, got }), kind) => {
                    assert_eq!((*step, *got), (at, kind));
                    assert_ne!(Some(kind), expected);
                    let said = error.to_string();
                    assert!(said.contains(&at.to_string()) && said.contains(&kind.to_string()), "{said}");
                    // The peer hears of it too.
                    let told = frames(&side.turn()).pop().expect("a last word");
                    assert_eq!(told.kind, Kind::Refuse);
                }
                (error, kind) => panic!("{} at {at}, {kind}: {error:?}", role.name()),
            }
        }
    }
}

#[test]
fn the_listener_takes_ready_while_its_own_endpoints_are_still_on_their_way() {
    let mut side = side_at(Role::Listener, 1, true);
    side.machine.offer(&offer(Role::Listener, 2)).unwrap();
    side.hear(&message(Role::Listener, Kind::Offer));
    side.got = side.machine.take_offer();
    assert_eq!(side.machine.step(), Step::Connect);
    side.hear(&message(Role::Listener, Kind::Ready));
    assert!(side.error.is_none(), "{:?}", side.error);
    side.machine.to_send();
    assert_eq!(side.machine.step(), Step::Connect);
    // Once is enough.
    side.hear(&message(Role::Listener, Kind::Ready));
    assert!(matches!(side.error, Some(BootstrapError::Unexpected { step: Step::Connect, got: Kind::Ready })));
}

#[test]
fn an_unknown_kind_is_named_by_its_number() {
    let mut bytes = message(Role::Listener, Kind::Ready);
    bytes[8] = 77;
    let mut side = Side::new(Role::Listener);
    side.hear(&bytes);
    assert!(side.said().ends_with("the peer sent a message of the unknown kind 77"), "{}", side.said());
}
