//! What it is and how it is: help, the page, the description of the interface, health.

use std::time::Duration;

use axum::extract::State as Of;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

use super::json;
use crate::clock::timestamp;
use crate::state::State;

/// How long the engine may take to say that it is there.
const WORD: Duration = Duration::from_millis(500);

/// What `weed mount` looks at when it starts, and never again.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    uptime_s: u64,
    fallback: bool,
    rdma: RdmaHealth,
}

#[derive(Debug, Serialize)]
struct RdmaHealth {
    enabled: bool,
    connected: bool,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Whether the engine answers, and if not why.
pub(super) async fn connected(state: &State) -> Result<Duration, String> {
    match &state.reads.engine {
        None => Err("RDMA is off: --enable-rdma".to_owned()),
        Some(engine) => engine.ping(Instant::now() + WORD).await.map_err(|why| why.to_string()),
    }
}

pub(super) async fn health(Of(state): Of<State>) -> Response {
    let answers = connected(&state).await;
    let draining = state.draining.load(Ordering::Relaxed);
    let health = Health {
        status: if draining { "draining" } else { "healthy" },
        timestamp: timestamp(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: state.begun.elapsed().as_secs(),
        fallback: state.config.fallback,
        rdma: RdmaHealth {
            enabled: state.reads.engine.is_some(),
            connected: answers.is_ok(),
            r#type: "local",
            error: answers.err(),
        },
    };
    json(if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, &health)
}

pub(super) async fn help() -> Html<&'static str> {
    Html(include_str!("../help.html"))
}

pub(super) async fn ui() -> Response {
    // The page loads nothing: it may not.
    let policy =
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("../ui.html"))).into_response()
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../openapi.json"))
}
