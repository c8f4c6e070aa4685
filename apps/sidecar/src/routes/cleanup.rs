//! `/cleanup`: a client is done with an answer in a file.

use axum::extract::State as Of;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::json;
use crate::clock::timestamp;
use crate::request::{BadParameter, Parameters};
use crate::state::State;
use crate::temp_files::NotRemoved;

pub(super) async fn cleanup(Of(state): Of<State>, uri: Uri) -> Response {
    match removed(&state, uri.query().unwrap_or_default()).await {
        Ok(path) => {
            let told = json!({
                "success": true,
                "message": "it is removed",
                "temp_file": path,
                "timestamp": timestamp(),
            });
            json(StatusCode::OK, &told)
        }
        Err((status, why)) => (status, format!("{why}\n")).into_response(),
    }
}

async fn removed(state: &State, query: &str) -> Result<String, (StatusCode, String)> {
    let bad = |why: BadParameter| (StatusCode::BAD_REQUEST, why.to_string());
    let wrong = |why: &str| bad(BadParameter::new("temp_file", why));
    let parameters = Parameters::parse(query).map_err(bad)?;
    let path = parameters.text("temp_file").map_err(bad)?;
    let path = path.ok_or_else(|| wrong("is required: what X-Temp-File said"))?.to_owned();
    let files = state.temp_files.clone().ok_or_else(|| wrong("no answers are in files here"))?;
    let path_there = path.clone();
    let removed = spawn_blocking(move || files.remove(&path_there)).await;
    match removed {
        Ok(Ok(())) => Ok(path),
        Ok(Err(NotRemoved::NotOurs)) => Err(wrong("is none that was answered: what X-Temp-File said")),
        Ok(Err(NotRemoved::Failed(why))) => {
            Err((StatusCode::INTERNAL_SERVER_ERROR, format!("{path} cannot be removed: {why}")))
        }
        Err(why) => Err((StatusCode::INTERNAL_SERVER_ERROR, why.to_string())),
    }
}
