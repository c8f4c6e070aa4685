//! A listener among peers that mean it and peers that do not.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wavetank_engine::bootstrap::message::Kind;
use wavetank_engine::bootstrap::{Heard, ListenerConfig, Role, TcpBootstrap};

use crate::sides::{DIALER, frames, script, us};
use crate::tcp::{LIMIT, accepted, dialled, listener, rejected, send};

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn http_is_named_and_gets_no_answer_and_the_next_peer_is_met() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let request = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (answer, said) = tokio::join!(send(address, request), rejected(&mut listener));
    assert!(said.contains("hello") && said.contains("an HTTP message"), "{said}");
    assert!(said.contains("GET /status HTTP") && said.contains("is this the right port?"), "{said}");
    assert_eq!(answer, b"");
    let (dialled, accepted) = tokio::join!(dialled(address), accepted(&mut listener));
    dialled.map(drop).and(accepted.map(drop)).unwrap();
}

#[tokio::test]
async fn a_damaged_hello_is_answered_with_the_reason() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let mut hello = script()[Role::Dialer as usize].remove(0);
    hello[30] ^= 1;
    let (answer, said) = tokio::join!(send(address, &hello), rejected(&mut listener));
    assert!(said.contains("a HELLO whose CRC32-C is wrong"), "{said}");
    let kinds: Vec<Kind> = frames(&answer).into_iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::Refuse]);
}

#[tokio::test]
async fn a_hundred_peers_with_garbage_do_not_stop_a_good_one() {
    let config = ListenerConfig { limit: PATIENT, pending_max: 8 };
    let (mut listener, address) = listener(config);
    let hello = script()[Role::Dialer as usize].remove(0);
    let mut bad = JoinSet::new();
    for n in 0..100usize {
        // In turn: garbage, half a HELLO and then silence, silence, a HELLO and the end, garbage that does not end.
        let hello = hello.clone();
        bad.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = match n % 5 {
                0 => stream.write_all(&[n as u8; 100]).await,
                1 => stream.write_all(&hello[..hello.len() / 2]).await,
                2 => Ok(()),
                3 => stream.write_all(&hello[..10]).await.and(stream.shutdown().await),
                _ => stream.write_all(&vec![0xff; 1 << 20]).await,
            };
            tokio::time::sleep(PATIENT).await;
        });
    }
    let good = async {
        // In the midst of them, and dialling again when it was dropped for one of them.
        for _ in 0..50 {
            if let Ok(bootstrap) = dialled(address).await {
                return bootstrap;
            }
        }
        panic!("never met")
    };
    let meeting = async {
        loop {
            if let Ok((bootstrap, _)) = accepted(&mut listener).await {
                return bootstrap;
            }
        }
    };
    let met = timeout(PATIENT, async { tokio::join!(good, meeting) }).await;
    let (good, met) = met.expect("well before the silent ones are given up");
    assert_eq!(met.peer().instance.get(), DIALER);
    drop(good);
    // All were dealt with or wait in bounded numbers, and the listener goes on.
    let all = async {
        while listener.rejected_total() < 92 {
            let _ = timeout(Duration::from_millis(50), listener.accept()).await;
        }
    };
    timeout(PATIENT, all).await.expect("no more than 8 are left");
    assert_eq!(std::iter::from_fn(|| listener.take_rejected()).count(), 64, "the last ones are kept");
    bad.abort_all();
    let (dialled, accepted) = tokio::join!(dialled(address), accepted(&mut listener));
    dialled.map(drop).and(accepted.map(drop)).unwrap();
}

#[tokio::test]
async fn of_too_many_silent_peers_the_oldest_is_dropped_for_the_newest() {
    let (mut listener, address) = listener(ListenerConfig { limit: PATIENT, pending_max: 2 });
    let mut silent = Vec::new();
    for n in 0..3 {
        silent.push(TcpStream::connect(address).await.unwrap());
        let waited = timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(waited.is_err());
        assert_eq!(listener.rejected_total(), u64::from(n == 2));
    }
    let dropped = listener.take_rejected().unwrap();
    assert_eq!((dropped.from, dropped.error.is_none()), (silent[0].local_addr().unwrap(), true));
}

#[tokio::test]
async fn peers_that_are_through_or_turned_away_take_no_place_among_the_pending() {
    let (mut listener, address) = listener(ListenerConfig { limit: PATIENT, pending_max: 2 });
    for _ in 0..3 {
        let (dialled, accepted) = tokio::join!(dialled(address), accepted(&mut listener));
        dialled.map(drop).and(accepted.map(drop)).unwrap();
        let (_, said) = tokio::join!(send(address, b"garbage"), rejected(&mut listener));
        assert!(said.contains("garbage"), "{said}");
    }
    let _silent = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    let waited = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(waited.is_err());
    assert_eq!(
        listener.rejected_total(),
        3,
        "neither of the silent two had to go, and nobody is counted twice"
    );
}

#[tokio::test]
async fn silent_peers_are_given_up_one_by_one_at_their_own_deadlines() {
    let config = ListenerConfig { limit: Duration::from_millis(150), ..ListenerConfig::default() };
    let (mut listener, address) = listener(config);
    let _silent = TcpStream::connect(address).await.unwrap();
    let said = rejected(&mut listener).await;
    assert!(said.starts_with("the handshake was not over within 150 ms; it was at the step hello"), "{said}");
}

#[tokio::test]
async fn a_peer_that_stops_half_way_keeps_nobody_from_being_met() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let (stuck, met) = tokio::join!(TcpBootstrap::dial(address, us(DIALER), LIMIT), listener.accept());
    let (_stuck, _met) = (stuck.unwrap(), met.unwrap());
    let (dialled, accepted) = tokio::join!(dialled(address), accepted(&mut listener));
    dialled.map(drop).and(accepted.map(drop)).unwrap();
}

#[tokio::test]
async fn waiting_for_peers_can_be_given_up_and_taken_up_again() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let dial = tokio::spawn(dialled(address));
    let mut met = None;
    for _ in 0..10_000 {
        match timeout(Duration::from_millis(1), listener.accept()).await {
            Ok(accepted) => {
                met = Some(accepted.unwrap());
                break;
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
    let (mut bootstrap, _) = met.expect("met");
    use wavetank_engine::bootstrap::Bootstrap as _;
    bootstrap.exchange(&crate::sides::offer(Role::Listener, 2)).await.unwrap();
    bootstrap.confirm().await.unwrap();
    dial.await.unwrap().unwrap();
}

#[tokio::test]
async fn peers_and_those_that_are_none_are_heard_as_they_come() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let (_, heard) = tokio::join!(send(address, b"GET / HTTP/1.1\r\n\r\n"), listener.hear());
    let Ok(Heard::Rejected(rejected)) = heard else { panic!("{heard:?}") };
    assert!(rejected.error.is_some_and(|error| error.to_string().contains("an HTTP message")));
    let (dialled, heard) = tokio::join!(TcpBootstrap::dial(address, us(DIALER), LIMIT), listener.hear());
    let Ok(Heard::Peer(bootstrap, from)) = heard else { panic!("{heard:?}") };
    assert_eq!((bootstrap.peer().instance.get(), from.ip()), (DIALER, address.ip()));
    dialled.map(drop).unwrap();
}
