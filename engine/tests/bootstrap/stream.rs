//! The exchange over a stream, on paused time: what passes, what is told, and what is never waited for.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use wavetank_engine::bootstrap::{Bootstrap, BootstrapError, RefusalCode, Role, Step, StreamBootstrap};

use crate::sides::{instance_of, offer, script, us};

pub(crate) const LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn meet(
    stream: DuplexStream,
    role: Role,
) -> Result<StreamBootstrap<DuplexStream>, BootstrapError> {
    StreamBootstrap::new(stream, role, us(instance_of(role)), LIMIT).await
}

/// A whole handshake of one side.
pub(crate) async fn whole(
    stream: DuplexStream,
    role: Role,
) -> Result<StreamBootstrap<DuplexStream>, BootstrapError> {
    let mut bootstrap = meet(stream, role).await?;
    let theirs = bootstrap.exchange(&offer(role, 2)).await?;
    assert_eq!(theirs, offer(role.other(), 2));
    bootstrap.pause().await?;
    bootstrap.confirm().await?;
    Ok(bootstrap)
}

/// Both ends of a stream, introduced to each other.
async fn met() -> (StreamBootstrap<DuplexStream>, StreamBootstrap<DuplexStream>) {
    let (a, b) = duplex(4096);
    let (a, b) = tokio::join!(meet(a, Role::Dialer), meet(b, Role::Listener));
    (a.unwrap(), b.unwrap())
}

#[tokio::test(start_paused = true)]
async fn two_sides_agree_over_pipes_of_any_width() {
    for width in [1, 7, 64, 1 << 16] {
        let (a, b) = duplex(width);
        let (a, b) = tokio::join!(whole(a, Role::Dialer), whole(b, Role::Listener));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.peer().instance.get(), instance_of(Role::Listener));
        assert_eq!(b.peer().instance.get(), instance_of(Role::Dialer));
    }
}

