//! Real TCP on loopback: who is reached, and what is said when nobody is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wavetank_engine::BackendKind;
use wavetank_engine::bootstrap::{
    Bootstrap, BootstrapError, InstanceId, Introduction, Listener, ListenerConfig, Role, Step, TcpBootstrap,
};

use crate::sides::{DIALER, LISTENER, offer, us};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn listener(config: ListenerConfig) -> (Listener, SocketAddr) {
    let listener = Listener::bind(local(), us(LISTENER), config).unwrap();
    let address = listener.address().unwrap();
    (listener, address)
}

/// A dialer's whole handshake.
pub(crate) async fn dialled(address: SocketAddr) -> Result<TcpBootstrap, BootstrapError> {
    let mut bootstrap = TcpBootstrap::dial(address, us(DIALER), LIMIT).await?;
    assert_eq!(bootstrap.exchange(&offer(Role::Dialer, 2)).await?, offer(Role::Listener, 2));
    bootstrap.confirm().await?;
    Ok(bootstrap)
}

/// A listener's whole handshake with the next peer.
pub(crate) async fn accepted(listener: &mut Listener) -> Result<(TcpBootstrap, SocketAddr), BootstrapError> {
    let (mut bootstrap, from) = listener.accept().await?;
    assert_eq!(bootstrap.exchange(&offer(Role::Listener, 2)).await?, offer(Role::Dialer, 2));
    bootstrap.confirm().await?;
    Ok((bootstrap, from))
}

async fn agree_over(address: SocketAddr) {
    let mut listener = Listener::bind(address, us(LISTENER), ListenerConfig::default()).unwrap();
    let address = listener.address().unwrap();
    let (dialled, accepted) = tokio::join!(dialled(address), accepted(&mut listener));
    let (accepted, from) = accepted.unwrap();
    assert_eq!((from.ip(), listener.rejected_total()), (address.ip(), 0));
    assert_eq!(accepted.peer().instance.get(), DIALER);
    assert_eq!(dialled.unwrap().peer().instance.get(), LISTENER);
}

#[tokio::test]
async fn two_sides_agree_over_ipv4() {
    agree_over((Ipv4Addr::LOCALHOST, 0).into()).await;
}

#[tokio::test]
async fn two_sides_agree_over_ipv6() {
    let local = (Ipv6Addr::LOCALHOST, 0);
    // A machine may have no IPv6 at all; then there is nothing to try.
    if TcpListener::bind(local).await.is_ok() {
        agree_over(local.into()).await;
    }
}

#[tokio::test]
async fn a_peer_is_found_by_name() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let name = ("localhost", address.port());
    let (dialled, accepted) = tokio::join!(TcpBootstrap::dial(name, us(DIALER), LIMIT), listener.accept());
    dialled.map(drop).and(accepted.map(drop)).unwrap();
}

#[tokio::test]
async fn a_port_in_use_says_so_and_a_free_one_is_had() {
    let (_first, address) = listener(ListenerConfig::default());
    let error = Listener::bind(address, us(LISTENER), ListenerConfig::default()).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!("cannot listen on {address}: ")), "{said}");
    assert!(said.ends_with("another process listens there: stop it or choose another port"), "{said}");
    // Not every error is that one.
    let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
    let said = Listener::bind(foreign, us(LISTENER), ListenerConfig::default()).unwrap_err().to_string();
    assert!(said.contains("192.0.2.1") && !said.contains("another process"), "{said}");
}

#[tokio::test]
async fn a_port_can_be_had_again_as_soon_as_its_listener_is_gone() {
    let (mut first, address) = listener(ListenerConfig::default());
    let (dialled, accepted) = tokio::join!(dialled(address), accepted(&mut first));
    // The listener's side closes first, and its port has a connection that lingers (TIME_WAIT).
    drop(accepted.unwrap());
    dialled.unwrap().closed().await.unwrap();
    drop(first);
    Listener::bind(address, us(LISTENER), ListenerConfig::default()).unwrap();
}

