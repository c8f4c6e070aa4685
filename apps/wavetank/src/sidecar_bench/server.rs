//! What stands beside the sidecar: an HTTP server that has the needles in memory, and one that reads each from the file. Both know
//! where every needle is, check nothing, and say of volumes that they are here.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use wavetank_sidecar::FileId;

use crate::needles_bench::http::Served;
use crate::print;

/// Where needles are.
enum Needles {
    Memory(BTreeMap<u64, Bytes>),
    File(Served),
}

/// Serves the needles of a `.dat` until this process is ended, on as many threads as the sidecar has.
pub(crate) fn serve(dat: &Path, from_memory: bool) -> Result<ExitCode, Box<dyn Error>> {
    let served = Served::open(dat)?;
    let needles = match from_memory {
        false => Needles::File(served),
        true => {
            let read = |id| served.read(id).map(|bytes| (id, Bytes::from(bytes)));
            let all: Result<_, StatusCode> = served.ids().map(read).collect();
            Needles::Memory(all.map_err(|status| format!("a needle cannot be read: {status}"))?)
        }
    };
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        print(&address.to_string())?;
        let routes = Router::new()
            .route("/read", get(read))
            .with_state(Arc::new(needles))
            .route("/dir/lookup", get(move || lookup(address)));
        let listener = listener.tap_io(|stream| {
            // It is slower then, and still right.
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, routes).await.map(|()| ExitCode::SUCCESS)?)
    })
}

/// What a master says of every volume.
async fn lookup(address: SocketAddr) -> String {
    let address = address.to_string();
    json!({ "volumeOrFileId": "1", "locations": [{ "url": address, "publicUrl": address }] }).to_string()
}

async fn read(State(needles): State<Arc<Needles>>, uri: Uri) -> Response {
    let asked = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("file_id="));
    let Some(file) = asked.and_then(|id| id.parse::<FileId>().ok()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    match &*needles {
        Needles::Memory(needles) => match needles.get(&file.needle) {
            Some(bytes) => (kind, bytes.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Needles::File(served) => match served.read(file.needle) {
            Ok(bytes) => (kind, bytes).into_response(),
            Err(status) => status.into_response(),
        },
    }
}
