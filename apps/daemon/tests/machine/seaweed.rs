//! SeaweedFS's protocol: what upstream's engine did wrong is done right.

use wavetank_contract::Instant;
use wavetank_daemon::bench::{WHOLE_LEN, byte, crc};
use wavetank_daemon::ipc::ClientLimits;
use wavetank_daemon::reads::Reads as _;
use wavetank_ipc::seaweed::{
    CompleteRead, CompleteReadResponse, ErrorReply, GetCapabilities, Message, Ping, Pong, StartRead,
    StartReadResponse, encode, frame, request_as_go,
};

use super::talk::{House, MS, Talk, UNIX_NS};

const SECOND: u64 = 1000 * MS;

pub(crate) fn start(needle_id: u64, offset: u64, size: u64, timeout_secs: u64) -> Message {
    let cookie = needle_id as u32;
    Message::StartRead(StartRead {
        volume_id: 3,
        needle_id,
        cookie,
        offset,
        size,
        timeout_secs,
        ..StartRead::default()
    })
}

fn started(talk: &mut Talk<'_>, at: u64, message: &Message) -> StartReadResponse {
    match talk.call(at, message) {
        Message::StartReadResponse(started) => *started,
        other => panic!("{other:?}"),
    }
}

fn done(started: &StartReadResponse) -> CompleteRead {
    CompleteRead {
        session_id: started.session_id.clone(),
        success: true,
        bytes_transferred: started.transfer_size,
        client_crc: Some(started.expected_crc),
        error_message: None,
    }
}

fn complete(talk: &mut Talk<'_>, at: u64, done: CompleteRead) -> CompleteReadResponse {
    match talk.call(at, &Message::CompleteRead(done)) {
        Message::CompleteReadResponse(completed) => completed,
        other => panic!("{other:?}"),
    }
}

fn error(talk: &mut Talk<'_>, at: u64, message: &Message) -> ErrorReply {
    match talk.call(at, message) {
        Message::Error(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_read_reads_and_its_completion_is_checked() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    let begun = started(&mut talk, 0, &start(9, 100, 5000, 30));
    assert_eq!((begun.transfer_size, begun.expected_crc), (5000, crc(9, 100, 5000)));
    assert_eq!(begun.expires_at_ns, UNIX_NS + 30 * SECOND);
    assert_eq!((begun.shm_path.as_str(), begun.shm_length, begun.simulated), ("/proc/1/fd/3", 5000, true));
    let mut bytes = vec![0; 5000];
    house.pattern.arena().read(begun.shm_offset, &mut bytes);
    assert!((100..).zip(&bytes).all(|(at, found)| *found == byte(9, at)));
    assert_eq!(house.out(), (1, 1));
    let completed = complete(&mut talk, 1, done(&begun));
    assert_eq!((completed.success, completed.server_crc), (true, Some(begun.expected_crc)));
    assert_eq!(house.out(), (0, 0));
    let again = error(&mut talk, 2, &Message::CompleteRead(done(&begun)));
    assert_eq!(again.code, format!("SessionNotFound {{ session_id: {:?} }}", begun.session_id));
    assert_eq!((again.category.as_str(), again.recoverable), ("session", true));
}

#[test]
fn a_wrong_count_a_wrong_checksum_and_a_failure_do_not_succeed() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    for (spoil, said) in [
        ((|done| done.bytes_transferred += 1) as fn(&mut CompleteRead), "bytes were lent"),
        (|done| done.client_crc = done.client_crc.map(|crc| crc ^ 1), "CRC32-C"),
        (|done| done.success = false, "gave up"),
    ] {
        let begun = started(&mut talk, 0, &start(9, 0, 100, 30));
        let mut wrong = done(&begun);
        spoil(&mut wrong);
        let completed = complete(&mut talk, 0, wrong);
        assert!(!completed.success && completed.message.unwrap().contains(said));
        assert_eq!(house.out(), (0, 0));
    }
    // Who says no checksum is asked for none.
    let begun = started(&mut talk, 0, &start(9, 0, 100, 30));
    assert!(complete(&mut talk, 0, CompleteRead { client_crc: None, ..done(&begun) }).success);
    assert_eq!(house.commons.stats().completes_failed.get(), 3);
}

#[test]
fn size_0_is_to_the_end_and_odd_sizes_are_told() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    let begun = started(&mut talk, 0, &start(9, 10, 0, 30));
    assert_eq!((begun.transfer_size, begun.whole_length), (WHOLE_LEN - 10, WHOLE_LEN));
    for size in [1 << 46, 1 << 63, u64::MAX, WHOLE_LEN + 1] {
        let error = error(&mut talk, 0, &start(9, 0, size, 30));
        assert_eq!((error.code.as_str(), error.recoverable), ("TOO_LONG", false));
    }
    let past = error(&mut talk, 0, &start(9, u64::MAX, 1, 30));
    assert_eq!((past.code.as_str(), past.category.as_str()), ("PAST_END", "request"));
    assert_eq!(error(&mut talk, 0, &start(0, 0, 1, 30)).code, "NEEDLE_NOT_FOUND");
    assert_eq!(error(&mut talk, 0, &start(1, 0, 1, 30)).code, "NEEDLE_DELETED");
    // An error leaves no session behind.
    assert_eq!(house.commons.stats().sessions_now.get(), 1);
}

