//! `/stats` and `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State as Of;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::Instant;

use super::json;
use crate::breaker::BreakerState;
use crate::clock::timestamp;
use crate::engine::About;
use crate::figures::{Other, Sums};
use crate::state::State;

/// Upstream's keys, what its scripts look for, and ours.
#[derive(Debug, Serialize)]
struct Stats {
    enabled: bool,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    client_type: &'static str,
    volume_server_url: String,
    rdma_socket_path: String,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<About>,
    simulated: bool,
    version: &'static str,
    uptime_s: u64,
    fallback: bool,
    masters: Vec<String>,
    #[serde(flatten)]
    sums: Sums,
    breakers: Vec<BreakerState>,
    sessions: Sessions,
    in_flight: u64,
    in_flight_max: u64,
    connections: u64,
    connections_max: u64,
    connections_refused: u64,
    temp_files: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default, Serialize)]
struct Sessions {
    /// Nothing where the engine does not say, or is not there.
    active: Option<u64>,
    max: Option<u64>,
}

async fn about(state: &State) -> Result<About, String> {
    match &state.reads.engine {
        None => Err("RDMA is off: --enable-rdma".to_owned()),
        Some(engine) => {
            let soon = Instant::now() + Duration::from_millis(500);
            engine.about(soon).await.map_err(|why| why.to_string())
        }
    }
}

fn in_flight(state: &State) -> u64 {
    (state.config.limits.requests_max.saturating_sub(state.places.available_permits())) as u64
}

pub(super) async fn stats(Of(state): Of<State>) -> Response {
    let (about, error) = match about(&state).await {
        Ok(about) => (Some(about), None),
        Err(why) => (None, Some(why)),
    };
    let (files, bytes) = state.temp_files.as_ref().map_or((0, 0), |files| files.kept());
    let sessions =
        about.as_ref().map(|about| Sessions { active: about.active_sessions, max: about.max_sessions });
    let config = &state.config;
    let stats = Stats {
        enabled: state.reads.engine.is_some(),
        connected: about.is_some(),
        error,
        client_type: "local",
        volume_server_url: config
            .lookup
            .volume_server
            .as_ref()
            .map_or_else(String::new, |place| format!("http://{place}")),
        rdma_socket_path: config
            .engine
            .as_ref()
            .map_or_else(String::new, |engine| engine.path.display().to_string()),
        timestamp: timestamp(),
        simulated: about.as_ref().is_some_and(|about| about.simulated),
        capabilities: about,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: state.begun.elapsed().as_secs(),
        fallback: config.fallback,
        masters: config.lookup.masters.iter().map(ToString::to_string).collect(),
        sums: state.figures.sums(),
        breakers: state.reads.breakers.states(Instant::now()),
        sessions: sessions.unwrap_or_default(),
        in_flight: in_flight(&state),
        in_flight_max: config.limits.requests_max as u64,
        connections: state.connections.load(Ordering::Relaxed),
        connections_max: config.limits.connections_max as u64,
        connections_refused: state.connections_refused.load(Ordering::Relaxed),
        temp_files: BTreeMap::from([("files", files), ("bytes", bytes)]),
    };
    json(StatusCode::OK, &stats)
}

pub(super) async fn metrics(Of(state): Of<State>) -> Response {
    let about = about(&state).await;
    let paused = state.reads.breakers.states(Instant::now()).iter().filter(|b| b.state != "open").count();
    let (files, bytes) = state.temp_files.as_ref().map_or((0, 0), |files| files.kept());
    let gauge = |name, help, value| Other { name, help, total: false, value };
    let total = |name, help, value| Other { name, help, total: true, value };
    let others = [
        gauge("engine_connected", "1 while the engine answers", about.is_ok().into()),
        gauge("simulated", "1 where the NICs are simulated", about.is_ok_and(|about| about.simulated).into()),
        gauge("breakers_paused", "Paths that are left alone for a while", paused as u64),
        gauge("in_flight", "Reads under way", in_flight(&state)),
        gauge("connections", "Connections of clients", state.connections.load(Ordering::Relaxed)),
        gauge("temp_files", "Answers in files", files),
        gauge("temp_bytes", "Bytes of answers in files", bytes),
        gauge("uptime_seconds", "Seconds since it began", state.begun.elapsed().as_secs()),
        total(
            "connections_refused",
            "Connections that were turned away",
            state.connections_refused.load(Ordering::Relaxed),
        ),
        total(
            "hints_refused",
            "Requests whose volume_server may not be asked",
            state.figures.sums().hints_refused,
        ),
    ];
    match state.figures.page(&others) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response(),
    }
}