#[tokio::test(start_paused = true)]
async fn one_end_of_the_stream_tells_when_the_other_is_gone() {
    let (a, b) = duplex(64);
    let (a, b) = tokio::join!(whole(a, Role::Dialer), whole(b, Role::Listener));
    let mut waiting = Box::pin(b.unwrap().closed());
    let early = tokio::time::timeout(Duration::from_secs(3600), &mut waiting).await;
    assert!(early.is_err(), "the peer is still there: {early:?}");
    drop(a);
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_last_message_are_an_error_and_not_the_end() {
    let (a, mut b) = duplex(4096);
    let peer = async {
        play(&mut b, Role::Listener, 3).await;
        b.write_all(b"and another thing").await.unwrap();
        b
    };
    let (a, _b) = tokio::join!(whole(a, Role::Dialer), peer);
    // Whether they come with the last message or after it.
    let error = match a {
        Ok(bootstrap) => bootstrap.closed().await.expect_err("bytes came"),
        Err(error) => error,
    };
    assert!(error.to_string().contains("17 bytes behind the last message"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_time_the_application_takes_counts_and_is_named_as_its_own() {
    let (mut a, _b) = met().await;
    sleep(LIMIT).await;
    let late = a.exchange(&offer(Role::Dialer, 2)).await.unwrap_err();
    assert!(matches!(late, BootstrapError::Timeout { step: Step::OwnOffer, limit: LIMIT }), "{late}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_never_ready_end_a_pause_at_the_deadline() {
    let start = Instant::now();
    let (mut a, mut b) = met().await;
    let (dialers, listeners) = (offer(Role::Dialer, 2), offer(Role::Listener, 2));
    let (x, y) = tokio::join!(a.exchange(&dialers), b.exchange(&listeners));
    x.and(y).unwrap();
    let mut pauses = 0;
    let late = loop {
        match a.pause().await {
            Ok(()) => pauses += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(late, BootstrapError::Timeout { step: Step::Connect, .. }), "{late}");
    assert_eq!(start.elapsed(), LIMIT);
    assert!((5_000..=10_000).contains(&pauses), "{pauses} pauses of about a millisecond");
    let told = b.confirm().await.unwrap_err();
    assert!(matches!(told, BootstrapError::Refused { code: RefusalCode::Timeout, .. }), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_heard_during_a_pause_and_not_only_after_the_last() {
    let (mut a, mut b) = met().await;
    let (dialers, listeners) = (offer(Role::Dialer, 2), offer(Role::Listener, 2));
    let (x, y) = tokio::join!(a.exchange(&dialers), b.exchange(&listeners));
    x.and(y).unwrap();
    b.refuse(RefusalCode::NotConnected, "queue pair 7 went to ERR").await;
    let told = a.pause().await.unwrap_err();
    assert_eq!(
        told.to_string(),
        "at the step connect (waiting for this side's endpoints to reach RTS) the peer refused (NotConnected): \
         queue pair 7 went to ERR"
    );
    assert!(matches!(a.confirm().await, Err(BootstrapError::Failed)));
}

#[tokio::test(start_paused = true)]
async fn a_bad_offer_of_our_own_is_refused_and_a_better_one_may_follow() {
    let (mut a, mut b) = met().await;
    let mut long = offer(Role::Dialer, 2);
    long.blob = vec![0; 4097];
    assert!(matches!(a.exchange(&long).await, Err(BootstrapError::OwnOffer(_))));
    let (dialers, listeners) = (offer(Role::Dialer, 2), offer(Role::Listener, 2));
    let (x, y) = tokio::join!(a.exchange(&dialers), b.exchange(&listeners));
    assert_eq!((x.unwrap(), y.unwrap()), (listeners, dialers));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_was_dropped_half_way_is_not_begun_again() {
    let (mut a, _b) = met().await;
    let dropped = tokio::time::timeout(Duration::from_millis(5), a.exchange(&offer(Role::Dialer, 2))).await;
    assert!(dropped.is_err());
    // What was said is said.
    let again = a.exchange(&offer(Role::Dialer, 2)).await.unwrap_err();
    assert!(matches!(again, BootstrapError::NotDue { step: Step::Answer, .. }), "{again}");
}

/// Plays the first `count` messages of a role, each once the other side has spoken.
pub(crate) async fn play(stream: &mut DuplexStream, role: Role, count: usize) {
    let script = script();
    for (index, frame) in script[role as usize].iter().take(count).enumerate() {
        // A listener speaks after each message, a dialer before.
        if let Some(heard) = (index + usize::from(role == Role::Listener)).checked_sub(1) {
            let mut bytes = vec![0; script[role.other() as usize][heard].len()];
            stream.read_exact(&mut bytes).await.unwrap();
            assert_eq!(bytes, script[role.other() as usize][heard], "what {} hears {heard}", role.name());
        }
        stream.write_all(frame).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_hear_the_offer_before_it_makes_its_own_and_hears_it_once_more_after() {
    let (mut dialer, mut listener) = met().await;
    let asks = async {
        let theirs = dialer.exchange(&offer(Role::Dialer, 3)).await.unwrap();
        assert_eq!(theirs, offer(Role::Listener, 3));
        dialer.confirm().await.unwrap();
    };
    let answers = async {
        let heard = listener.hear_offer().await.unwrap();
        assert_eq!(heard, offer(Role::Dialer, 3));
        let ours = offer(Role::Listener, heard.endpoints.len() as u8);
        assert_eq!(listener.exchange(&ours).await.unwrap(), heard);
        listener.confirm().await.unwrap();
    };
    tokio::join!(asks, answers);
    // What is said afterwards is for whoever takes the stream.
    let (mut dialer, mut listener) = (dialer.into_stream().unwrap(), listener.into_stream().unwrap());
    listener.write_all(b"first").await.unwrap();
    let mut heard = [0; 5];
    dialer.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"first");
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_is_refused_when_it_is_heard_ends_the_dialer_with_the_reason() {
    let (mut dialer, mut listener) = met().await;
    let asks = async { dialer.exchange(&offer(Role::Dialer, 2)).await.unwrap_err().to_string() };
    let refuses = async {
        listener.hear_offer().await.unwrap();
        listener.refuse(RefusalCode::Application, "too much").await;
    };
    let (said, ()) = tokio::join!(asks, refuses);
    assert!(said.contains("refused (Application): too much"), "{said}");
    let said = listener.into_stream().unwrap_err().to_string();
    assert!(said.contains("the handshake failed before"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_an_unfinished_handshake_is_not_given_away() {
    let (dialer, _listener) = met().await;
    let said = dialer.into_stream().unwrap_err().to_string();
    assert!(said.starts_with("the stream is not due at the step own offer"), "{said}");
}
