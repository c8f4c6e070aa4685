//! However a client ends, everything comes back; and however the server ends, the client says so.

use wavetank_harness::Check;
use wavetank_harness::peer::{Event, Served, ServerConfig};

use crate::support::{Net, attached, beside, context, failed, mixed};

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let Net { server, .. } = Net::new();
    // Room for one alone.
    let config = ServerConfig { memory_bytes_max: 90_000, ..ServerConfig::default() };
    let ((), story) = beside(context(server), config, async |hall| {
        for clients in 1..=4 {
            let Net { fabric, client, .. } = Net::new();
            let attached = attached(mixed(10), fabric, context(client), hall.address).await;
            drop(attached.expect("what the one before had is free again"));
            hall.gone(clients).await;
        }
    });
    assert_eq!(story.served, Served { vanished: 4, ..Served::default() }, "{}", story.tell());
    let left = story.events.iter().filter(|event| matches!(event, Event::Left { used_bytes: 0, .. }));
    assert_eq!(left.count(), 4, "{}", story.tell());
}

#[test]
fn several_clients_at_once_have_memory_of_their_own() {
    let Net { fabric, client, server } = Net::new();
    let ((), story) = beside(context(server), ServerConfig::default(), async |hall| {
        let first = attached(mixed(10), fabric, context(client), hall.address).await.unwrap();
        let Net { fabric, client, .. } = Net::new();
        let second = attached(mixed(10), fabric, context(client), hall.address).await.unwrap();
        drop(first);
        hall.gone(1).await;
        drop(second);
        hall.gone(2).await;
    });
    let used = story.events.iter().filter_map(|event| match event {
        Event::Left { used_bytes, .. } => Some(*used_bytes),
        _ => None,
    });
    assert_eq!(used.collect::<Vec<_>>(), [86_016, 0], "{}", story.tell());
}

#[test]
fn a_server_for_one_client_ends_with_it() {
    let Net { fabric, client, server } = Net::new();
    let config = ServerConfig { once: true, ..ServerConfig::default() };
    let (report, story) = beside(context(server), config, async |hall| {
        let (replay, peer) = attached(mixed(50), fabric, context(client), hall.address).await.unwrap();
        let mut report = replay.run(&mut |_| ());
        peer.part(&mut report).await;
        hall.over().await;
        let gone = std::net::TcpStream::connect(hall.address).expect_err("nobody listens any more");
        assert_eq!(gone.kind(), std::io::ErrorKind::ConnectionRefused);
        report
    });
    assert!(report.ok());
    assert_eq!(story.served, Served { goodbyes: 1, ..Served::default() }, "{}", story.tell());
}

#[test]
fn a_server_that_ends_before_the_run_does_is_missed() {
    let Net { fabric, client, server } = Net::new();
    let (report, story) = beside(context(server), ServerConfig::default(), async |hall| {
        let (replay, peer) = attached(mixed(50), fabric, context(client), hall.address).await.unwrap();
        hall.stop();
        hall.over().await;
        let mut report = replay.run(&mut |_| ());
        peer.part(&mut report).await;
        report
    });
    assert_eq!(story.served, Served { cut_off: 1, ..Served::default() }, "{}", story.tell());
    failed(&report, Check::Success, &["operation 0 "]);
    failed(&report, Check::Peer, &["the memory server was there, and then it closed its control connection"]);
    assert_eq!(report.bytes_swept, 0, "nothing that was not read counts as swept");
}
