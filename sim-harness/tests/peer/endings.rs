//! However a client ends, everything comes back; and however the server ends, the client says so.

use std::time::Duration;

use wavetank_harness::Check;
use wavetank_harness::peer::{Event, Served, ServerConfig};

use crate::support::{Net, attached, beside, context, failed, mixed};

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let Net { fabric, client, server } = Net::new();
    // Room for one alone.
    let config = ServerConfig { memory_bytes_max: 90_000, ..ServerConfig::default() };
    let ((), story) = beside(context(server), config, async |address| {
        let vanishes = attached(mixed(10), fabric, context(client), address).await.unwrap();
        drop(vanishes);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let Net { fabric, client, .. } = Net::new();
            let next = attached(mixed(10), fabric, context(client), address).await;
            drop(next.expect("what the one before had is free again"));
        }
    });
    assert_eq!(story.served, Served { vanished: 4, ..Served::default() }, "{}", story.tell());
    let left = story.events.iter().filter(|event| matches!(event, Event::Left { used_bytes: 0, .. }));
    assert_eq!(left.count(), 4, "{}", story.tell());
}

#[test]
fn several_clients_at_once_have_memory_of_their_own() {
    let Net { fabric, client, server } = Net::new();
    let ((), story) = beside(context(server), ServerConfig::default(), async |address| {
        let first = attached(mixed(10), fabric, context(client), address).await.unwrap();
        let Net { fabric, client, .. } = Net::new();
        let second = attached(mixed(10), fabric, context(client), address).await.unwrap();
        drop(first);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(second);
    });
    let used: Vec<u64> = story
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Left { used_bytes, .. } => Some(*used_bytes),
            _ => None,
        })
        .collect();
    assert_eq!(used, [86_016, 0], "{}", story.tell());
}

#[test]
fn a_server_for_one_client_ends_with_it() {
    let Net { fabric, client, server } = Net::new();
    let config = ServerConfig { once: true, ..ServerConfig::default() };
    let (mut report, story) = beside(context(server), config, async |address| {
        let (replay, peer) = attached(mixed(50), fabric, context(client), address).await.unwrap();
        let mut report = replay.run(&mut |_| ());
        peer.part(&mut report).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let gone = std::net::TcpStream::connect(address).expect_err("nobody listens any more");
        assert_eq!(gone.kind(), std::io::ErrorKind::ConnectionRefused);
        report
    });
    assert_eq!(report.failures.total(), 0);
    assert_eq!(story.served, Served { goodbyes: 1, ..Served::default() }, "{}", story.tell());
    report.latencies.sum_up();
}

#[test]
fn a_server_that_ends_before_the_run_does_is_missed() {
    let Net { fabric, client, server } = Net::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (report, served) = runtime.block_on(async {
        let local = ([127, 0, 0, 1], 0).into();
        let kind = wavetank_engine::BackendKind::Mock;
        let server =
            wavetank_harness::peer::Server::listen(context(server), kind, local, ServerConfig::default())
                .unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = server.serve(async { drop(stopped.await) }, std::rc::Rc::new(|_: &Event| ()));
        let client = async {
            let attached = attached(mixed(50), fabric, context(client), address).await.unwrap();
            drop(stop);
            // It gives everything back, and the simulated NIC scribbles over what nobody has registered any more.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (replay, peer) = attached;
            let mut report = replay.run(&mut |_| ());
            peer.part(&mut report).await;
            report
        };
        let (served, report) = tokio::join!(serving, client);
        (report, served.unwrap())
    });
    assert_eq!(served, Served { cut_off: 1, ..Served::default() });
    failed(&report, Check::Success, &["operation 0 "]);
    failed(&report, Check::Peer, &["the memory server was there, and then it closed its control connection"]);
    failed(&report, Check::Success, &["operation"]);
    assert_eq!(report.bytes_swept, 0, "nothing that was not read counts as swept");
}
