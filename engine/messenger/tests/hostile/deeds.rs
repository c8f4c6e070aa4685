//! Frames that no peer may send, and what becomes of each.

use wavetank_contract::{Instant, Status};
use wavetank_messenger::frame::{Carriage, FrameKind, Header, PlaceOnWire, SinkOnWire, Sort};
use wavetank_messenger::{Cause, ConnectionId, Event, Message};

use crate::net::Net;
use crate::villain::{Scene, Villain};

const MS: u64 = 1_000_000;

/// A deed; whether the victim's endpoint survives it, so that it can say goodbye; and what the victim says.
type Deed = (&'static str, &'static str, fn(&mut Villain, &mut Net, ConnectionId));

fn message(villain: &Villain, sort: Sort, carriage: Carriage) -> Header {
    Header { sort, carriage, sequence: 1, ..villain.header(FrameKind::Message) }
}

fn control(villain: &Villain, kind: FrameKind, id: u64) -> Header {
    Header { id, ..villain.header(kind) }
}

/// Gives the key to the villain's own memory, as extent 0.
fn give_key(villain: &mut Villain, net: &mut Net) {
    let key = villain.key();
    let bytes = key.as_bytes().to_vec();
    let header = Header { front_len: bytes.len() as u16, ..villain.header(FrameKind::Extent) };
    villain.frame(net, &header, &bytes);
    villain.run(net, 50_000);
}

