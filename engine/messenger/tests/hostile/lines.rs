//! Peers that connect as nobody should: hellos that do not do, silence, floods, and any bytes at all.

use proptest::prelude::*;
use wavetank_contract::Class;
use wavetank_messenger::hello::{HELLO_BYTES, Hello};
use wavetank_messenger::{Cause, Event, Policy};

use crate::villain::{Scene, Villain, hello};

const MS: u64 = 1_000_000;

/// What a peer with this hello is told, and what the victim says itself.
fn refused(blob: Vec<u8>) -> (String, String) {
    let mut scene = Scene::new();
    let mut villain = Villain::new(&mut scene.net);
    assert!(!villain.connect(&mut scene.net, blob, 1), "it was let in");
    let event = scene.net.hosts[0].events.pop_front();
    let Some(Event::Rejected { cause }) = event else { panic!("{event:?}") };
    assert_eq!(cause.class(), Class::PeerRefused);
    scene.is_unharmed();
    (villain.refused.expect("it is told"), cause.to_string())
}

#[test]
fn a_hello_that_does_not_do_is_refused_with_the_reason_on_both_sides() {
    let newer = {
        let mut blob = Hello { versions: (7, 9), ..hello() }.encode();
        blob.extend_from_slice(b"and more");
        blob
    };
    let cases = [
        (newer, "versions 1 to 1 and the peer 7 to 9"),
        (
            Hello { policy: Policy::LosslessPeer, ..hello() }.encode(),
            "a stateless-server and the peer a lossless-peer",
        ),
        (Hello { credits: 65, ..hello() }.encode(), "more than its window"),
        (Hello { credits: 3, ..hello() }.encode(), "too few"),
        (Hello { frame_bytes: 100, ..hello() }.encode(), "too short for any frame"),
        (Hello { life: 0, ..hello() }.encode(), "life is 0"),
        (Hello { silence_ns: 999_999, ..hello() }.encode(), "less than a millisecond"),
        (b"GET / HTTP/1.1".to_vec(), "is no messenger"),
        (Vec::new(), "is no messenger"),
        (hello().encode()[..79].to_vec(), "another length"),
    ];
    for (blob, words) in cases {
        let (heard, said) = refused(blob);
        assert!(said.contains(words), "{said}");
        assert!(heard.contains(words), "{heard}");
    }
}

#[test]
fn who_says_nothing_is_rejected_in_time() {
    let mut scene = Scene::new();
    let mut villain = Villain::new(&mut scene.net);
    villain.run(&mut scene.net, 49 * MS);
    assert!(scene.net.hosts[0].events.is_empty() && scene.net.hosts[0].messenger.outstanding().lines == 2);
    villain.run(&mut scene.net, 2 * MS);
    let event = scene.net.hosts[0].events.pop_front();
    assert!(matches!(event, Some(Event::Rejected { cause: Cause::ConnectTimeout(50) })), "{event:?}");
    assert!(villain.refused.is_some_and(|text| text.contains("not over after 50 ms")));
    scene.is_unharmed();
}

#[test]
fn a_flood_of_lines_is_bounded_and_leaves_nothing_behind() {
    let mut scene = Scene::new();
    let now = scene.net.now();
    let lines: Vec<_> = (0..10_000).map(|_| scene.net.hosts[0].messenger.line_came(now)).collect();
    let most = 2 * scene.net.hosts[0].config.connections_max;
    let there = scene.net.hosts[0].messenger.outstanding().lines;
    assert!(there <= most, "{there} lines of {}", lines.len());
    scene.net.touch(0);
    scene.net.run_until(now + 60 * MS);
    let busy = |event: &&Event| matches!(event, Event::Rejected { cause } if cause.class() == Class::Retry);
    assert!(scene.net.hosts[0].events.iter().filter(busy).count() > 9_000);
    scene.is_unharmed();
}

#[test]
fn a_flood_of_connections_is_told_that_there_is_no_room_now() {
    let mut scene = Scene::new();
    let mut villains = Vec::new();
    let mut told = 0;
    for count in 0..20u64 {
        let mut villain = Villain::new(&mut scene.net);
        let hello = Hello { life: 100 + count, name: 100 + count, ..hello() };
        if !villain.connect(&mut scene.net, hello.encode(), hello.life) {
            assert!(villain.refused.as_ref().is_some_and(|text| text.contains("16 connections are there")));
            told += 1;
        }
        villains.push(villain);
    }
    assert_eq!(told, 5, "one is the well-behaved client's, and 15 were let in");
    let until = scene.net.now() + 70 * MS;
    scene.net.run_until(until);
    scene.is_unharmed();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_on_a_line_end_it_or_wait_for_more(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 1usize..60,
        known in 0usize..3,
    ) {
        let mut scene = Scene::new();
        let mut villain = Villain::new(&mut scene.net);
        // As far as a well-behaved peer would come, and then anything.
        let real = match known {
            0 => Vec::new(),
            1 => b"WT".to_vec(),
            _ => villain.hello_bytes(),
        };
        let now = scene.net.now();
        for piece in real.iter().chain(&bytes).copied().collect::<Vec<u8>>().chunks(cut) {
            scene.net.hosts[0].messenger.line_heard(now, villain.line, piece);
            scene.net.touch(0);
        }
        villain.run(&mut scene.net, 60 * MS);
        let events = scene.net.hosts[0].events.len();
        prop_assert_eq!(events, 1, "it is rejected, once");
        scene.is_unharmed();
    }

    #[test]
    fn any_blob_for_a_hello_is_refused_or_makes_sense(mut blob in proptest::collection::vec(any::<u8>(), HELLO_BYTES), at in 0usize..HELLO_BYTES) {
        // Mostly a good one: else nothing behind the magic is ever looked at.
        let good = hello().encode();
        for (place, byte) in good.iter().enumerate() {
            if place != at {
                blob[place] = *byte;
            }
        }
        if let Ok(read) = Hello::decode(&blob) {
            prop_assert_eq!(read.encode(), blob);
        }
    }
}