#[test]
fn any_time_may_be_asked_for_and_none_overflows() {
    let limits = ClientLimits::default();
    let (most, usual) = (limits.session_ns_max, limits.session_ns);
    let house = House::new(limits);
    let mut talk = house.talk(1000);
    let at = 5 * SECOND;
    for (timeout_secs, lives) in [
        (0, usual),
        (1, SECOND),
        (1 << 46, most),
        (9_300_000_000_000_000, most),
        (1 << 63, most),
        (u64::MAX, most),
    ] {
        let begun = started(&mut talk, at, &start(9, 0, 10, timeout_secs));
        assert_eq!(begun.expires_at_ns, UNIX_NS + at + lives, "asked for {timeout_secs} s");
        assert!(complete(&mut talk, at + lives - 1, done(&begun)).success);
    }
}

#[test]
fn a_session_ends_at_its_time_looked_at_or_not() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    let begun = started(&mut talk, 0, &start(9, 0, 10, 1));
    assert!(
        error(&mut talk, SECOND, &Message::CompleteRead(done(&begun))).code.starts_with("SessionExpired")
    );
    assert_eq!(house.out(), (0, 0));
    let begun = started(&mut talk, 0, &start(9, 0, 10, 1));
    assert_eq!(house.commons.next_end(), Instant(SECOND));
    house.commons.expire(Instant(SECOND - 1));
    assert_eq!(house.out(), (1, 1));
    house.commons.expire(Instant(SECOND));
    assert_eq!((house.out(), house.commons.stats().sessions_now.get()), ((0, 0), 0));
    assert!(
        error(&mut talk, SECOND, &Message::CompleteRead(done(&begun))).code.starts_with("SessionNotFound")
    );
}

#[test]
fn a_session_lives_over_connections_of_its_user_and_nobody_elses() {
    let house = House::new(ClientLimits::default());
    let mut first = house.talk(1000);
    let begun = started(&mut first, 0, &start(9, 0, 10, 30));
    drop(first);
    let mut stranger = house.talk(1001);
    let refused = error(&mut stranger, 1, &Message::CompleteRead(done(&begun)));
    assert_eq!((refused.code.as_str(), refused.category.as_str()), ("PermissionDenied", "security"));
    let mut again = house.talk(1000);
    assert!(complete(&mut again, 1, done(&begun)).success);
}

#[test]
fn one_session_too_many_is_refused_and_one_less_makes_room() {
    let house = House::new(ClientLimits { sessions_max: 3, ..ClientLimits::default() });
    let (mut one, mut other) = (house.talk(1000), house.talk(1000));
    let first = started(&mut one, 0, &start(9, 0, 10, 30));
    // Those whose bytes are still under way count.
    let slow =
        Message::StartRead(StartRead { volume_id: 1_000, needle_id: 9, cookie: 9, ..StartRead::default() });
    one.hear(0, &frame(&request_as_go(&slow).unwrap()));
    started(&mut other, 0, &start(9, 0, 10, 30));
    for _ in 0..100 {
        let refused = error(&mut other, 0, &start(9, 0, 10, 30));
        assert_eq!(refused.code, "TooManySessions { max_sessions: 3 }");
        assert_eq!((refused.category.as_str(), refused.recoverable), ("session", true));
    }
    assert!(complete(&mut other, 0, done(&first)).success);
    started(&mut other, 0, &start(9, 0, 10, 30));
    // A connection that ends takes the session with it that was never told.
    drop(one);
    assert_eq!(house.commons.stats().sessions_now.get(), 2);
    house.commons.shut();
    assert_eq!((house.out(), house.commons.stats().sessions_now.get()), ((0, 0), 0));
}

