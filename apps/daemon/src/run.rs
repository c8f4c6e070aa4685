//! The daemon's life: it begins, says so, serves, hears signals, and leaves nothing behind.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use crate::config::EngineConfig;
use crate::engine::{Engine, OpenError, Parts};
use crate::health;
use crate::log::LogLevel;
use crate::meters::Meters;

/// Between two looks at whether everything has ended.
const LOOK: Duration = Duration::from_millis(10);

/// For the last words to peers, and for what they say to them.
const FAREWELL: Duration = Duration::from_millis(200);

/// How a daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether everything that was under way ended by itself, and all memory came back.
    pub whole: bool,
}

/// Why a daemon does not begin, or cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// It does not begin.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Metrics and health cannot be served.
    #[error("metrics: {address}: {why}; choose another, or `off`")]
    Metrics {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        why: io::Error,
    },
    /// The system does not do its part.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Runs until SIGTERM or SIGINT. `again` reads the settings once more, for SIGHUP.
///
/// # Errors
/// [`RunError`].
pub fn run(
    config: EngineConfig,
    again: impl Fn() -> Result<EngineConfig, String>,
    level: &LogLevel,
) -> Result<Ended, RunError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = LocalSet::new().block_on(&runtime, serve(config, again, level));
    // A name that nobody knows may still be looked for.
    runtime.shutdown_background();
    ended
}

async fn serve(
    config: EngineConfig,
    again: impl Fn() -> Result<EngineConfig, String>,
    level: &LogLevel,
) -> Result<Ended, RunError> {
    let [term, int, hup] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let (mut term, mut int, hup) = (signal(term)?, signal(int)?, signal(hup)?);
    let meters = Meters::default();
    let mut engine = Engine::open(&config, meters.clone()).await?;
    let parts = engine.parts();
    announce(&config, &engine);

    let (asking, mut asked) = health::questions();
    let mut tasks = Vec::new();
    if let Some(address) = config.metrics {
        let serving = health::serve(address, asking, meters).await;
        let (address, serving) = serving.map_err(|why| RunError::Metrics { address, why })?;
        tracing::info!(%address, "metrics and health");
        tasks.push(spawn_local(async move {
            if let Err(why) = serving.await {
                tracing::error!(%why, "metrics and health are not served any more");
            }
        }));
    }
    let answering = Rc::clone(&parts);
    tasks.push(spawn_local(async move {
        while let Some(question) = asked.recv().await {
            let status = if answering.reading.is_draining() { "draining" } else { "ok" };
            // Whoever asked may have left.
            let _ = question.send(answering.told(status));
        }
    }));
    tasks.extend(watchdog());

    let (stop, stopped) = oneshot::channel();
    tasks.push(spawn_local(async move {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        let _ = stop.send(name);
    }));
    tell(&[NotifyState::Ready]);
    let level = level.clone();
    let began = config.clone();
    let name = {
        let reloading = reload(hup, began, again, &level, &parts);
        let mut reloading = std::pin::pin!(reloading);
        let stopping = std::pin::pin!(stopped);
        engine.run(either(stopping, &mut reloading)).await?
    };
    tracing::info!(signal = name, "stopping: what is under way may end");
    tell(&[NotifyState::Stopping]);
    let whole = drain(&mut engine, &parts, config.drain).await?;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    drop(engine);
    Ok(Ended { whole })
}

/// The name of the signal that stops; meanwhile settings are read again as often as that is asked for.
async fn either(
    stopped: impl Future<Output = Result<&'static str, oneshot::error::RecvError>>,
    reloading: &mut (impl Future<Output = std::convert::Infallible> + Unpin),
) -> &'static str {
    tokio::select! {
        biased;
        name = stopped => name.unwrap_or("nobody"),
        never = reloading => match never {},
    }
}

fn announce(config: &EngineConfig, engine: &Engine) {
    let parts = engine.parts();
    let about = &parts.about;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        backend = %about.backend,
        device = %about.device,
        socket = %config.socket.path.display(),
        "engine"
    );
    if about.simulated {
        tracing::warn!("the NICs are SIMULATED: both ends are in this process, and no device takes part");
    }
    if let Some(address) = engine.address() {
        tracing::info!(%address, key = config.key.is_some(), "other engines may call");
    }
    let health = parts.told("ok").health;
    tracing::info!(volumes = health.volumes, refused = health.refused.len(), "exported");
    for peer in &config.peers {
        tracing::info!(%peer, "reads from");
    }
}

/// Tells the service manager. Without one nothing happens.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        tracing::warn!(%why, "the service manager cannot be told");
    }
}

/// Shows the service manager that this thread goes on, if it wants to see that.
fn watchdog() -> Option<tokio::task::JoinHandle<()>> {
    let every = sd_notify::watchdog_enabled()? / 2;
    Some(spawn_local(async move {
        loop {
            sleep(every).await;
            tell(&[NotifyState::Watchdog]);
        }
    }))
}

/// Reads settings again with each SIGHUP, and takes what can be taken while it runs.
async fn reload(
    mut hup: Signal,
    began: EngineConfig,
    again: impl Fn() -> Result<EngineConfig, String>,
    level: &LogLevel,
    parts: &Parts,
) -> std::convert::Infallible {
    while hup.recv().await.is_some() {
        let config = match again() {
            Ok(config) => config,
            Err(why) => {
                tracing::error!(%why, "settings stay as they are");
                continue;
            }
        };
        if let Err(why) = level.set(config.debug) {
            tracing::error!(%why, "log lines stay as they are");
        }
        parts.reload(&config);
        let needs_restart = began.differs(&config);
        if needs_restart.is_empty() {
            tracing::info!(debug = config.debug, "settings read again");
        } else {
            tracing::warn!(
                settings = needs_restart.join(", "),
                "changed, and taken with the next start only"
            );
        }
    }
    // A stream of signals does not end; if it did, nothing would be read again.
    std::future::pending().await
}

/// Lets what is under way end, parts from everybody, and looks whether everything is back.
async fn drain(engine: &mut Engine, parts: &Rc<Parts>, limit: Duration) -> Result<bool, RunError> {
    parts.reading.drain();
    let until = Instant::now() + limit;
    let idle = async {
        while !parts.is_idle() {
            if Instant::now() >= until {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    };
    let ended = engine.run(idle).await?;
    if !ended {
        let (reads, leases) = (parts.reading.under_way(), parts.server.stats().leases_now.get());
        tracing::warn!(reads, leases, "not everything ended within the drain timeout");
    }
    parts.server.close();
    let messenger = parts.reading.reader().messenger().clone();
    messenger.bind(None);
    let all: Vec<_> = messenger.with(|messenger| messenger.connections().collect());
    for connection in all {
        messenger.close(connection, "this engine stops");
    }
    let parted = async {
        while messenger.with(|messenger| messenger.connections().next().is_some()) {
            sleep(LOOK).await;
        }
    };
    let farewell = async { timeout(FAREWELL, parted).await.is_ok() };
    engine.run(farewell).await?;
    let left = parts.server.stats().leases_now.get();
    if left > 0 {
        tracing::error!(left, "loans did not come back");
    }
    tracing::info!("stopped");
    Ok(ended && left == 0)
}
