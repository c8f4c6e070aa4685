//! A client that does what `weed mount` does, and nothing more: no checks, at most two idle connections, five seconds.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use wavetank_sidecar::FileId;

/// Reads at once, idle connections, and how long it waits.
const CONCURRENT: usize = 64;
const IDLE: usize = 2;
const PATIENCE: Duration = Duration::from_secs(5);

/// The stand-in.
#[derive(Clone, Debug)]
pub(crate) struct StandInMount {
    client: Client<HttpConnector, Empty<Bytes>>,
    sidecar: SocketAddr,
    places: Arc<Semaphore>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl StandInMount {
    /// Starts as a mount starts: without a good word on its health there is no client.
    pub(crate) async fn start(sidecar: SocketAddr) -> Result<StandInMount, String> {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE).build_http();
        let mount = StandInMount { client, sidecar, places: Arc::new(Semaphore::new(CONCURRENT)) };
        let health = mount.get("/health").await?;
        let told = health.json();
        match (health.status, told["status"].as_str(), told["rdma"]["enabled"].as_bool()) {
            (200, Some("healthy"), Some(true)) => Ok(mount),
            other => Err(format!("{other:?}")),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Got, String> {
        self.send("GET", path).await
    }

    async fn send(&self, method: &str, path: &str) -> Result<Got, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.sidecar))
            .header("user-agent", "Go-http-client/1.1")
            .header("accept-encoding", "gzip")
            .body(Empty::new())
            .unwrap();
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|why| format!("{why:?}"))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|why| why.to_string())?.to_bytes();
            Ok(Got { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err("timeout".to_owned()))
    }

    /// What a file system would get of a chunk: bytes and whether they were marked; `Err` where it reads by itself.
    pub(crate) async fn read(
        &self,
        file: FileId,
        offset: u64,
        size: u64,
        volume_server: &str,
    ) -> Result<(Vec<u8>, bool), String> {
        let _place = self.places.acquire().await.unwrap();
        let path =
            format!("/read?file_id={file}&offset={offset}&size={size}&volume_server=http://{volume_server}");
        let got = self.get(&path).await?;
        if got.status != 200 {
            return Err(format!("{} {}", got.status, got.text()));
        }
        let marked = got.header("x-source").contains("rdma") || got.header("x-rdma-used") == "true";
        if got.header("x-use-temp-file") == "true" && !got.header("x-temp-file").is_empty() {
            let path = got.header("x-temp-file").to_owned();
            let read = std::fs::File::open(&path).and_then(|mut file| {
                let mut buffer = vec![0; size as usize];
                let len = file.read(&mut buffer)?;
                buffer.truncate(len);
                Ok(buffer)
            });
            let mount = self.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                let _ =
                    mount.send("DELETE", &format!("/cleanup?temp_file={}", path.replace('/', "%2F"))).await;
            });
            return Ok((read.unwrap_or_else(|_| got.body.to_vec()), marked));
        }
        Ok((got.body.to_vec(), marked))
    }
}
