//! Two machines against each other: what they agree upon, and what keeps them apart.

use proptest::collection::vec;
use proptest::prelude::*;
use wavetank_engine::BackendKind;
use wavetank_engine::bootstrap::{BootstrapError, Introduction, RefusalCode, Role, Step, VersionRange};

use crate::sides::{DIALER, LISTENER, Side, converse, offer, us};

fn pair() -> (Side, Side) {
    (Side::new(Role::Dialer), Side::new(Role::Listener))
}

/// Both sides' errors after a conversation of these two.
fn apart(dialer: Introduction, listener: Introduction) -> (BootstrapError, BootstrapError) {
    let (mut dialer, mut listener) = (Side::of(Role::Dialer, dialer), Side::of(Role::Listener, listener));
    converse(&mut dialer, &mut listener, |_, bytes| vec![bytes]);
    assert!(!dialer.machine.is_established() && !listener.machine.is_established());
    (dialer.error.expect("the dialer's error"), listener.error.expect("the listener's error"))
}

#[test]
fn both_sides_learn_what_the_other_is_and_offers() {
    let (mut dialer, mut listener) = pair();
    converse(&mut dialer, &mut listener, |_, bytes| vec![bytes]);
    dialer.has(&offer(Role::Listener, 2));
    listener.has(&offer(Role::Dialer, 2));
    let (of_dialer, of_listener) = (listener.machine.peer().unwrap(), dialer.machine.peer().unwrap());
    assert_eq!((of_dialer.instance.get(), of_listener.instance.get()), (DIALER, LISTENER));
    assert_eq!((of_dialer.version, of_dialer.features), (1, DIALER & LISTENER));
    assert_eq!(of_dialer.device.as_str(), "mock/test");
}

proptest! {
    #[test]
    fn they_agree_however_their_bytes_are_cut(cuts in vec(1usize..60, 1..200)) {
        let (mut dialer, mut listener) = pair();
        let mut cuts = cuts.into_iter().cycle();
        converse(&mut dialer, &mut listener, |_, bytes| {
            let (mut rest, mut pieces) = (&bytes[..], Vec::new());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                pieces.push(piece.to_vec());
                rest = later;
            }
            pieces
        });
        dialer.has(&offer(Role::Listener, 2));
        listener.has(&offer(Role::Dialer, 2));
    }
}

#[test]
fn versions_are_agreed_upon_or_both_sides_say_both_ranges() {
    let speaking = |instance, min, max| Introduction { versions: VersionRange { min, max }, ..us(instance) };
    let ranges = || (1..5).flat_map(|min| (min..5).map(move |max| (min, max)));
    for (a, b) in ranges().flat_map(|a| ranges().map(move |b| (a, b))) {
        let (of_a, of_b) = (speaking(DIALER, a.0, a.1), speaking(LISTENER, b.0, b.1));
        let common = (1..5).rev().find(|v| (a.0..=a.1).contains(v) && (b.0..=b.1).contains(v));
        let Some(common) = common else {
            let (of_dialer, of_listener) = apart(of_a, of_b);
            for (error, ours, theirs) in [(of_dialer, a, b), (of_listener, b, a)] {
                let BootstrapError::Version { ours: o, theirs: t } = error else { panic!("{error}") };
                assert_eq!(((o.min, o.max), (t.min, t.max)), (ours, theirs));
            }
            continue;
        };
        let (mut dialer, mut listener) = (Side::of(Role::Dialer, of_a), Side::of(Role::Listener, of_b));
        converse(&mut dialer, &mut listener, |_, bytes| vec![bytes]);
        assert!(dialer.machine.is_established() && listener.machine.is_established());
        let versions = [&dialer, &listener].map(|side| side.machine.peer().unwrap().version);
        assert_eq!(versions, [common, common], "{a:?} and {b:?}");
    }
}

#[test]
fn unknown_versions_are_refused_with_both_sides_in_the_error() {
    let newer = Introduction { versions: VersionRange { min: 2, max: 9 }, ..us(LISTENER) };
    let (of_dialer, _) = apart(us(DIALER), newer);
    assert_eq!(
        of_dialer.to_string(),
        "this side speaks version 1 of the exchange and the peer 2 to 9; update the older one"
    );
}

#[test]
fn two_backends_are_kept_apart_and_both_are_named_on_both_sides() {
    let verbs = Introduction { backend: BackendKind::Verbs, ..us(LISTENER) };
    let (of_dialer, of_listener) = apart(us(DIALER), verbs);
    assert!(of_dialer.to_string().contains("mock backend and the peer's of verbs"), "{of_dialer}");
    assert!(of_listener.to_string().contains("verbs backend and the peer's of mock"), "{of_listener}");
}

