//! What is refused, with the reason on both sides.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use wavetank_engine::bootstrap::{Bootstrap as _, Listener, ListenerConfig, TcpBootstrap, VersionRange};
use wavetank_harness::Workload;
use wavetank_harness::peer::{Event, Served, ServerConfig, attach_simulated};

use crate::support::{LIMIT, Net, Story, attached, beside, context, dial, load, mixed, op, us, workload};

/// What both sides say when a workload is not let in.
fn refused(workload: Workload, config: ServerConfig) -> (String, Story) {
    let Net { fabric, client, server } = Net::new();
    beside(context(server), config, async |hall| {
        let attached = attached(workload, fabric, context(client), hall.address).await;
        let said = attached.map(drop).expect_err("refused").to_string();
        hall.gone(1).await;
        said
    })
}

fn reason(story: &Story) -> &str {
    let [Event::Refused { why, .. }] = &story.events[..] else { panic!("{}", story.tell()) };
    assert_eq!(story.served, Served { refused: 1, ..Served::default() }, "{}", story.tell());
    why
}

#[test]
fn a_client_that_needs_more_memory_than_there_is_hears_how_much() {
    let config = ServerConfig { memory_bytes_max: 80_000, ..ServerConfig::default() };
    let (said, story) = refused(mixed(1), config);
    let why = "86016 bytes of memory are needed, and 80000 of 80000 are free";
    assert!(said.contains("the peer refused (Application)") && said.contains(why), "{said}");
    assert!(reason(&story).contains(why), "{}", story.tell());
}

#[test]
fn what_a_workload_cannot_have_of_another_process_is_told_before_anything_is_asked_for() {
    let send = "[[op]]\nkind = \"send\"\nfrom = \"client\"\nto = \"storage\"\nsize = 100\n";
    let back = "[[op]]\nkind = \"send\"\nfrom = \"storage\"\nto = \"client\"\nsize = 100\n";
    let third =
        "[[node]]\nname = \"third\"\n[[op]]\nkind = \"read\"\nfrom = \"third\"\nregion = \"log\"\nsize = 1\n";
    let here = "[[region]]\nname = \"here\"\nnode = \"client\"\nsize = 100\n";
    let many: String =
        (0..63).map(|n| format!("[[region]]\nname = \"r{n}\"\nnode = \"storage\"\nsize = 1\n")).collect();
    let cases = [
        (send, "nobody is there to check messages"),
        (&op("write_imm", "log", "10"), "leave out send and write_imm"),
        (
            back,
            "one node posts and one is reached, and here storage works with client and client with storage",
        ),
        (third, "replay each in a process of its own"),
        (here, "region \"here\" is of another node"),
        (&many, "at most 64 regions (files of an iolog), and here 65"),
    ];
    for (rest, part) in cases {
        let text = rest.to_owned() + &op("read", "pages", "10") + &load(1);
        let (said, story) = refused(workload(&text), ServerConfig::default());
        assert!(said.starts_with("test.toml: with the storage node in another process "), "{said}");
        assert!(said.contains(part), "{part:?} is not in: {said}");
        // The server sees somebody come and go.
        assert!(reason(&story).contains("closed the connection at the step offer"), "{}", story.tell());
    }
    let mut pairs = mixed(1);
    pairs.settings.queue_pairs = 129;
    assert!(
        refused(pairs, ServerConfig::default()).0.contains("at most 128 queue pairs, and queue_pairs is 129")
    );
}

#[test]
fn a_peer_that_serves_no_memory_is_told_from_one_that_does() {
    let Net { fabric, client, server } = Net::new();
    // A server is met by somebody who wants something else.
    let (said, story) = beside(context(server), ServerConfig::default(), async |hall| {
        let us = wavetank_engine::bootstrap::Introduction { features: 0, ..us() };
        let mut bootstrap = match TcpBootstrap::dial(hall.address, us, LIMIT).await {
            Ok(bootstrap) => bootstrap,
            Err(error) => {
                hall.gone(1).await;
                return error.to_string();
            }
        };
        let offer = wavetank_engine::bootstrap::Offer {
            endpoints: vec![wavetank_contract::EndpointAddress::from_bytes(&[1]).unwrap()],
            ..Default::default()
        };
        let said = bootstrap.exchange(&offer).await.unwrap_err().to_string();
        hall.gone(1).await;
        said
    });
    assert!(said.contains("the client asks for no memory"), "{said}");
    assert!(reason(&story).contains("no `wavetank replay --peer`"), "{}", story.tell());
    // And a client meets somebody else.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async {
        let theirs = wavetank_engine::bootstrap::Introduction { features: 0, ..us() };
        let mut listener = Listener::bind(local(), theirs, ListenerConfig::default()).unwrap();
        let address = listener.address().unwrap();
        let (bootstrap, _other) = tokio::join!(dial(address), listener.accept());
        attach_simulated(mixed(1), fabric, context(client), bootstrap, LIMIT).await.unwrap_err().to_string()
    });
    assert!(said.contains("serves no memory: is a `wavetank serve-memory` of this version there?"), "{said}");
}

fn local() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[test]
fn another_version_of_the_exchange_is_told_on_both_sides() {
    let Net { server, .. } = Net::new();
    let (said, story) = beside(context(server), ServerConfig::default(), async |hall| {
        let versions = VersionRange { min: 7, max: 9 };
        let us = wavetank_engine::bootstrap::Introduction { versions, ..us() };
        let said = TcpBootstrap::dial(hall.address, us, LIMIT).await.unwrap_err().to_string();
        hall.gone(1).await;
        said
    });
    assert!(
        said.contains("speaks version 7 to 9 of the exchange and the peer 1; update the older one"),
        "{said}"
    );
    assert!(
        reason(&story).contains("speaks version 1 of the exchange and the peer 7 to 9"),
        "{}",
        story.tell()
    );
}

#[test]
fn a_server_that_goes_silent_is_given_up_at_the_deadline() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async {
        let silent = TcpListener::bind(local()).await.unwrap();
        let address = silent.local_addr().unwrap();
        TcpBootstrap::dial(address, us(), Duration::from_millis(30)).await.unwrap_err().to_string()
    });
    assert!(said.contains("not over within 30 ms; it was at the step hello"), "{said}");
}

#[test]
fn one_client_too_many_is_told_how_many_there_may_be() {
    let Net { fabric, client, server } = Net::new();
    let config = ServerConfig { clients_max: 1, ..ServerConfig::default() };
    let (said, story) = beside(context(server), config, async |hall| {
        let first = attached(mixed(1), fabric, context(client), hall.address).await.unwrap();
        let Net { fabric, client, .. } = Net::new();
        let said = attached(mixed(1), fabric, context(client), hall.address)
            .await
            .map(drop)
            .expect_err("refused")
            .to_string();
        drop(first);
        hall.gone(2).await;
        said
    });
    assert!(said.contains("1 clients are being served, as many as may be (--clients-max)"), "{said}");
    assert_eq!(story.served, Served { refused: 1, vanished: 1, ..Served::default() }, "{}", story.tell());
}