const DEEDS: &[Deed] = &[
    ("garbage", "not with 0xa7", |v, net, _| v.post(net, &[0x5c; 100])),
    ("nothing", "shorter than the 64", |v, net, _| v.post(net, &[0xa7])),
    ("another version of frames", "0xa7 0x09", |v, net, _| {
        let mut bytes = v.header(FrameKind::Ping).encode();
        bytes[1] = 9;
        v.post(net, &bytes[..64]);
    }),
    ("2^63 bytes behind a header", "is shorter than", |v, net, _| {
        let header = Header { data_len: 1 << 63, ..message(v, Sort::OneWay, Carriage::Inside) };
        v.frame(net, &header, b"");
    }),
    ("2^64 - 1 bytes behind a header", "is shorter than", |v, net, _| {
        let header = Header { data_len: u64::MAX, ..message(v, Sort::OneWay, Carriage::Inside) };
        v.frame(net, &header, b"");
    }),
    ("2^63 bytes to be read", "9223372036854775808 bytes of data", |v, net, _| {
        let header = Header { data_len: 1 << 63, ..message(v, Sort::OneWay, Carriage::Offered) };
        v.frame(net, &header, b"");
    }),
    ("2^63 bytes to be written", "9223372036854775808 bytes of data", |v, net, _| {
        let header = Header { data_len: 1 << 63, ..message(v, Sort::OneWay, Carriage::Asked) };
        v.frame(net, &header, b"");
    }),
    ("a frame without a credit", "without a credit", |v, net, _| {
        let header = v.header(FrameKind::Ping);
        v.frame(net, &header, b"");
        v.run(net, 20_000);
        // Four come at once, and three were allowed.
        net.hosts[0].asleep_until = net.now() + 20_000;
        for _ in 0..4 {
            v.frame(net, &header, b"");
        }
    }),
    ("credits given back that it never had", "credits that it never had", |v, net, _| {
        let header = Header { id: 1000, ..v.header(FrameKind::Ping) };
        v.frame(net, &header, b"");
    }),
    ("absurd credits", "more than its window", |v, net, _| {
        let header = Header { granted: 1_000_000, ..v.header(FrameKind::Credit) };
        v.frame(net, &header, b"");
    }),
    ("credits taken back", "more than its window", |v, net, _| {
        let header = Header { granted: 3, ..v.header(FrameKind::Credit) };
        v.frame(net, &header, b"");
    }),
    ("an acknowledgement of what was not sent", "acknowledges message 5", |v, net, _| {
        let header = Header { acked: 5, ..v.header(FrameKind::Credit) };
        v.frame(net, &header, b"");
    }),
    ("a sequence out of turn", "message 7 came where 1 was due", |v, net, _| {
        let header = Header { sequence: 7, ..message(v, Sort::OneWay, Carriage::Inside) };
        v.frame(net, &header, b"");
    }),
    ("a message without a sequence", "message 0 came where 1 was due", |v, net, _| {
        let header = Header { sequence: 0, ..message(v, Sort::OneWay, Carriage::Inside) };
        v.frame(net, &header, b"");
    }),
    ("a reply nobody asked for", "never asked", |v, net, _| {
        let header = Header { id: 123, ..message(v, Sort::Reply, Carriage::Inside) };
        v.frame(net, &header, b"");
    }),
    ("a reply in a sink that is not there", "in memory of 0", |v, net, victim| {
        let now = net.now();
        net.hosts[0].messenger.request(now, victim, Message::new(1, b"", Instant::FAR), None).unwrap();
        net.touch(0);
        v.run(net, 50_000);
        let id = v.frames.last().map_or(0, |(header, _)| header.id);
        let header = Header { id, data_len: 10, ..message(v, Sort::Reply, Carriage::InSink) };
        v.frame(net, &header, b"");
    }),
    ("a reply longer than its sink", "in memory of 100", |v, net, victim| {
        let now = net.now();
        let sink = net.hosts[0].messenger.expose(victim, 100).unwrap();
        net.hosts[0].messenger.request(now, victim, Message::new(1, b"", Instant::FAR), sink).unwrap();
        net.touch(0);
        v.run(net, 50_000);
        let id = v.frames.last().map_or(0, |(header, _)| header.id);
        let header = Header { id, data_len: 101, ..message(v, Sort::Reply, Carriage::InSink) };
        v.frame(net, &header, b"");
    }),
    ("a place in an extent never given", "of extent 9", |v, net, _| {
        let place = PlaceOnWire { extent: 9, offset: 0 };
        let header = Header { data_len: 10, place, ..message(v, Sort::OneWay, Carriage::Offered) };
        v.frame(net, &header, b"");
    }),
    ("a place outside its extent", "of extent 0", |v, net, _| {
        give_key(v, net);
        let place = PlaceOnWire { extent: 0, offset: (1 << 20) - 9 };
        let header = Header { data_len: 10, place, ..message(v, Sort::OneWay, Carriage::Offered) };
        v.frame(net, &header, b"");
    }),
    ("a place that wraps around", "of extent 0", |v, net, _| {
        give_key(v, net);
        let place = PlaceOnWire { extent: 0, offset: u64::MAX - 4 };
        let header = Header { data_len: 10, place, ..message(v, Sort::OneWay, Carriage::Offered) };
        v.frame(net, &header, b"");
    }),
    ("a sink in an extent never given", "of extent 3", |v, net, _| {
        let sink = Some(SinkOnWire { place: PlaceOnWire { extent: 3, offset: 0 }, len: 100 });
        let header = Header { sink, ..message(v, Sort::Request, Carriage::Inside) };
        v.frame(net, &header, b"");
    }),
    ("a key that is garbage", "a key", |v, net, _| {
        let header = Header { front_len: 40, ..v.header(FrameKind::Extent) };
        v.frame(net, &header, &[0xee; 40]);
    }),
    ("an extent given twice", "given before", |v, net, _| {
        give_key(v, net);
        give_key(v, net);
    }),
    ("an extent of a number that is none", "extent 1", |v, net, _| {
        let header = control(v, FrameKind::Extent, 1 << 32 | 1);
        v.frame(net, &header, b"");
    }),
    ("a grant nobody waits for", "a grant for message 1", |v, net, _| {
        let header = control(v, FrameKind::Grant, 1);
        v.frame(net, &header, b"");
    }),
    ("data landed that nobody asked for", "data for message 1", |v, net, _| {
        let header = control(v, FrameKind::Landed, 1);
        v.frame(net, &header, b"");
    }),
    ("a release of what was not held", "a release for message 1", |v, net, _| {
        let header = Header { id: 1, ..message(v, Sort::Release, Carriage::Inside) };
        v.frame(net, &header, b"");
    }),
    ("no bytes to be read", "a message of 0 bytes", |v, net, _| {
        give_key(v, net);
        let header = message(v, Sort::OneWay, Carriage::Offered);
        v.frame(net, &header, b"");
    }),
    ("a frame longer than the receives", "longer than", |v, net, _| {
        let header = Header { data_len: 9000, ..message(v, Sort::OneWay, Carriage::Inside) };
        v.frame(net, &header, &[1; 9000]);
    }),
    ("WRITE with immediate", "WRITE with immediate", |v, net, _| {
        // Space is asked for as it should be, and then written to as it should not.
        let header = Header { data_len: 100, ..message(v, Sort::OneWay, Carriage::Asked) };
        v.frame(net, &header, b"");
        v.run(net, 100_000);
        let key = v
            .frames
            .iter()
            .find(|(header, _)| header.kind == FrameKind::Extent)
            .map(|(_, front)| front.clone());
        let region = v.import(&key.expect("a key"));
        v.write(net, &region, 0, 100, Some(7));
    }),
];

#[test]
fn each_breach_of_the_protocol_ends_its_connection_with_a_reason_and_harms_nobody_else() {
    for (name, words, deed) in DEEDS {
        let mut scene = Scene::new();
        let (mut villain, connection) = scene.let_in();
        deed(&mut villain, &mut scene.net, connection);
        villain.run(&mut scene.net, MS);
        let told: Vec<Event> = scene.net.hosts[0].events.drain(..).collect();
        let reset = told.iter().find_map(|event| match event {
            Event::Reset { connection: gone, cause: Cause::Violation(why) } if *gone == connection => {
                Some(why.to_string())
            }
            _ => None,
        });
        let Some(why) = reset else { panic!("{name}: {told:?}") };
        assert!(why.contains(words), "{name}: {why}");
        assert_eq!(scene.net.hosts[0].messenger.stats().violations, 1, "{name}");
        // A message that is too long for a receive takes the endpoint along: nothing can be said on it.
        if *words != "longer than" {
            assert_eq!(villain.goodbye().as_deref(), Some(&*why), "{name}");
        }
        drop(told);
        scene.is_unharmed();
    }
}

