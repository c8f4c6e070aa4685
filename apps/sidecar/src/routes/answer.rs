//! Answers to reads: heads that say how the bytes came, bodies that are the bytes, or a document about them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response as Head, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::iter;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::conditions::tag;
use super::document::{Document, Refused};
use super::json;
use super::read::parameter_of;
use crate::attempts::Attempts;
use crate::clock::http_date;
use crate::file_id::FileId;
use crate::reads::{ReadError, Served, Way};
use crate::request::BadParameter;
use crate::state::State;

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes.
    Raw,
    /// A document about them.
    Json {
        /// With the bytes in it.
        with_data: bool,
    },
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) served: Served,
    /// Bytes that the body has, or would have.
    pub(super) len: u64,
    pub(super) status: StatusCode,
    pub(super) bodyless: bool,
}

/// Where the bytes come from. A mount takes what has `rdma` in it: what came through the engine, which it means by that. That nothing
/// went over RDMA, where the engine had the volume's files on this machine, is said as well.
pub(super) fn source(way: Way) -> &'static str {
    match way {
        Way::Http => "http",
        Way::Local => "rdma-engine-local",
        Way::Pull | Way::Push => "rdma",
    }
}

/// Whether RDMA moved them.
pub(super) fn is_rdma(way: Way) -> bool {
    matches!(way, Way::Pull | Way::Push)
}

/// The answer to a read that went well.
pub(super) async fn answer(
    state: &State,
    form: Form,
    file: FileId,
    outcome: Outcome,
    attempts: &Attempts,
    took: Duration,
) -> Response {
    let Outcome { served, len, status, bodyless } = outcome;
    let reason = attempts.reason();
    state.figures.served(served.way, if bodyless { 0 } else { len }, took, reason);
    tracing::debug!(%file, served.offset, len, way = served.way.name(), attempts = attempts.told(), ?took, "read");
    let mut head = Head::builder().status(status);
    if let Some(headers) = head.headers_mut() {
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        put("x-source", source(served.way));
        put("x-rdma-used", if is_rdma(served.way) { "true" } else { "false" });
        put("x-wavetank-path", served.way.name());
        put("x-wavetank-checked", if served.checked { "true" } else { "false" });
        put("x-content-type-options", "nosniff");
        put("accept-ranges", "bytes");
        told(&mut put, attempts, took);
        if let Some(reason) = reason.filter(|_| served.way == Way::Http) {
            put("x-wavetank-reason", reason);
        }
        if let Some(tag) = tag(&served.details) {
            put("etag", &tag);
        }
        if let Some(date) = served.details.last_modified_s.and_then(http_date) {
            put("last-modified", &date);
        }
    }
    if matches!(status, StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED) {
        return built(head, Body::empty());
    }
    let file_path = in_file(state, &served, status, bodyless).await;
    if let Some(path) = &file_path {
        head = head.header("x-use-temp-file", "true").header("x-temp-file", path.as_str());
    }
    if let Form::Json { with_data } = form {
        let document = Document::new(file, &served, len, file_path, attempts, took, with_data && !bodyless);
        let head = head.header(header::CONTENT_TYPE, "application/json");
        return match serde_json::to_string(&document) {
            Ok(text) => built(head, Body::from(text + "\n")),
            Err(why) => built(head.status(StatusCode::INTERNAL_SERVER_ERROR), Body::from(why.to_string())),
        };
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let whole = served.whole_len.map_or_else(|| "*".to_owned(), |len| len.to_string());
        let last = (served.offset + len).saturating_sub(1);
        head = head.header(header::CONTENT_RANGE, format!("bytes {}-{last}/{whole}", served.offset));
    }
    let head =
        head.header(header::CONTENT_TYPE, "application/octet-stream").header(header::CONTENT_LENGTH, len);
    built(head, if bodyless { Body::empty() } else { body(served.frames) })
}

/// Frames as they are: nothing of them is copied on its way to the socket.
fn body(mut frames: Vec<Bytes>) -> Body {
    match frames.len() {
        0 => Body::empty(),
        1 => Body::from(frames.remove(0)),
        _ => Body::from_stream(iter(frames.into_iter().map(Ok::<_, std::convert::Infallible>))),
    }
}

/// The same bytes in a file, where that is wanted. The body has them all the same: a mount that cannot open the file takes the body.
async fn in_file(state: &State, served: &Served, status: StatusCode, bodyless: bool) -> Option<String> {
    let files = state.temp_files.clone().filter(|_| status == StatusCode::OK && !bodyless)?;
    let frames = served.frames.clone();
    let written = spawn_blocking(move || files.write(&frames, Instant::now())).await.ok()?;
    match written {
        Ok(path) => path.and_then(|path| path.to_str().map(str::to_owned)),
        Err(why) => {
            tracing::warn!(%why, "an answer cannot be written to a file; --temp-dir says where");
            None
        }
    }
}

/// What was tried, and how long it took.
fn told(put: &mut impl FnMut(&'static str, &str), attempts: &Attempts, took: Duration) {
    put("x-wavetank-attempts", &format!("{}; {}", attempts.count(), attempts.told()));
    put("server-timing", &attempts.timing(took));
}

fn built(head: axum::http::response::Builder, body: Body) -> Response {
    head.body(body).unwrap_or_else(|_| {
        let mut failed = Response::new(Body::empty());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        failed
    })
}

/// The answer to a request that cannot be understood.
pub(super) fn unreadable(state: &State, form: Form, why: &BadParameter) -> Response {
    state.figures.failed(400);
    failure(form, StatusCode::BAD_REQUEST, None, &why.to_string())
}

/// The answer to a read that did not go well.
pub(super) fn refusal(
    state: &State,
    form: Form,
    file: FileId,
    why: &ReadError,
    attempts: &Attempts,
    took: Duration,
) -> Response {
    let status = status(why);
    state.figures.failed(status.as_u16());
    let said = parameter_of(why).map_or_else(|| why.to_string(), |why| why.to_string());
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => tracing::error!(%file, %why, "a read failed by a fault of ours"),
        _ => {
            tracing::debug!(%file, %why, status = status.as_u16(), attempts = attempts.told(), "a read failed")
        }
    }
    let mut response = failure(form, status, Some(file), &said);
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    told(&mut put, attempts, took);
    match why {
        ReadError::PastEnd { whole_len: Some(whole_len) } => {
            put("content-range", &format!("bytes */{whole_len}"))
        }
        ReadError::Busy { retry_after_s, .. } => put("retry-after", &retry_after_s.to_string()),
        _ => {}
    }
    response
}

pub(super) fn status(why: &ReadError) -> StatusCode {
    match why {
        ReadError::NotFound(_) => StatusCode::NOT_FOUND,
        ReadError::PastEnd { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        ReadError::TooLong { .. } => StatusCode::BAD_REQUEST,
        ReadError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ReadError::NoWay(_) | ReadError::Damaged(_) => StatusCode::BAD_GATEWAY,
        ReadError::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn failure(form: Form, status: StatusCode, file: Option<FileId>, why: &str) -> Response {
    match form {
        Form::Json { .. } => json(status, &Refused::new(file, status, why)),
        Form::Raw => {
            let head =
                Head::builder().status(status).header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
            built(head.header("x-content-type-options", "nosniff"), Body::from(format!("{why}\n")))
        }
    }
}
