//! Peers that are silent, slow, deaf or gone, at every step, on paused time.

use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::time::{Instant, sleep};
use wavetank_engine::bootstrap::{BootstrapError, Role, Step};

use crate::sides::script;
use crate::stream::{LIMIT, meet, play, whole};

/// Where a side is after so many messages of its peer.
const PLACES: [(Role, usize, Step); 7] = [
    (Role::Dialer, 0, Step::Hello),
    (Role::Dialer, 1, Step::Answer),
    (Role::Dialer, 2, Step::Ready),
    (Role::Listener, 0, Step::Hello),
    (Role::Listener, 1, Step::Offer),
    (Role::Listener, 2, Step::Ready),
    (Role::Listener, 3, Step::Ack),
];

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up_at_the_deadline_and_at_the_step_it_left() {
    for (role, heard, at) in PLACES {
        let start = Instant::now();
        let (ours, mut theirs) = duplex(4096);
        let silent = async {
            play(&mut theirs, role.other(), heard).await;
            sleep(2 * LIMIT).await;
        };
        let (error, ()) = tokio::join!(
            async {
                let error = whole(ours, role).await.unwrap_err();
                assert_eq!(start.elapsed(), LIMIT, "{} at {at}", role.name());
                error
            },
            silent
        );
        assert!(
            matches!(error, BootstrapError::Timeout { step, limit: LIMIT } if step == at),
            "{at}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_its_half_is_noticed_at_once_and_at_the_step_it_left() {
    for (role, heard, at) in PLACES {
        let start = Instant::now();
        let (ours, mut theirs) = duplex(4096);
        let closing = async {
            play(&mut theirs, role.other(), heard).await;
            theirs.shutdown().await.unwrap();
            // It still reads.
            sleep(2 * LIMIT).await;
        };
        let (error, ()) = tokio::join!(
            async {
                let error = whole(ours, role).await.unwrap_err();
                assert!(start.elapsed() < Duration::from_secs(1), "{} at {at}", role.name());
                error
            },
            closing
        );
        // Endpoints are moved between two words: it may be noticed then.
        let moving = if at == Step::Ready { Step::Connect } else { at };
        assert!(
            matches!(error, BootstrapError::Closed { step, amid: false } if step == at || step == moving),
            "{at}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_gets_no_further_than_silence() {
    for role in [Role::Dialer, Role::Listener] {
        let start = Instant::now();
        let (ours, mut theirs) = duplex(4096);
        let hello = script()[role.other() as usize].remove(0);
        let trickle = async {
            for byte in hello {
                if theirs.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let (error, ()) = tokio::join!(
            async {
                let error = meet(ours, role).await.unwrap_err();
                assert_eq!(start.elapsed(), LIMIT);
                error
            },
            trickle
        );
        assert!(matches!(error, BootstrapError::Timeout { step: Step::Hello, .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_millisecond_is_slow_and_good_enough() {
    let (ours, mut theirs) = duplex(4096);
    let hello = script()[Role::Listener as usize].remove(0);
    let trickle = async {
        for byte in hello {
            theirs.write_all(&[byte]).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        theirs
    };
    let (met, _theirs) = tokio::join!(meet(ours, Role::Dialer), trickle);
    met.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up_at_the_deadline() {
    let start = Instant::now();
    // Fewer bytes than a HELLO has.
    let (ours, _theirs) = duplex(16);
    let error = meet(ours, Role::Dialer).await.unwrap_err();
    assert!(matches!(error, BootstrapError::Timeout { step: Step::Hello, .. }), "{error}");
    assert_eq!(start.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanished_before_we_spoke_is_closed_and_not_an_accident() {
    let (ours, theirs) = duplex(4096);
    drop(theirs);
    let error = meet(ours, Role::Dialer).await.unwrap_err();
    assert!(matches!(error, BootstrapError::Closed { step: Step::Hello, .. }), "{error}");
}