/// The twin: who keeps to the protocol keeps its connection.
#[test]
fn frames_that_may_be_sent_break_nothing() {
    let mut scene = Scene::new();
    let (mut villain, connection) = scene.let_in();
    give_key(&mut villain, &mut scene.net);
    let header = villain.header(FrameKind::Ping);
    villain.frame(&mut scene.net, &header, b"");
    villain.run(&mut scene.net, 50_000);
    let place = PlaceOnWire { extent: 0, offset: (1 << 20) - 10 };
    let header = Header { data_len: 10, place, ..message(&villain, Sort::OneWay, Carriage::Offered) };
    villain.frame(&mut scene.net, &header, b"");
    villain.run(&mut scene.net, 200_000);
    let host = &mut scene.net.hosts[0];
    assert!(matches!(host.events.pop_front(), Some(Event::Delivered(_))));
    assert!(host.messenger.is_established(connection) && host.messenger.stats().violations == 0);
    // Its end is not noticed as a breach either, but as silence.
    villain.run(&mut scene.net, 60 * MS);
    let event = scene.net.hosts[0].events.pop_front();
    assert!(matches!(event, Some(Event::Reset { cause: Cause::Silent(_), .. })), "{event:?}");
    scene.is_unharmed();
}

#[test]
fn a_key_to_somebody_elses_memory_reads_nothing_of_it() {
    let mut scene = Scene::new();
    // Memory of the well-behaved client, and the victim's own: neither is to be had by naming its key.
    for node in [1, 0] {
        let (mut villain, connection) = scene.let_in();
        let now = scene.net.now();
        let good = scene.good;
        let lease = match node {
            1 => scene.net.hosts[1].messenger.expose(good, 4096).unwrap().unwrap(),
            _ => scene.net.hosts[0].messenger.expose(connection, 4096).unwrap().unwrap(),
        };
        lease.write(0, &[0x77; 4096]);
        let context = scene.net.hosts[node].messenger.driver().context();
        let key = (0..4096).rev().find_map(|index| {
            let mr = wavetank_contract::MrId(index);
            wavetank_engine::RdmaOps::export(context, mr).ok()
        });
        let bytes = key.expect("something is registered").as_bytes().to_vec();
        let header = Header { front_len: bytes.len() as u16, ..villain.header(FrameKind::Extent) };
        villain.frame(&mut scene.net, &header, &bytes);
        let header = Header { data_len: 64, ..message(&villain, Sort::OneWay, Carriage::Offered) };
        villain.frame(&mut scene.net, &header, b"");
        villain.run(&mut scene.net, MS);
        let event = scene.net.hosts[0].events.pop_front();
        assert!(matches!(event, Some(Event::Reset { .. })), "{now} {event:?}");
        drop(lease);
        scene.net.hosts[0].events.clear();
    }
    scene.is_unharmed();
}

#[test]
fn the_key_of_a_session_that_is_over_opens_nothing() {
    let mut scene = Scene::new();
    let (mut first, connection) = scene.let_in();
    // Space for 100 bytes is granted, and the key with it.
    let header = Header { data_len: 100, ..message(&first, Sort::OneWay, Carriage::Asked) };
    first.frame(&mut scene.net, &header, b"");
    first.run(&mut scene.net, 100_000);
    let key = first
        .frames
        .iter()
        .find(|(header, _)| header.kind == FrameKind::Extent)
        .map(|(_, front)| front.clone());
    // While its session lasts, it opens what it is for.
    let region = first.import(key.as_ref().expect("a key"));
    first.write(&mut scene.net, &region, 0, 100, None);
    first.run(&mut scene.net, 100_000);
    assert_eq!(first.ended, [Status::Success; 2]);
    let now = scene.net.now();
    scene.net.hosts[0].messenger.close(now, connection, "enough");
    scene.net.touch(0);
    first.run(&mut scene.net, 1_100 * MS);
    let (mut second, _) = scene.let_in();
    let region = second.import(&key.expect("a key"));
    second.write(&mut scene.net, &region, 0, 100, None);
    second.run(&mut scene.net, MS);
    // The victim's endpoint does not answer any more, and its connection is gone.
    let event = scene.net.hosts[0].events.pop_front();
    assert!(matches!(event, Some(Event::Reset { .. })), "{event:?}");
    second.run(&mut scene.net, 800 * MS);
    assert_eq!(second.ended, [Status::RetryExcErr]);
    scene.net.hosts[0].events.clear();
    second.run(&mut scene.net, 60 * MS);
    scene.is_unharmed();
}