#[test]
fn sessions_keep_no_more_than_their_share_of_the_arena() {
    let house = House::new(ClientLimits { loan_bytes_max: 10_000, ..ClientLimits::default() });
    let mut talk = house.talk(1000);
    let first = started(&mut talk, 0, &start(9, 0, 9_000, 30));
    let refused = error(&mut talk, 0, &start(9, 0, 9_000, 30));
    assert!(refused.recoverable, "{refused:?}");
    assert_eq!((house.out(), house.commons.stats().sessions_now.get()), ((1, 1), 1));
    assert!(complete(&mut talk, 0, done(&first)).success);
    started(&mut talk, 0, &start(9, 0, 9_000, 30));
    house.commons.shut();
    assert_eq!(house.out(), (0, 0));
}

#[test]
fn what_cannot_be_understood_gets_an_error_and_the_connection_goes_on() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    let pong = encode(&Message::Pong(Pong::default()));
    for (body, code) in [
        (b"\xc1".to_vec(), "MALFORMED"),
        (b"\x82\xa4type\xa5Write\xa4data\x80".to_vec(), "MALFORMED"),
        (Vec::new(), "MALFORMED"),
        (pong, "UNSUPPORTED_MESSAGE"),
        (vec![0x91; 1 << 20], "MALFORMED"),
        (vec![0; (1 << 20) + 1], "TOO_LONG"),
    ] {
        talk.hear(0, &frame(&body));
        let replies = talk.messages();
        let [Message::Error(error)] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(error.code, code);
        let ping = Message::Ping(Ping { timestamp_ns: 5, client_id: None });
        assert!(matches!(talk.call(0, &ping), Message::Pong(_)));
    }
}

#[test]
fn replies_keep_the_order_of_requests_and_wait_for_a_read() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    let slow =
        Message::StartRead(StartRead { volume_id: 1_000, needle_id: 9, cookie: 9, ..StartRead::default() });
    let ping = |timestamp_ns| Message::Ping(Ping { timestamp_ns, client_id: None });
    for message in [ping(1), slow, ping(2), start(9, 0, 10, 30), ping(3)] {
        talk.hear(0, &frame(&request_as_go(&message).unwrap()));
    }
    assert_eq!(talk.messages().len(), 1);
    let (key, wanted) = talk.kept.pop_first().unwrap();
    talk.answer(1, key, wanted);
    talk.drive(1);
    let kinds: Vec<_> = talk
        .messages()
        .into_iter()
        .map(|message| match message {
            Message::StartReadResponse(_) => 0,
            Message::Pong(pong) => pong.client_timestamp_ns,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [0, 2, 0, 3]);
}

#[test]
fn the_stream_may_be_cut_anywhere() {
    let house = House::new(ClientLimits::default());
    let ping = Message::Ping(Ping { timestamp_ns: 7, client_id: Some("x".into()) });
    let messages =
        [ping.clone(), Message::GetCapabilities(GetCapabilities::default()), start(0, 0, 1, 1), ping];
    let stream: Vec<u8> =
        messages.iter().flat_map(|message| frame(&request_as_go(message).unwrap())).collect();
    let mut whole = house.talk(1000);
    whole.hear(9, &stream);
    let expected = whole.messages();
    assert_eq!(expected.len(), 4);
    for cut in 0..=stream.len() {
        let mut talk = house.talk(1000);
        talk.hear(9, &stream[..cut]);
        talk.hear(9, &stream[cut..]);
        assert_eq!(talk.messages(), expected, "cut at {cut}");
        assert_eq!(talk.conversation.wake(), Instant::FAR);
    }
}

#[test]
fn capabilities_say_what_is_true() {
    let house = House::new(ClientLimits::default());
    let mut talk = house.talk(1000);
    started(&mut talk, 0, &start(9, 0, 10, 30));
    let reply = talk.call(0, &Message::GetCapabilities(GetCapabilities::default()));
    let Message::GetCapabilitiesResponse(said) = reply else { panic!("{reply:?}") };
    assert_eq!((said.max_sessions, said.active_sessions, said.max_transfer_size), (1000, 1, WHOLE_LEN));
    assert_eq!((said.real_rdma, said.simulated, said.backend.as_str()), (false, true, "mock"));
}
