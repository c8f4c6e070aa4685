//! Serving: connections in, requests to their routes, and an end in order.

mod pace;
#[cfg(feature = "tls")]
mod tls;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::breaker::Breakers;
use crate::config::SidecarConfig;
use crate::engine::EngineReads;
use crate::fetch::Fetcher;
use crate::lookup::Lookup;
use crate::reads::Reads;
use crate::routes::routes;
use crate::server::pace::Paced;
use crate::state::State;
use crate::temp_files::TempFiles;

/// Bytes of a request's head, and how many headers it may have.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// What whoever comes when all places are taken is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Why it cannot serve.
#[derive(Debug, Error)]
pub enum RunError {
    /// The address cannot be had.
    #[error("{address}: {why}; --listen and --port say where to serve")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        why: std::io::Error,
    },
    /// The folder of answers cannot be used.
    #[error("temp-dir: {0}")]
    TempDir(std::io::Error),
    /// Certificate or key.
    #[error("tls: {0}")]
    Tls(String),
}

/// A sidecar that serves as soon as it is polled.
#[derive(Debug)]
pub struct Running {
    listener: TcpListener,
    address: SocketAddr,
    state: State,
}

/// Opens everything that is needed to serve. The engine need not be there: reads find it when it is.
///
/// # Errors
/// [`RunError`].
pub async fn begin(config: SidecarConfig, engine: Option<Arc<dyn EngineReads>>) -> Result<Running, RunError> {
    let failed = |why| RunError::Listen { address: config.listen, why };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let temp_files = config.temp.clone().map(TempFiles::open).transpose().map_err(RunError::TempDir)?;
    let reads = Reads {
        engine,
        lookup: Lookup::new(config.lookup.clone()),
        fetcher: config.fallback.then(|| Fetcher::new(config.reads.http / 2)),
        breakers: Breakers::new(config.breakers),
        limits: config.reads,
    };
    Ok(Running { listener, address, state: State::new(config, reads, temp_files) })
}

/// Serves until `shutdown` is ready, through the engine whose socket is configured.
///
/// # Errors
/// [`RunError`].
pub async fn run(config: SidecarConfig, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let engine =
        config.engine.as_ref().map(|socket| Arc::new(crate::socket::engine(socket)) as Arc<dyn EngineReads>);
    let running = begin(config, engine).await?;
    tracing::info!(address = %running.address(), "serving");
    running.serve(shutdown).await
}

impl Running {
    /// Where it serves, since port 0 lets the system choose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, and then what is under way.
    ///
    /// # Errors
    /// The certificate or the key cannot be used.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Running { listener, state, .. } = self;
        #[cfg(feature = "tls")]
        let tls = state.config.tls.as_ref().map(|(cert, key)| tls::acceptor(cert, key)).transpose()?;
        let sweeper = tokio::spawn(sweep(state.clone()));
        let (graceful, places) =
            (GracefulShutdown::new(), Arc::new(Semaphore::new(state.config.limits.connections_max)));
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(why) => {
                    // Out of descriptors, mostly: they come back when connections end.
                    tracing::warn!(%why, "a connection cannot be accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                state.connections_refused.fetch_add(1, Ordering::Relaxed);
                turn_away(stream);
                continue;
            };
            let _ = stream.set_nodelay(true);
            let (state, watcher) = (state.clone(), graceful.watcher());
            #[cfg(feature = "tls")]
            let tls = tls.clone();
            tokio::spawn(async move {
                let _place = place;
                let _counted = Counted::new(&state);
                #[cfg(feature = "tls")]
                if let Some(tls) = tls {
                    let shaken = timeout(state.config.limits.head, tls.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        connection(stream, &state, watcher).await;
                    }
                    return;
                }
                connection(stream, &state, watcher).await;
            });
        }
        state.draining.store(true, Ordering::Relaxed);
        drop(listener);
        let drain = state.config.drain;
        if timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!(
                ?drain,
                "connections are cut off: what is under way takes longer than --drain-timeout"
            );
        }
        sweeper.abort();
        if let Some(files) = state.temp_files.clone() {
            let _ = spawn_blocking(move || files.clear()).await;
        }
        Ok(())
    }
}

/// Serves one connection to its end.
async fn connection<S>(stream: S, state: &State, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = state.config.limits;
    let service = TowerToHyperService::new(routes(state.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(Paced::new(stream, limits.body)), service);
    if let Err(why) = watcher.watch(connection).await {
        tracing::debug!(%why, "a connection ended");
    }
}

/// Says that there is no place, to who has none, without waiting for him.
fn turn_away(mut stream: TcpStream) {
    tokio::spawn(async move {
        let _ = timeout(Duration::from_secs(1), async {
            stream.write_all(FULL).await?;
            stream.shutdown().await
        })
        .await;
    });
}

/// Removes answers in files that nobody has removed.
async fn sweep(state: State) {
    let Some(files) = state.temp_files.clone() else { return };
    let mut ticks = interval(files.sweep_every());
    loop {
        ticks.tick().await;
        let files = files.clone();
        let _ = spawn_blocking(move || files.sweep(Instant::now())).await;
    }
}

/// A connection that is counted while it lasts.
struct Counted(State);

impl Counted {
    fn new(state: &State) -> Counted {
        state.connections.fetch_add(1, Ordering::Relaxed);
        Counted(state.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
