//! `/healthz` and `/metrics`, over HTTP on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::meters::Meters;

/// How long the engine may take to say how it is.
const ANSWER: Duration = Duration::from_secs(2);

/// Questions that wait.
const QUESTIONS_MAX: usize = 16;

/// How the engine is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Health {
    /// `ok` or `draining`.
    pub status: &'static str,
    /// The version of the program.
    pub version: &'static str,
    /// The backend.
    pub backend: &'static str,
    /// The device, as it calls itself.
    pub device: String,
    /// Whether the NICs are simulated.
    pub simulated: bool,
    /// Seconds since it began.
    pub uptime_s: u64,
    /// Volumes that are exported.
    pub volumes: u64,
    /// Volumes that cannot be, and why.
    pub refused: Vec<String>,
    /// Engines to read from, and how they are.
    pub peers: Vec<PeerHealth>,
}

/// How another engine is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PeerHealth {
    /// Its address.
    pub address: String,
    /// `ready`, `connecting`, `refused`, `paused`.
    pub state: &'static str,
    /// Volumes that it exports.
    pub volumes: u64,
}

/// A count, or how much there is of something, with its name and what it means.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name, without prefix and suffix.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it only grows.
    pub total: bool,
    /// Its value.
    pub value: u64,
}

/// What the engine answers.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// How it is.
    pub health: Health,
    /// Its counts.
    pub figures: Vec<Figure>,
}

/// A question to the engine.
pub type Question = oneshot::Sender<Told>;

/// Asks the engine, from any thread.
#[derive(Clone, Debug)]
struct Asking {
    questions: mpsc::Sender<Question>,
    meters: Meters,
}

/// The ends of the questions: for [`serve`], and for the engine.
pub fn questions() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(QUESTIONS_MAX)
}

/// Serves until its task is dropped. Answers where, since port 0 lets the system choose.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(
    address: SocketAddr,
    questions: mpsc::Sender<Question>,
    meters: Meters,
) -> std::io::Result<(SocketAddr, impl Future<Output = std::io::Result<()>>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .with_state(Asking { questions, meters });
    Ok((address, axum::serve(listener, routes).into_future()))
}

impl Asking {
    async fn ask(&self) -> Option<Told> {
        let (question, answer) = oneshot::channel();
        self.questions.try_send(question).ok()?;
        timeout(ANSWER, answer).await.ok()?.ok()
    }
}

async fn healthz(State(asking): State<Asking>) -> Response {
    let Some(told) = asking.ask().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n").into_response();
    };
    let status = match told.health.status {
        "ok" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    match serde_json::to_string(&told.health) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response(),
    }
}

async fn metrics(State(asking): State<Asking>) -> Response {
    let Some(told) = asking.ask().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n").into_response();
    };
    match page(&told, &asking.meters) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response(),
    }
}

/// All figures, as OpenMetrics has them.
fn page(told: &Told, meters: &Meters) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("wavetank");
    meters.register(&mut registry);
    for Figure { name, help, total, value } in &told.figures {
        match total {
            true => registry.register(*name, *help, ConstCounter::new(*value)),
            false => {
                registry.register(*name, *help, ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX)))
            }
        }
    }
    let health = &told.health;
    registry.register(
        "simulated",
        "1 where the NICs are simulated",
        ConstGauge::new(i64::from(health.simulated)),
    );
    registry.register(
        "uptime_seconds",
        "Seconds since the engine began",
        ConstGauge::new(i64::try_from(health.uptime_s).unwrap_or(i64::MAX)),
    );
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}
