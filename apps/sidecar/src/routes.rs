//! Routes, and what every request passes on its way to one.

mod about;
mod answer;
mod benchmark;
mod cleanup;
mod conditions;
mod document;
mod rdma;
mod read;
mod stats;

use axum::Router;
use axum::extract::{Request, State as Of};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use serde::Serialize;

use crate::state::State;

/// All routes.
pub(crate) fn routes(state: State) -> Router {
    Router::new()
        .route("/", get(about::help))
        .route("/ui", get(about::ui))
        .route("/openapi.json", get(about::openapi))
        .route("/health", get(about::health))
        .route("/stats", get(stats::stats))
        .route("/metrics", get(stats::metrics))
        .route("/read", get(read::read))
        .route("/benchmark", get(benchmark::benchmark))
        .route("/cleanup", delete(cleanup::cleanup))
        .route("/rdma/read", get(rdma::read))
        .route("/rdma/ping", get(rdma::ping))
        .route("/rdma/capabilities", get(rdma::capabilities))
        .layer(from_fn_with_state(state.clone(), authorized))
        .with_state(state)
}

/// Lets those through who show the token, and everybody to `/health`.
async fn authorized(Of(state): Of<State>, request: Request, next: Next) -> Response {
    let Some(token) = state.config.token.as_ref().filter(|_| request.uri().path() != "/health") else {
        return next.run(request).await;
    };
    let shown = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let word = shown.and_then(|shown| shown.strip_prefix(b"Bearer "));
    match word.is_some_and(|word| token.is(word)) {
        true => next.run(request).await,
        false => {
            let why = "a token is wanted: Authorization: Bearer TOKEN, with what is in --token-file\n";
            let head = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, head, why).into_response()
        }
    }
}

/// A document as an answer.
fn json(status: StatusCode, document: &impl Serialize) -> Response {
    match serde_json::to_string(document) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}

/// A header as text, if it is one.
fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
