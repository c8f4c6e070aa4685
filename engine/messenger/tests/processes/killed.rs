//! Processes that end without a word.

use std::process::{Command, Stdio};
use std::time::Duration;

use wavetank_contract::Class;
use wavetank_messenger::{ConnectionId, LocalMessenger, Message, Policy, RequestError};

use crate::client::{Ears, Told, beside, clock, local, open};
use crate::devices;
use crate::server::{KEEP, LEFT, Server};
use crate::talking::echo;

const S: u64 = 1_000_000_000;

#[test]
fn a_server_that_is_killed_ends_the_connection_and_every_request() {
    for device in devices() {
        beside(&device, Policy::LossyClient, Policy::StatelessServer, async |messenger, to, ears, server| {
            echo(&messenger, to, 100_000, S).await.unwrap();
            let kept: Vec<_> = (0..5)
                .map(|_| {
                    let message = Message::new(KEEP, b"", messenger.now() + 30 * S);
                    messenger.request(to, message, None).unwrap()
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let killed_at = messenger.now();
            server.kill();
            for request in kept {
                let no = request.await.map(drop).unwrap_err();
                assert!(matches!(no.why, RequestError::Reset(_)), "{device:?}: {:?}", no.why);
                assert_eq!(no.why.class(), Class::PeerGone);
            }
            ears.wait(&Told::Reset(Class::PeerGone)).await;
            let took = messenger.now().since_ns(killed_at);
            assert!(took < 2 * S, "{device:?}: {took} ns, though the end of the line tells at once");
            let left = messenger.with(|messenger| messenger.outstanding());
            assert_eq!(
                (left.connections, left.requests, left.outgoing, left.moves),
                (0, 0, 0, 0),
                "{device:?}"
            );
        });
    }
}

#[test]
fn a_lossless_client_finds_the_server_s_next_life_and_is_told_that_it_is_another() {
    for device in devices() {
        beside(
            &device,
            Policy::LosslessClient,
            Policy::StatefulServer,
            async |messenger, to, ears, server| {
                echo(&messenger, to, 70_000, S).await.unwrap();
                let kept =
                    messenger.request(to, Message::new(KEEP, b"", messenger.now() + 30 * S), None).unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                let address = server.kill();
                ears.wait(&Told::Reconnecting(Class::PeerGone)).await;
                let next = Server::start(&device, Policy::StatefulServer, &address.to_string());
                let no = kept.await.map(drop).unwrap_err();
                assert_eq!(no.why, RequestError::RemoteReset, "{device:?}: nobody knows what became of it");
                assert!(ears.heard(&Told::RemoteReset));
                for len in [0, 5000, 200_000] {
                    echo(&messenger, to, len, 5 * S).await.unwrap();
                }
                messenger.close(to, "done");
                drop(next);
            },
        );
    }
}

#[test]
fn a_client_that_is_killed_costs_the_server_nothing_for_long() {
    for device in devices() {
        beside(&device, Policy::LossyClient, Policy::StatelessServer, async |messenger, to, _, server| {
            let other = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "killed::role_client", "--ignored"])
                .env("BACKEND", device.backend.name())
                .env("DEVICE", &device.client)
                .env("DIAL", server.address.to_string())
                .stdout(Stdio::null())
                .spawn();
            let mut other = other.unwrap();
            while left(&messenger, to).await.0 != 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            other.kill().unwrap();
            other.wait().unwrap();
            while left(&messenger, to).await.0 != 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(left(&messenger, to).await.1, 0, "{device:?}: memory of a client that is gone is out");
            echo(&messenger, to, 70_000, 5 * S).await.unwrap();
            messenger.close(to, "done");
        });
    }
}

/// Connections of the server, and leases of its pool that are out.
async fn left(messenger: &LocalMessenger, to: ConnectionId) -> (u32, u32) {
    let asked = messenger.request(to, Message::new(LEFT, b"", messenger.now() + 5 * S), None).unwrap();
    let reply = asked.await.unwrap();
    let mut front = [0; 1024];
    let text = String::from_utf8(reply.front(&mut front).to_vec()).unwrap();
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.nth(1).unwrap())
}

/// Not a test: a client that asks for more and more until it is killed.
#[test]
#[ignore = "a role, which another test starts in a process of its own"]
fn role_client() {
    let Ok(dial) = std::env::var("DIAL") else { return };
    let backend = std::env::var("BACKEND").unwrap().parse().unwrap();
    let device = std::env::var("DEVICE").unwrap();
    local(async move {
        let (messenger, mut carrier) = open(backend, &device, 3, Ears::default());
        let (to, connecting) = messenger.connect(&dial, None, Policy::LossyClient).unwrap();
        let asking = async {
            connecting.await.unwrap();
            loop {
                let echoes = [500_000, 100, 6000].map(|len| echo(&messenger, to, len, 10 * S));
                let [a, b, c] = echoes;
                let _ = tokio::join!(a, b, c);
            }
        };
        carrier.run(clock(), asking).await.unwrap();
    });
}