#[test]
fn a_process_that_reaches_itself_is_told_so() {
    let (of_dialer, of_listener) = apart(us(DIALER), us(DIALER));
    for error in [of_dialer, of_listener] {
        assert!(matches!(error, BootstrapError::Itself(id) if id.get() == DIALER), "{error}");
    }
}

#[test]
fn two_dialers_are_told_that_nobody_listens() {
    let (mut a, mut b) = (Side::of(Role::Dialer, us(1)), Side::of(Role::Dialer, us(2)));
    converse(&mut a, &mut b, |_, bytes| vec![bytes]);
    assert_eq!(a.said(), "both sides are dialers; one has to dial and the other to listen");
    assert_eq!(a.said(), b.said());
}

#[test]
fn endpoints_that_have_no_partner_are_refused_on_both_sides() {
    let (mut dialer, mut listener) = pair();
    dialer.offer = offer(Role::Dialer, 3);
    converse(&mut dialer, &mut listener, |_, bytes| vec![bytes]);
    assert_eq!(listener.said(), "this side offers 2 endpoints and the peer 3; both have to offer as many");
    let refused = dialer.error.unwrap();
    assert!(
        matches!(refused, BootstrapError::Refused { code: RefusalCode::Offer, step: Step::Answer, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("offers 2 endpoints"), "{refused}");
}

#[test]
fn the_listener_may_offer_before_it_knows_what_for_and_the_dialer_may_not() {
    let (mut dialer, mut listener) = pair();
    listener.machine.offer(&offer(Role::Listener, 2)).unwrap();
    let early = dialer.machine.offer(&offer(Role::Dialer, 2));
    assert!(matches!(early, Err(BootstrapError::NotDue { step: Step::Hello, .. })), "{early:?}");
    converse(&mut dialer, &mut listener, |_, bytes| vec![bytes]);
    dialer.has(&offer(Role::Listener, 2));
    listener.has(&offer(Role::Dialer, 2));
}

#[test]
fn steps_out_of_turn_are_refused_to_the_caller_and_spoil_nothing() {
    let (mut dialer, mut listener) = pair();
    assert!(matches!(dialer.machine.ready(), Err(BootstrapError::NotDue { call: "ready", .. })));
    let mut nothing = offer(Role::Dialer, 2);
    nothing.endpoints.clear();
    listener.hear(&dialer.turn());
    dialer.hear(&listener.turn());
    assert!(matches!(dialer.machine.offer(&nothing), Err(BootstrapError::OwnOffer(_))));
    assert_eq!(dialer.machine.to_send(), b"");
    converse(&mut dialer, &mut listener, |_, bytes| vec![bytes]);
    dialer.has(&offer(Role::Listener, 2));
    assert!(matches!(listener.machine.ready(), Err(BootstrapError::NotDue { step: Step::Over, .. })));
}

#[test]
fn nobody_may_send_before_both_sides_are_ready() {
    let (mut dialer, mut listener) = pair();
    // The listener's endpoints take their time: nothing of this is its application's doing.
    listener.machine.offer(&offer(Role::Listener, 2)).unwrap();
    for _ in 0..4 {
        let bytes = dialer.turn();
        listener.hear(&bytes);
        let bytes = listener.machine.to_send().to_vec();
        listener.machine.sent(bytes.len());
        dialer.hear(&bytes);
    }
    assert_eq!((dialer.machine.step(), listener.machine.step()), (Step::Ready, Step::Connect));
    assert!(!dialer.machine.is_established() && !listener.machine.is_established());
    assert_eq!(listener.machine.take_offer(), Some(offer(Role::Dialer, 2)));
    listener.machine.ready().unwrap();
    let ready = listener.turn();
    dialer.hear(&ready);
    assert!(dialer.machine.is_established());
    assert_eq!(listener.machine.step(), Step::Ack, "it does not know yet that the dialer knows");
    listener.hear(&dialer.turn());
    assert!(listener.machine.is_established());
}

#[test]
fn a_refusal_arrives_with_its_reason_at_any_step() {
    for rounds in 0..4 {
        let (mut dialer, mut listener) = pair();
        for _ in 0..rounds {
            listener.hear(&dialer.turn());
            dialer.hear(&listener.turn());
        }
        if dialer.machine.is_established() {
            break;
        }
        listener.machine.refuse(RefusalCode::Application, "no\nroom");
        dialer.hear(&listener.turn());
        assert!(
            dialer.said().ends_with("the peer refused (Application): no\u{fffd}room"),
            "{}",
            dialer.said()
        );
        assert!(matches!(dialer.machine.receive(b"x"), Err(BootstrapError::Failed)));
    }
}
