//! Our own protocol and rings, driven by hand.

use wavetank_contract::Instant;
use wavetank_daemon::bench::WHOLE_LEN;
use wavetank_daemon::ipc::{ClientLimits, Over, Passed};
use wavetank_ipc::native::{FEATURES, FromClient, FromEngine, Hello, MAGIC, Ring};
use wavetank_ipc::ring::{Answer, Submission, Task};
use wavetank_ipc::{Code, Found, Wanted};

use super::talk::{House, MS, Talk};

pub(crate) fn read(volume: u32, needle: u64, len: u64) -> FromClient {
    FromClient::Read(Wanted { volume, needle, cookie: needle as u32, len, ..Wanted::default() })
}

fn found(reply: FromEngine) -> Found {
    match reply {
        FromEngine::Found(found) => *found,
        other => panic!("{other:?}"),
    }
}

fn code(reply: &FromEngine) -> (Code, u64) {
    match reply {
        FromEngine::Refused { code, detail, .. } => (*code, *detail),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn with_ring<'a>(house: &'a House, entries: u32) -> Talk<'a> {
    let mut talk = house.talk(1000);
    talk.greet(0);
    talk.say(0, 1, &FromClient::GetRing(Ring { entries }));
    assert!(matches!(talk.replies()[..], [(1, FromEngine::Ring(_))]));
    talk
}

#[test]
fn a_hello_is_answered_with_the_arena_and_what_there_is() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    let FromEngine::Welcome(welcome) = talk.greet(0) else { panic!() };
    assert_eq!((welcome.version, welcome.features, welcome.simulated), (1, FEATURES, true));
    assert_eq!((welcome.transfer_bytes_max, welcome.arena_bytes), (WHOLE_LEN, 8 * WHOLE_LEN));
    assert_eq!(talk.passed, [Passed::Arena]);
    talk.say(0, 7, &FromClient::GetCapabilities);
    assert!(matches!(&talk.replies()[..], [(7, FromEngine::Capabilities(said))] if *said == welcome));
}

#[test]
fn unknown_versions_are_refused_with_those_of_both_sides() {
    let house = House::new(ClientLimits::default());
    for (version_min, version_max) in [(2, 9), (0, 0), (5, 4)] {
        let mut talk = house.talk(1000);
        let mut bytes = MAGIC.to_vec();
        let hello = Hello { version_min, version_max, features: 0, name: String::new() };
        FromClient::Hello(hello).encode(0, &mut bytes);
        talk.hear(0, &bytes);
        let replies = talk.replies();
        let [(0, FromEngine::Refused { code, detail, text })] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!((*code, *detail), (Code::UnknownVersion, 1 << 16 | 1));
        let both = format!("the client speaks versions {version_min} to {version_max}, the engine 1 to 1");
        assert_eq!(*text, both);
        assert!(matches!(talk.conversation.is_over(), Some(Over::Protocol(_))));
    }
}

#[test]
fn a_loan_goes_back_once_and_only_by_its_own_name() {
    let house = House::new(ClientLimits::default());
    let (mut talk, mut other) = (house.talk(1000), house.talk(1000));
    talk.greet(0);
    other.greet(0);
    talk.say(0, 5, &read(3, 9, 100));
    let (id, reply) = talk.replies().remove(0);
    let Found { offset, generation, .. } = found(reply);
    assert_eq!((id, house.out()), (5, (1, 1)));
    let release = |offset, generation| FromClient::Release { offset, generation };
    other.say(0, 0, &release(offset, generation));
    talk.say(0, 0, &release(offset + 1, generation));
    talk.say(0, 0, &release(offset, generation + 1));
    assert_eq!(house.out(), (1, 1));
    talk.say(0, 0, &release(offset, generation));
    assert_eq!(house.out(), (0, 0));
    talk.say(0, 0, &release(offset, generation));
    assert_eq!((house.out(), house.commons.stats().releases.get()), ((0, 0), 1));
}

