//! The server's side: a device whose memory others may have, by need and within limits.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use thiserror::Error;
use tokio::task::{JoinSet, LocalSet};
use wavetank_contract::error::OpenError;
use wavetank_engine::bootstrap::{
    Bootstrap as _, BootstrapError, Heard, Listener, ListenerConfig, Offer, RefusalCode, Rejected,
    TcpBootstrap,
};
use wavetank_engine::{BackendKind, Driver, DriverConfig, LocalEngine, RdmaContext, RdmaOps};

use super::event::{Event, Served};
use super::serving::{End, House};
use super::tenant::Budget;
use super::turning::Turning;
use super::{Canary, introduction};
use crate::lab::RealTime;

/// How long no client is met when the system has no descriptors for one.
const BREATH: Duration = Duration::from_millis(100);

/// Policy of a memory server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Clients at a time.
    pub clients_max: usize,
    /// Bytes that all of them together may have.
    pub memory_bytes_max: u64,
    /// How long a client may take for each thing that is its turn.
    pub limit: Duration,
    /// End when the first client that had something is gone.
    pub once: bool,
    /// What to do wrong.
    pub canary: Option<Canary>,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            clients_max: 16,
            memory_bytes_max: 1 << 30,
            limit: Duration::from_secs(30),
            once: false,
            canary: None,
        }
    }
}

/// Why a server cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It cannot listen.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The device has no completion queue for it.
    #[error("the device cannot be used: {0}")]
    Open(#[from] OpenError),
    /// The device cannot be waited for.
    #[error("the device cannot be waited for: {0}")]
    Waiting(#[from] std::io::Error),
}

/// A device whose memory others may have.
#[derive(Debug)]
pub struct Server<C: RdmaOps = RdmaContext> {
    listener: Listener,
    house: Rc<House<C>>,
    config: ServerConfig,
}

/// What happens next.
enum Happened {
    Stopped,
    Ended(Result<End, tokio::task::JoinError>),
    Turned(std::io::Error),
    Heard(Result<Heard, BootstrapError>),
}

impl<C: RdmaOps + 'static> Server<C> {
    /// Listens at an address; port 0 lets the system choose. For a runtime of one thread, with time and descriptors.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn listen(
        mut context: C,
        backend: BackendKind,
        address: SocketAddr,
        config: ServerConfig,
    ) -> Result<Server<C>, ServeError> {
        let us = introduction(backend, &context.caps().name)?;
        let endpoints =
            u32::try_from(config.clients_max.saturating_mul(Offer::ENDPOINTS_MAX)).unwrap_or(u32::MAX);
        let cq = context.open_cq(endpoints.clamp(1, context.caps().cq_depth_max))?;
        let engine = LocalEngine::new(Driver::new(context, DriverConfig::default()));
        let budget = Budget { limit_bytes: config.memory_bytes_max, used_bytes: 0.into() };
        let house = House { engine, clock: RealTime::start(), cq, budget: Rc::new(budget), config };
        let listening = ListenerConfig { limit: config.limit, ..ListenerConfig::default() };
        let listener = Listener::bind(address, us, listening)?;
        Ok(Server { listener, house: Rc::new(house), config })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr, ServeError> {
        Ok(self.listener.address()?)
    }

    /// Serves until `stop` is there, or with [`ServerConfig::once`] until a client is gone. `told` is called with whatever
    /// happens.
    ///
    /// # Errors
    /// See [`ServeError`]. Never what a client does.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()>,
        told: Rc<dyn Fn(&Event)>,
    ) -> Result<Served, ServeError> {
        LocalSet::new().run_until(self.run(stop, told)).await
    }

    async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        told: Rc<dyn Fn(&Event)>,
    ) -> Result<Served, ServeError> {
        let mut stop = pin!(stop);
        let turning = Turning::of(&self.house.engine)?;
        let house = Rc::clone(&self.house);
        let (engine, clock) = (&house.engine, &house.clock);
        let mut turner = pin!(async {
            loop {
                if let Err(error) = turning.turn(engine, clock).await {
                    return error;
                }
                house.tell_device(&*told);
            }
        });
        let mut clients: JoinSet<End> = JoinSet::new();
        let mut served = Served::default();
        loop {
            let happened = next(&mut self.listener, &mut clients, stop.as_mut(), turner.as_mut()).await;
            match happened {
                Happened::Stopped => break,
                Happened::Turned(error) => return Err(error.into()),
                Happened::Heard(Ok(Heard::Rejected(Rejected { from, error }))) => {
                    served.refused += 1;
                    let why = error.map_or("too many wait to be met".to_owned(), |error| error.to_string());
                    told(&Event::Refused { from, why });
                }
                Happened::Heard(Ok(Heard::Peer(bootstrap, from))) => {
                    if clients.len() >= self.config.clients_max {
                        served.refused += 1;
                        told(&turn_away(*bootstrap, from, self.config.clients_max).await);
                        continue;
                    }
                    let (house, told) = (Rc::clone(&self.house), Rc::clone(&told));
                    clients.spawn_local(async move { house.serve(*bootstrap, from, &*told).await });
                }
                // No descriptors, or no memory, for one more: those who go make room.
                Happened::Heard(Err(error)) => {
                    told(&Event::Device { what: format!("no client can be met now: {error}") });
                    if let Ok(error) = tokio::time::timeout(BREATH, turner.as_mut()).await {
                        return Err(error.into());
                    }
                }
                Happened::Ended(ended) => {
                    // A task that panicked gave back what it had when it was dropped.
                    let end = ended.unwrap_or(End::Vanished);
                    served.count(end);
                    if self.config.once && end != End::Refused {
                        break;
                    }
                }
            }
        }
        while let Some(ended) = clients.try_join_next() {
            served.count(ended.unwrap_or(End::Vanished));
        }
        served.cut_off = clients.len() as u64;
        clients.shutdown().await;
        if self.house.budget.used_bytes.get() > 0 && served.leaked == 0 {
            served.leaked = 1;
        }
        Ok(served)
    }
}

impl Served {
    fn count(&mut self, end: End) {
        match end {
            End::Goodbye => self.goodbyes += 1,
            End::Vanished => self.vanished += 1,
            End::Refused => self.refused += 1,
            End::Leaked => self.leaked += 1,
        }
    }
}

/// Whatever comes first; what comes at once, in this order.
async fn next(
    listener: &mut Listener,
    clients: &mut JoinSet<End>,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    mut turner: Pin<&mut impl Future<Output = std::io::Error>>,
) -> Happened {
    let mut heard = pin!(listener.hear());
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Happened::Stopped);
        }
        if let Poll::Ready(Some(ended)) = clients.poll_join_next(cx) {
            return Poll::Ready(Happened::Ended(ended));
        }
        if let Poll::Ready(error) = turner.as_mut().poll(cx) {
            return Poll::Ready(Happened::Turned(error));
        }
        heard.as_mut().poll(cx).map(Happened::Heard)
    })
    .await
}

/// A client too many.
async fn turn_away(mut bootstrap: TcpBootstrap, from: SocketAddr, clients_max: usize) -> Event {
    let why = format!("{clients_max} clients are being served, as many as may be (--clients-max)");
    bootstrap.refuse(RefusalCode::Application, &why).await;
    Event::Refused { from, why }
}
