//! `/read`: bytes of a needle.

use axum::extract::State as Of;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use tokio::time::{Instant, timeout};

use super::answer::{Form, Outcome, answer, refusal, unreadable};
use super::conditions::{instead, range_counts};
use super::text;
use crate::attempts::Attempts;
use crate::reads::{Range, ReadError, Served};
use crate::request::{BadParameter, Parameters, Part, ReadRequest};
use crate::settings::ReadFormat;
use crate::state::State;

pub(super) async fn read(Of(state): Of<State>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let begun = Instant::now();
    let parsed = Parameters::parse(uri.query().unwrap_or_default());
    let form = parsed.as_ref().map_or(Form::Raw, |parameters| form(&state, parameters, &headers));
    let requested = parsed.and_then(|parameters| {
        let request = ReadRequest::new(&parameters, text(&headers, header::RANGE))?;
        Ok((request, parameters))
    });
    let (mut request, parameters) = match requested {
        Ok(requested) => requested,
        Err(why) => return unreadable(&state, form, &why),
    };
    let form = match (form, parameters.text("data")) {
        (Form::Json { .. }, Ok(Some("base64"))) => Form::Json { with_data: true },
        (form, _) => form,
    };
    let mut attempts = Attempts::default();
    let outcome = outcome(&state, &method, &headers, &mut request, &mut attempts).await;
    let took = begun.elapsed();
    match outcome {
        Ok(outcome) => answer(&state, form, request.file, outcome, &attempts, took).await,
        Err(why) => refusal(&state, form, request.file, &why, &attempts, took),
    }
}

/// Raw unless somebody asks for a document.
fn form(state: &State, parameters: &Parameters, headers: &HeaderMap) -> Form {
    let json = Form::Json { with_data: false };
    match parameters.text("format") {
        Ok(Some("json")) => return json,
        Ok(Some("raw")) => return Form::Raw,
        _ => {}
    }
    let accepted = text(headers, header::ACCEPT).unwrap_or_default();
    let wants_json = accepted.split(',').any(|kind| kind.trim().starts_with("application/json"));
    match wants_json || state.config.read_format == ReadFormat::Json {
        true => json,
        false => Form::Raw,
    }
}

async fn outcome(
    state: &State,
    method: &Method,
    headers: &HeaderMap,
    request: &mut ReadRequest,
    attempts: &mut Attempts,
) -> Result<Outcome, ReadError> {
    let _place = match timeout(state.config.limits.queue, state.places.acquire()).await {
        Ok(Ok(place)) => place,
        _ => {
            let why = format!("{} reads are under way", state.config.limits.requests_max);
            return Err(ReadError::Busy { why, retry_after_s: 1 });
        }
    };
    let deadline = Instant::now() + state.config.reads.total;
    let hint = request.volume_server.clone();
    let whole = Range { file: request.file, offset: 0, len: 0, hint };
    if let (Part::From { .. } | Part::Last { .. }, Some(if_range)) =
        (request.part, text(headers, header::IF_RANGE))
    {
        let head = metadata(state, &whole, deadline, attempts).await?;
        if !range_counts(if_range, &head.details) {
            request.part = Part::Window { offset: 0, len: 0 };
        }
    }
    let (offset, len, status) = match request.part {
        Part::Window { offset, len } => (offset, len, StatusCode::OK),
        Part::From { offset, len } => (offset, len, StatusCode::PARTIAL_CONTENT),
        Part::Last { len } => {
            let whole_len = metadata(state, &whole, deadline, attempts).await?.whole_len;
            match whole_len {
                // Nothing is the last of nothing, and the last 0 bytes are none.
                Some(whole_len) if len == 0 || whole_len == 0 => {
                    return Err(ReadError::PastEnd { whole_len: Some(whole_len) });
                }
                Some(whole_len) => (whole_len.saturating_sub(len), 0, StatusCode::PARTIAL_CONTENT),
                None => (0, 0, StatusCode::OK),
            }
        }
    };
    let range = Range { offset, len, ..whole };
    let served = match *method == Method::HEAD {
        true => metadata(state, &range, deadline, attempts).await?,
        false => read_counted(state, &range, deadline, attempts).await?,
    };
    if let Some(status) = instead(headers, &served.details) {
        return Ok(Outcome { served, len: 0, status, bodyless: true });
    }
    let len = match (*method == Method::HEAD, served.whole_len) {
        (true, Some(whole_len)) => {
            let rest = whole_len.saturating_sub(offset);
            if len == 0 { rest } else { len.min(rest) }
        }
        _ => served.len,
    };
    if status == StatusCode::PARTIAL_CONTENT && len == 0 {
        return Err(ReadError::PastEnd { whole_len: served.whole_len });
    }
    Ok(Outcome { served, len, status, bodyless: *method == Method::HEAD })
}

/// What is known of a needle, for the price of one byte.
async fn metadata(
    state: &State,
    range: &Range,
    deadline: Instant,
    attempts: &mut Attempts,
) -> Result<Served, ReadError> {
    read_counted(state, &Range { len: 1, ..range.clone() }, deadline, attempts).await
}

/// Reads, and adds to what was tried.
async fn read_counted(
    state: &State,
    range: &Range,
    deadline: Instant,
    attempts: &mut Attempts,
) -> Result<Served, ReadError> {
    let (served, tried) = state.reads.read(range, deadline).await;
    attempts.join(tried);
    served
}

/// A read without conditions, for routes that have none.
pub(super) async fn plain(
    state: &State,
    range: &Range,
    attempts: &mut Attempts,
) -> Result<Served, ReadError> {
    let place = timeout(state.config.limits.queue, state.places.acquire()).await;
    let Ok(Ok(_place)) = place else {
        let why = format!("{} reads are under way", state.config.limits.requests_max);
        return Err(ReadError::Busy { why, retry_after_s: 1 });
    };
    read_counted(state, range, Instant::now() + state.config.reads.total, attempts).await
}

/// The parameter that an error is about, where it is about one.
pub(super) fn parameter_of(why: &ReadError) -> Option<BadParameter> {
    match why {
        ReadError::TooLong { .. } => Some(BadParameter::new("size", why.to_string())),
        _ => None,
    }
}