#[test]
fn a_client_that_is_gone_gives_everything_back_at_once() {
    let house = House::new(ClientLimits::default());
    let mut talk = with_ring(&house, 8);
    for id in 2..5 {
        talk.say(0, id, &read(3, id, 100));
    }
    talk.ring.as_mut().unwrap().submit(submission(9, 3, 7)).unwrap();
    talk.turn_ring(0);
    talk.say(0, 6, &read(1_000, 7, 100));
    assert_eq!((house.out(), talk.kept.len()), ((4, 4), 1));
    let stats = house.commons.stats();
    assert_eq!((stats.connections_now.get(), stats.rings_now.get()), (1, 1));
    talk.conversation.left();
    assert!(talk.conversation.is_over().is_some());
    drop(talk);
    assert_eq!(house.out(), (0, 0));
    assert_eq!((stats.connections_now.get(), stats.rings_now.get()), (0, 0));
}

#[test]
fn a_read_that_takes_too_long_is_ended_and_what_comes_of_it_goes_back() {
    let house = House::new(ClientLimits { read_ns: 5 * MS, read_ns_max: 50 * MS, ..ClientLimits::default() });
    let mut talk = house.talk(1000);
    talk.greet(0);
    talk.say(0, 1, &read(1_000, 9, 100));
    let timed = Wanted { volume: 1_000, needle: 9, timeout_ns: u64::MAX, ..Wanted::default() };
    talk.say(0, 2, &FromClient::Read(timed));
    talk.tick(5 * MS - 1);
    assert!(talk.replies().is_empty());
    let (late, wanted) = talk.kept.first_key_value().map(|(key, wanted)| (*key, wanted.clone())).unwrap();
    talk.tick(5 * MS);
    let replies = talk.replies();
    assert_eq!((replies[0].0, code(&replies[0].1)), (1, (Code::TimedOut, 0)));
    talk.answer(6 * MS, late, wanted);
    talk.drive(6 * MS);
    assert_eq!((talk.replies().len(), house.out()), (0, (0, 0)));
    talk.tick(50 * MS);
    assert_eq!(talk.replies()[0].0, 2);
}

#[test]
fn requests_and_loans_are_bounded_for_each_client() {
    let house = House::new(ClientLimits { requests_max: 3, leases_max: 5, ..ClientLimits::default() });
    let (mut talk, mut other) = (house.talk(1000), house.talk(1000));
    talk.greet(0);
    other.greet(0);
    for id in 1..=4 {
        talk.say(0, id, &read(1_000, 9, 100));
    }
    let replies = talk.replies();
    assert_eq!((replies.len(), replies[0].0, code(&replies[0].1)), (1, 4, (Code::Busy, 3)));
    talk.say(0, 2, &read(3, 9, 100));
    assert_eq!(code(&talk.replies()[0].1), (Code::WrongName, 0));
    for id in 1..=3 {
        talk.say(0, id, &FromClient::Cancel);
    }
    assert!(talk.replies().iter().all(|(_, reply)| code(reply) == (Code::Cancelled, 0)));
    for id in 1..=6 {
        talk.say(0, id, &read(3, 9, 100));
    }
    let replies = talk.replies();
    assert_eq!((replies.len(), replies[5].0, code(&replies[5].1)), (6, 6, (Code::Busy, 5)));
    other.say(0, 1, &read(3, 9, 100));
    found(other.replies().remove(0).1);
}

#[test]
fn one_read_is_always_lent_and_more_only_within_the_bytes_of_a_client() {
    let house = House::new(ClientLimits { loan_bytes_max: 10_000, ..ClientLimits::default() });
    let (mut talk, mut other) = (house.talk(1000), house.talk(1000));
    talk.greet(0);
    other.greet(0);
    talk.say(0, 1, &read(3, 9, 20_000));
    let long = found(talk.replies().remove(0).1);
    talk.say(0, 2, &read(3, 9, 1));
    assert_eq!(code(&talk.replies()[0].1), (Code::Busy, 0), "it keeps more than that");
    assert_eq!(house.out(), (1, 1), "what is not lent is back at once");
    other.say(0, 1, &read(3, 9, 4_000));
    found(other.replies().remove(0).1);
    talk.say(0, 3, &FromClient::Release { offset: long.offset, generation: long.generation });
    for id in 4..=6 {
        talk.say(0, id, &read(3, 9, 4_000));
    }
    let replies = talk.replies();
    assert_eq!((replies.len(), replies[2].0, code(&replies[2].1)), (3, 6, (Code::Busy, 0)));
}

fn submission(name: u64, volume: u32, needle: u64) -> Submission {
    let task =
        Task::Read { volume, needle, cookie: needle as u32, offset: 0, len: 10, timeout_ns: 0, server: 0 };
    Submission { name, task }
}

