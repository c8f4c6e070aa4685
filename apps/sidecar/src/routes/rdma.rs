//! `/rdma/*`: what upstream's other program, `rdma-sidecar`, answers.

use axum::extract::State as Of;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

use super::about::connected;
use super::answer::{Form, Outcome, answer, refusal, unreadable};
use super::json;
use super::read::plain;
use crate::attempts::Attempts;
use crate::clock::{go_duration, timestamp};
use crate::reads::Range;
use crate::request::{BadParameter, Parameters};
use crate::state::State;

/// Bytes that are read where nobody says how many.
const SIZE: u64 = 4096;

pub(super) async fn read(Of(state): Of<State>, uri: Uri) -> Response {
    let begun = Instant::now();
    let range = match range(uri.query().unwrap_or_default()) {
        Ok(range) => range,
        Err(why) => return unreadable(&state, Form::Raw, &why),
    };
    let mut attempts = Attempts::default();
    let served = plain(&state, &range, &mut attempts).await;
    let took = begun.elapsed();
    let served = match served {
        Ok(served) => served,
        Err(why) => return refusal(&state, Form::Raw, range.file, &why, &attempts, took),
    };
    let len = served.len;
    let outcome = Outcome { served, len, status: StatusCode::OK, bodyless: false };
    let mut response = answer(&state, Form::Raw, range.file, outcome, &attempts, took).await;
    let rate = len as f64 / took.as_secs_f64().max(1e-9) / 1e6;
    told(response.headers_mut(), "x-rdma-session-id", &Uuid::new_v4().to_string());
    // Visible ASCII alone is safe in a header; Go writes microseconds with a letter that is not.
    told(response.headers_mut(), "x-rdma-duration", &go_duration(took).replace('\u{b5}', "u"));
    told(response.headers_mut(), "x-rdma-transfer-rate", &format!("{rate:.2} MB/s"));
    told(response.headers_mut(), "x-rdma-bytes-read", &len.to_string());
    response
}

fn told(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn range(query: &str) -> Result<Range, BadParameter> {
    let parameters = Parameters::parse(query)?;
    let text = parameters
        .text("file_id")?
        .ok_or_else(|| BadParameter::new("file_id", "missing 'file_id' parameter"))?;
    let file = text.parse().map_err(|why| BadParameter::new("file_id", format!("{text:?} is {why}")))?;
    let offset = parameters.number("offset")?.unwrap_or(0);
    let len = parameters.number("size")?.filter(|len| *len > 0).unwrap_or(SIZE);
    let hint = parameters.text("volume_server")?.map(str::to_owned);
    Ok(Range { file, offset, len, hint })
}

pub(super) async fn ping(Of(state): Of<State>) -> Response {
    let begun = Instant::now();
    match connected(&state).await {
        Ok(latency) => {
            let told = json!({
                "success": true,
                "engine_latency": go_duration(latency),
                "total_latency": go_duration(begun.elapsed()),
                "timestamp": timestamp(),
            });
            json(StatusCode::OK, &told)
        }
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the engine does not answer: {why}\n"))
            .into_response(),
    }
}

pub(super) async fn capabilities(Of(state): Of<State>) -> Response {
    let Some(engine) = &state.reads.engine else {
        return (StatusCode::SERVICE_UNAVAILABLE, "RDMA is off: --enable-rdma\n").into_response();
    };
    match engine.about(Instant::now() + Duration::from_secs(1)).await {
        Ok(about) => json(StatusCode::OK, &about),
        Err(why) => {
            let why = format!("No capabilities available: {why}\n");
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], why).into_response()
        }
    }
}