#[tokio::test]
async fn where_nobody_listens_the_step_is_dial() {
    let (gone, address) = listener(ListenerConfig::default());
    drop(gone);
    let error = TcpBootstrap::dial(address, us(DIALER), LIMIT).await.unwrap_err();
    let BootstrapError::Io { step: Step::Dial, source } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("dial (waiting for the peer to take the connection)"), "{error}");
}

#[tokio::test]
async fn a_server_of_something_else_is_told_from_a_listener() {
    let server = TcpListener::bind(local()).await.unwrap();
    let address = server.local_addr().unwrap();
    let serve = async {
        let (mut stream, _) = server.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (error, _stream) = tokio::join!(TcpBootstrap::dial(address, us(DIALER), LIMIT), serve);
    let said = error.unwrap_err().to_string();
    assert!(
        said.contains("hello") && said.contains("an HTTP message, which begins with \"HTTP/1.1 400 Bad"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_speaks_is_given_up_on() {
    let server = TcpListener::bind(local()).await.unwrap();
    let address = server.local_addr().unwrap();
    let (error, _stream) = tokio::join!(TcpBootstrap::dial(address, us(DIALER), LIMIT), server.accept());
    let error = error.unwrap_err();
    // The clock runs ahead while the kernel works: it may be over before the connection is there.
    assert!(
        matches!(error, BootstrapError::Timeout { step: Step::Hello | Step::Dial, limit: LIMIT }),
        "{error}"
    );
}

#[tokio::test]
async fn a_process_that_dials_itself_is_told_so_on_both_ends() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let dial = TcpBootstrap::dial(address, us(LISTENER), LIMIT);
    let error = tokio::select! { biased; error = dial => error.unwrap_err(), met = listener.accept() => panic!("{met:?}") };
    assert!(matches!(error, BootstrapError::Itself(_)), "{error}");
    let rejected = rejected(&mut listener).await;
    assert!(rejected.contains("reached itself"), "{rejected}");
}

#[tokio::test]
async fn a_peer_with_another_backend_is_told_which_by_the_listener() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let other = Introduction { backend: BackendKind::Ucx, ..us(DIALER) };
    let dial = TcpBootstrap::dial(address, other, LIMIT);
    let error = tokio::select! { biased; error = dial => error.unwrap_err(), met = listener.accept() => panic!("{met:?}") };
    assert!(error.to_string().contains("ucx backend and the peer's of mock"), "{error}");
    let rejected = rejected(&mut listener).await;
    assert!(rejected.contains("mock backend and the peer's of ucx"), "{rejected}");
}

#[tokio::test]
async fn a_connection_that_is_reset_is_closed_by_the_peer() {
    let (mut listener, address) = listener(ListenerConfig::default());
    let (stream, accepted) = tokio::join!(
        async {
            let mut stream = TcpBootstrap::dial(address, us(DIALER), LIMIT).await.unwrap();
            let _ = stream.pause().await;
            stream
        },
        listener.accept()
    );
    let (mut accepted, _) = accepted.unwrap();
    drop(stream);
    let error = accepted.exchange(&offer(Role::Listener, 2)).await.unwrap_err();
    assert!(matches!(error, BootstrapError::Closed { step: Step::Offer, amid: false }), "{error}");
}

#[tokio::test]
async fn instances_drawn_from_the_system_differ() {
    assert_ne!(InstanceId::random().unwrap(), InstanceId::random().unwrap());
}

/// Why the next connection is turned away.
pub(crate) async fn rejected(listener: &mut Listener) -> String {
    loop {
        if let Some(rejected) = listener.take_rejected() {
            return rejected.error.map_or("dropped for others".into(), |error| error.to_string());
        }
        let waited = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
        assert!(waited.is_err(), "nobody fits: {waited:?}");
    }
}

/// Sends bytes, and answers with what comes back until the end.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A listener that has seen enough resets the connection.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}