#[test]
fn a_ring_obeys_the_same_limits_and_says_what_is_wrong() {
    let house = House::new(ClientLimits { requests_max: 2, ..ClientLimits::default() });
    let mut talk = with_ring(&house, 8);
    let wrong_server =
        Task::Read { volume: 3, needle: 9, cookie: 9, offset: 0, len: 1, timeout_ns: 0, server: 4 };
    let too_long =
        Task::Read { volume: 3, needle: 9, cookie: 9, offset: 0, len: u64::MAX, timeout_ns: 0, server: 0 };
    let ring = talk.ring.as_mut().unwrap();
    for submission in [
        submission(1, 1_000, 9),
        submission(1, 1_000, 9),
        submission(2, 1_000, 9),
        submission(3, 1_000, 9),
        Submission { name: 4, task: wrong_server },
        Submission { name: 5, task: too_long },
        Submission { name: 6, task: Task::Unknown(77) },
        Submission { name: 7, task: Task::Cancel { name: 2 } },
    ] {
        ring.submit(submission).unwrap();
    }
    talk.turn_ring(0);
    let mut ends = Vec::new();
    while let Some(completion) = talk.ring.as_mut().unwrap().take() {
        let completion = completion.unwrap();
        let Answer::Refused { code, detail } = completion.answer else { panic!() };
        ends.push((completion.name, code, detail));
    }
    let expected = [
        (1, Code::WrongName, 0),
        (3, Code::Busy, 2),
        (4, Code::WrongName, 0),
        (5, Code::TooLong, WHOLE_LEN),
        (6, Code::Unsupported, 0),
        (2, Code::Cancelled, 0),
    ];
    assert_eq!(ends, expected);
    assert_eq!(talk.kept.len(), 1);
    talk.say(0, 9, &FromClient::GetRing(Ring { entries: 8 }));
    assert_eq!(code(&talk.replies()[0].1).0, Code::WrongName);
}

#[test]
fn a_ring_of_a_connection_that_is_over_keeps_no_engine_awake() {
    let house = House::new(ClientLimits::default());
    let mut talk = with_ring(&house, 8);
    talk.ring.as_mut().unwrap().submit(submission(1, 3, 9)).unwrap();
    assert!(!talk.conversation.ring_sleeps(), "there is a submission");
    // A second hello ends it, but for last words that the client does not take.
    let hello = Hello { version_min: 1, version_max: 1, features: 0, name: String::new() };
    let mut bytes = Vec::new();
    FromClient::Hello(hello).encode(0, &mut bytes);
    talk.conversation.heard(Instant(0), &bytes);
    assert!(talk.conversation.to_send().is_some() && talk.conversation.is_over().is_none());
    assert!(!talk.conversation.turn_ring(Instant(0)), "nothing is taken any more");
    assert!(
        talk.conversation.ring_sleeps(),
        "the engine would turn for nothing until the client is taken for dead"
    );
}

#[test]
fn a_server_has_a_number_before_a_ring_uses_it() {
    let house = House::new(ClientLimits::default());
    let mut talk = with_ring(&house, 8);
    for (index, fine) in [(0, false), (1, true), (255, true), (256, false)] {
        talk.say(0, 3, &FromClient::NameServer { index, server: "vol:8080".into() });
        assert_eq!(matches!(talk.replies()[0].1, FromEngine::Named), fine, "number {index}");
    }
    let task = Task::Read { volume: 3, needle: 9, cookie: 9, offset: 0, len: 1, timeout_ns: 0, server: 255 };
    talk.ring.as_mut().unwrap().submit(Submission { name: 1, task }).unwrap();
    talk.turn_ring(0);
    let Answer::Found(found) = talk.ring.as_mut().unwrap().take().unwrap().unwrap().answer else { panic!() };
    assert_eq!(found.details.name.as_deref(), Some("vol:8080"));
}

#[test]
fn a_ring_has_as_many_places_as_may_be() {
    let house = House::new(ClientLimits { ring_entries_max: 20, ..ClientLimits::default() });
    for (asked, given) in [(0, 8), (9, 8), (16, 16), (u32::MAX, 16)] {
        let talk = with_ring(&house, asked);
        assert_eq!(talk.ring.as_ref().unwrap().entries(), given);
    }
}
