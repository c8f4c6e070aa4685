//! A sidecar between stand-ins: an engine, a master, two volume servers with the same volumes.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wavetank_sidecar::{EngineReads, FileId, Layer as _, Settings, SidecarConfig, begin};
use wavetank_volume::{Cookie, NeedleId, NewNeedle};

use crate::stand_in::Server;
use crate::stand_in::engine::StandInEngine;
use crate::stand_in::master::StandInMaster;
use crate::stand_in::mount::{Got, StandInMount};
use crate::stand_in::shelf::{Shelf, volume};
use crate::stand_in::volume_server::StandInVolumeServer;

/// The cookie of every needle that a test writes by itself.
pub(crate) const COOKIE: u32 = 0x0bad_cafe;

/// All of it.
pub(crate) struct World {
    pub(crate) engine: Arc<StandInEngine>,
    pub(crate) master: Arc<StandInMaster>,
    pub(crate) master_server: Server,
    pub(crate) a: Arc<StandInVolumeServer>,
    pub(crate) a_server: Server,
    pub(crate) b: Arc<StandInVolumeServer>,
    pub(crate) b_server: Server,
    pub(crate) address: std::net::SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

/// What a volume of a few needles holds.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(byte).collect()
}

pub(crate) fn file(needle: u64) -> FileId {
    FileId { volume: 3, needle, cookie: COOKIE }
}

pub(crate) fn plain(needle: u64, data: &[u8]) -> NewNeedle<'_> {
    NewNeedle::new(NeedleId(needle), Cookie(COOKIE), data)
}

impl World {
    /// With one volume of these needles, and settings on top of what tests have.
    pub(crate) async fn of(needles: &[NewNeedle<'_>], settings: Settings) -> World {
        World::with(Shelf::new(vec![(3, volume(needles))]), None, settings).await
    }

    pub(crate) async fn with(shelf: Shelf, word: Option<&str>, settings: Settings) -> World {
        World::tuned(shelf, word, settings, |_| {}).await
    }

    /// With what no setting says as well.
    pub(crate) async fn tuned(
        shelf: Shelf,
        word: Option<&str>,
        settings: Settings,
        tune: impl FnOnce(&mut SidecarConfig),
    ) -> World {
        let shelf = Arc::new(shelf);
        let engine = Arc::new(StandInEngine::new(Arc::clone(&shelf)));
        let a = Arc::new(StandInVolumeServer::new(Arc::clone(&shelf), word));
        let b = Arc::new(StandInVolumeServer::new(Arc::clone(&shelf), word));
        let (a_server, b_server) = (Server::start(a.clone()).await, Server::start(b.clone()).await);
        let master = Arc::new(StandInMaster { word: word.map(str::to_owned), ..StandInMaster::default() });
        let both = [&a_server, &b_server].map(|server| (server.address.to_string(), "dc1".to_owned()));
        for volume in shelf.volumes() {
            master.volumes.lock().unwrap().insert(volume, both.to_vec());
        }
        let master_server = Server::start(master.clone()).await;
        let usual = Settings {
            port: Some(0),
            master: Some(vec![master_server.address.to_string()]),
            engine_timeout_ms: Some(400),
            http_timeout_ms: Some(800),
            ..Settings::default()
        };
        let mut config = SidecarConfig::new(&settings.over(usual)).unwrap();
        tune(&mut config);
        let seam: Option<Arc<dyn EngineReads>> = config.engine.is_some().then(|| engine.clone() as _);
        let running = begin(config, seam).await.unwrap();
        let address = running.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            running.serve(async { drop(stopped.await) }).await.unwrap();
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        let stop = Some(stop);
        World { engine, master, master_server, a, a_server, b, b_server, address, client, stop, serving }
    }

    pub(crate) fn a_place(&self) -> String {
        self.a_server.address.to_string()
    }

    pub(crate) fn b_place(&self) -> String {
        self.b_server.address.to_string()
    }

    pub(crate) async fn mount(&self) -> StandInMount {
        StandInMount::start(self.address).await.unwrap()
    }

    /// One request; what is not HTTP is a failed test.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[]).await
    }

    pub(crate) async fn read(&self, needle: u64) -> Got {
        self.get(&format!("/read?file_id={}", file(needle))).await
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        (&mut self.serving).await.unwrap();
    }

    /// Asks it to stop.
    pub(crate) fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
