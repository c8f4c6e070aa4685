//! Clients that mean harm, over real sockets: nobody else notices.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use wavetank_client::seaweed;
use wavetank_daemon::ipc::ClientLimits;
use wavetank_ipc::seaweed::{Message, Ping, StartRead, frame, request_as_go};

use super::{Place, client, eventually, wanted};

const MS: u64 = 1_000_000;

#[test]
fn one_connection_too_many_is_closed_and_one_less_makes_room() {
    let place = Place::new();
    let engine = place.engine(ClientLimits { connections_max: 3, ..ClientLimits::default() });
    let mut held: Vec<_> = (0..3).map(|_| seaweed::Client::connect(&place.path).unwrap()).collect();
    held.iter_mut().for_each(|client| drop(client.ping().unwrap()));
    assert!(seaweed::Client::connect(&place.path).unwrap().ping().is_err());
    held.pop();
    eventually("its end is seen", || engine.with(|server, _| server.stats().connections_now.get()) == 2);
    seaweed::Client::connect(&place.path).unwrap().ping().unwrap();
    assert_eq!(engine.with(|server, _| server.stats().refused_by_number.get()), 1);
}

#[test]
fn half_a_frame_is_closed_in_time() {
    let place = Place::new();
    let engine = place.engine(ClientLimits { half_frame_ns: 30 * MS, ..ClientLimits::default() });
    let mut half = UnixStream::connect(&place.path).unwrap();
    let mut twin = seaweed::Client::connect(&place.path).unwrap();
    twin.ping().unwrap();
    half.write_all(b"\x10\0").unwrap();
    assert_eq!(half.read(&mut [0; 16]).unwrap(), 0);
    twin.ping().unwrap();
    assert_eq!(engine.with(|server, _| server.stats().ended_by_deadline.get()), 1);
}

#[test]
fn who_never_reads_is_closed_and_others_are_served() {
    let place = Place::new();
    let limits = ClientLimits { stall_ns: 50 * MS, outbox_bytes_max: 4096, ..ClientLimits::default() };
    let engine = place.engine(limits);
    let mut deaf = UnixStream::connect(&place.path).unwrap();
    let ping = frame(&request_as_go(&Message::Ping(Ping::default())).unwrap()).repeat(100);
    let mut client = client(&engine, None);
    while deaf.write_all(&ping).is_ok() {
        client.ping().unwrap();
    }
    client.read(&wanted(3, 9, 0, 10)).unwrap();
    assert_eq!(engine.with(|server, _| server.stats().ended_by_deadline.get()), 1);
}

#[test]
fn a_flood_of_sessions_is_refused_and_gives_back_by_time() {
    let place = Place::new();
    let engine =
        place.engine(ClientLimits { sessions_max: 5, session_ns_max: 200 * MS, ..ClientLimits::default() });
    let mut flood = seaweed::Client::connect(&place.path).unwrap();
    let start = StartRead {
        volume_id: 3,
        needle_id: 9,
        cookie: 9,
        size: 10,
        timeout_secs: u64::MAX,
        ..StartRead::default()
    };
    let refused =
        (0..50).filter(|_| matches!(flood.start_read(start.clone()).unwrap(), Message::Error(_))).count();
    assert_eq!(refused, 45);
    client(&engine, None).read(&wanted(3, 9, 0, 10)).unwrap();
    eventually("sessions end", || {
        engine.with(|server, pattern| (server.stats().sessions_now.get(), pattern.leases())) == (0, 0)
    });
    assert!(matches!(flood.start_read(start).unwrap(), Message::StartReadResponse(_)));
}
