//! Clients that mean harm, each with a twin that does not.

use wavetank_contract::Instant;
use wavetank_daemon::ipc::{ClientLimits, Conversation, Over, Peer};
use wavetank_ipc::native::{BODY_BYTES_MAX, FromClient, MAGIC};
use wavetank_ipc::seaweed::{Message, Ping, frame, request_as_go};

use super::native::with_ring;
use super::talk::{House, MS};

fn ping() -> Vec<u8> {
    frame(&request_as_go(&Message::Ping(Ping::default())).unwrap())
}

#[test]
fn a_half_frame_ends_its_connection_at_its_deadline_however_it_dribbles() {
    let house = House::new(ClientLimits { half_frame_ns: 10 * MS, ..ClientLimits::default() });
    for (first, rest) in [(&b""[..], ping()), (&MAGIC[..], vec![15, 0, 0])] {
        let mut talk = house.talk(1000);
        talk.hear(0, first);
        talk.hear(0, &rest[..1]);
        talk.hear(9 * MS, &rest[1..2]);
        talk.tick(10 * MS - 1);
        assert_eq!(talk.conversation.is_over(), None);
        assert_eq!(talk.conversation.wake(), Instant(10 * MS));
        talk.tick(10 * MS);
        assert!(matches!(talk.conversation.is_over(), Some(Over::Deadline(_))));
    }
    // Its twin says the rest in time, and may be silent for ever.
    let mut twin = house.talk(1000);
    let ping = ping();
    twin.hear(0, &ping[..5]);
    twin.hear(9 * MS, &ping[5..]);
    twin.tick(1000 * MS);
    assert_eq!((twin.messages().len(), twin.conversation.is_over()), (1, None));
    assert_eq!(house.commons.stats().ended_by_deadline.get(), 2);
}

#[test]
fn who_takes_nothing_fills_a_bounded_box_and_is_closed() {
    let limits = ClientLimits { outbox_bytes_max: 4096, stall_ns: 10 * MS, ..ClientLimits::default() };
    let house = House::new(limits);
    let peer = Peer { pid: 1, uid: 1000, gid: 1000 };
    let mut deaf = Conversation::new(house.commons.clone(), peer);
    let mut heard = 0;
    while deaf.wants_bytes() {
        deaf.heard(Instant(0), &ping());
        heard += 1;
        assert!(heard < 1000, "it goes on for ever");
    }
    let waiting = deaf.to_send().unwrap().1.len();
    assert!((4096..4096 + 200).contains(&waiting), "{waiting} bytes wait");
    deaf.tick(Instant(10 * MS - 1));
    assert_eq!(deaf.is_over(), None);
    deaf.tick(Instant(10 * MS));
    assert!(matches!(deaf.is_over(), Some(Over::Deadline(_))));
    // Its twin takes a little now and then, and is served.
    let mut slow = house.talk(1000);
    for at in 0..100 {
        slow.conversation.heard(Instant(at * 9 * MS), &ping());
        slow.conversation.tick(Instant(at * 9 * MS));
        if slow.conversation.to_send().is_some() {
            slow.conversation.sent(Instant(at * 9 * MS), 1);
        }
        assert_eq!(slow.conversation.is_over(), None);
    }
}

#[test]
fn a_frame_too_long_for_us_is_told_and_ends_its_connection() {
    let house = House::new(ClientLimits::default());
    for len in [BODY_BYTES_MAX + 1, u32::MAX] {
        let mut talk = house.talk(1000);
        talk.greet(0);
        talk.hear(0, &[&len.to_le_bytes()[..], &[0; 12]].concat());
        assert!(!talk.replies().is_empty());
        assert!(matches!(talk.conversation.is_over(), Some(Over::Protocol(_))));
    }
    let mut twin = house.talk(1000);
    twin.greet(0);
    twin.hear(0, &[&BODY_BYTES_MAX.to_le_bytes()[..], &[99; 12], &vec![0; BODY_BYTES_MAX as usize]].concat());
    assert!(!twin.replies().is_empty());
    assert_eq!(twin.conversation.is_over(), None, "an unknown kind is an error of one request");
}

#[test]
fn who_says_anything_before_hello_or_hello_twice_is_told_and_closed() {
    let house = House::new(ClientLimits::default());
    let mut early = house.talk(1000);
    early.hear(0, &MAGIC);
    early.say(0, 4, &FromClient::Ping(1));
    assert_eq!(early.replies().len(), 1);
    assert!(matches!(early.conversation.is_over(), Some(Over::Protocol(_))));
    let mut twice = house.talk(1000);
    twice.greet(0);
    let hello =
        wavetank_ipc::native::Hello { version_min: 1, version_max: 1, features: 0, name: String::new() };
    twice.say(0, 4, &FromClient::Hello(hello));
    assert!(matches!(twice.conversation.is_over(), Some(Over::Protocol(_))));
}

#[test]
fn a_ring_whose_client_lies_ends_that_client_only() {
    use wavetank_ipc::ring::{Submission, Task};
    let house = House::new(ClientLimits::default());
    let (mut liar, mut twin) = (with_ring(&house, 8), with_ring(&house, 8));
    for talk in [&mut liar, &mut twin] {
        let memory = talk.conversation.ring().unwrap().memory().clone();
        for name in 0..16 {
            talk.ring.as_mut().unwrap().submit(Submission { name, task: Task::Ping }).unwrap();
            talk.turn_ring(0);
        }
        talk.ring.as_mut().unwrap().submit(Submission { name: 16, task: Task::Ping }).unwrap();
        // Completions taken: 16 at most were there.
        let said = if house.commons.stats().ended_by_protocol.get() == 0 { 17 } else { 16 };
        memory.word(384).store(said);
        talk.turn_ring(0);
    }
    assert!(matches!(liar.conversation.is_over(), Some(Over::Protocol(_))));
    assert_eq!(twin.conversation.is_over(), None);
    assert_eq!(house.commons.stats().pings_ring.get(), 33);
}
