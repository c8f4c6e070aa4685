//! The client's side, in the test's own process.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use wavetank_contract::{Class, Instant};
use wavetank_engine::bootstrap::InstanceId;
use wavetank_engine::{BackendKind, Driver, DriverConfig, PortConfig, RdmaContext};
use wavetank_messenger::{
    Cause, ConnectionId, Dispatcher, Incoming, LocalMessenger, Messenger, MessengerConfig, Policy,
    TcpCarrier, TcpConfig,
};

use crate::Devices;
use crate::server::Server;

const MS: u64 = 1_000_000;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Real time, from now on.
pub(crate) fn clock() -> impl Fn() -> Instant + Clone {
    let started = tokio::time::Instant::now();
    move || Instant(started.elapsed().as_nanos() as u64)
}

/// Runs a future on a runtime of its own.
pub(crate) fn local(future: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future);
}

/// A messenger that gives a silent peer up after three seconds.
pub(crate) fn open(
    backend: BackendKind,
    device: &str,
    name: u64,
    dispatcher: impl Dispatcher,
) -> (LocalMessenger, TcpCarrier) {
    let context = RdmaContext::open_device(backend, device, PortConfig::default()).unwrap();
    let config = MessengerConfig {
        keepalive_ns: 200 * MS,
        silence_ns: 3_000 * MS,
        connect_ns: 5_000 * MS,
        give_up_ns: 20_000 * MS,
        pool_bytes: 64 << 20,
        receive_bytes: 8 << 20,
        ..MessengerConfig::new(name, backend)
    };
    let driver = Driver::new(context, DriverConfig::default());
    let messenger = Messenger::new(driver, backend, InstanceId::random().unwrap(), config).unwrap();
    let messenger = LocalMessenger::new(messenger, dispatcher);
    let carrier = TcpCarrier::new(messenger.clone(), TcpConfig::default()).unwrap();
    (messenger, carrier)
}

/// What a client was told of its connections.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Established { resumed: bool },
    Reconnecting(Class),
    Reset(Class),
    RemoteReset,
    Refused(Class),
}

/// Keeps what it is told.
#[derive(Clone, Default)]
pub(crate) struct Ears(pub(crate) Rc<RefCell<Vec<Told>>>);

impl Ears {
    fn hear(&self, told: Told) {
        self.0.borrow_mut().push(told);
    }

    pub(crate) fn heard(&self, told: &Told) -> bool {
        self.0.borrow().contains(told)
    }

    /// Waits until it is told.
    pub(crate) async fn wait(&self, told: &Told) {
        while !self.heard(told) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[async_trait(?Send)]
impl Dispatcher for Ears {
    async fn deliver(&self, _messenger: LocalMessenger, _message: Incoming) {}

    fn established(&self, _m: &LocalMessenger, _connection: ConnectionId, _peer: u64, resumed: bool) {
        self.hear(Told::Established { resumed });
    }

    fn reconnecting(&self, _m: &LocalMessenger, _connection: ConnectionId, cause: &Cause) {
        self.hear(Told::Reconnecting(cause.class()));
    }

    fn reset(&self, _m: &LocalMessenger, _connection: ConnectionId, cause: &Cause) {
        self.hear(Told::Reset(cause.class()));
    }

    fn remote_reset(&self, _m: &LocalMessenger, _connection: ConnectionId) {
        self.hear(Told::RemoteReset);
    }

    fn refused(&self, _m: &LocalMessenger, _connection: ConnectionId, cause: &Cause) {
        self.hear(Told::Refused(cause.class()));
    }
}

/// Runs a test over a device: a client with its ears, beside a server. `close` of the client is the end of it.
pub(crate) fn beside<F: Future<Output = ()>>(
    devices: &Devices,
    policy: Policy,
    server: Policy,
    test: impl FnOnce(LocalMessenger, ConnectionId, Ears, Server) -> F,
) {
    let server = Server::start(devices, server, "127.0.0.1:0");
    local(async {
        let ears = Ears::default();
        let (messenger, mut carrier) = open(devices.backend, &devices.client, 1, ears.clone());
        let (to, connecting) = messenger.connect(&server.address.to_string(), None, policy).unwrap();
        let test = async {
            assert_eq!(connecting.await.unwrap(), 2);
            test(messenger.clone(), to, ears, server).await;
        };
        let over = carrier.run(clock(), tokio::time::timeout(PATIENCE, test)).await.unwrap();
        assert!(over.is_ok(), "it hangs over {devices:?}: {messenger:?}");
    });
}
