//! Processes that stand still, for a while or for too long.

use std::time::Duration;

use wavetank_contract::Class;
use wavetank_messenger::{Policy, RequestError};

use crate::client::{Told, beside};
use crate::devices;
use crate::talking::echo;

const S: u64 = 1_000_000_000;

#[test]
fn a_server_that_stands_still_for_a_moment_is_waited_for_and_nothing_is_lost() {
    for device in devices() {
        beside(
            &device,
            Policy::LosslessClient,
            Policy::StatefulServer,
            async |messenger, to, ears, server| {
                server.stop();
                let asked = echo(&messenger, to, 50_000, 10 * S);
                let woken = async {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    server.go_on();
                };
                let (echoed, ()) = tokio::join!(asked, woken);
                echoed.unwrap();
                assert!(
                    !ears.0.borrow().iter().any(|told| matches!(told, Told::Reconnecting(_))),
                    "{device:?}"
                );
                messenger.close(to, "done");
            },
        );
    }
}

#[test]
fn a_server_that_stands_still_for_too_long_is_given_up_and_found_again() {
    for device in devices() {
        beside(
            &device,
            Policy::LosslessClient,
            Policy::StatefulServer,
            async |messenger, to, ears, server| {
                echo(&messenger, to, 10, S).await.unwrap();
                server.stop();
                let late = echo(&messenger, to, 50_000, S / 2).await.unwrap_err();
                assert!(matches!(late, RequestError::Deadline(_)), "{device:?}: {late}");
                assert_eq!(late.class(), Class::PeerGone);
                ears.wait(&Told::Reconnecting(Class::PeerGone)).await;
                server.go_on();
                // Both go on where they were, or the server gave up first and says so; either way messages flow again.
                echo(&messenger, to, 50_000, 15 * S).await.unwrap();
                messenger.close(to, "done");
            },
        );
    }
}
