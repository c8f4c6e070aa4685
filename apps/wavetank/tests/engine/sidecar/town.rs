//! Everything of one mount on one machine: two engines over UCX, a master, a volume server with the same files, a sidecar.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wavetank_sidecar::FileId;

use crate::daemon::{Daemon, Process, wavetank};
use crate::library::{Right, Shelf};
use crate::pair::Site;
use crate::stand_in::master::StandInMaster;
use crate::stand_in::mount::{Got, StandInMount};
use crate::stand_in::volume_server::StandInVolumeServer;
use crate::stand_in::{Server, shelf};
use crate::waiting::{PATIENCE, within};

/// See the module.
pub(crate) struct Town {
    pub(crate) site: Site,
    pub(crate) exporter: Daemon,
    pub(crate) reader: Daemon,
    pub(crate) files: Arc<StandInVolumeServer>,
    pub(crate) files_server: Server,
    pub(crate) master_server: Server,
    port: u16,
}

impl Town {
    /// Both engines serve, and so do master and volume server.
    pub(crate) async fn new(transport: &'static str, shelves: &[Shelf]) -> Town {
        let site = Site::new(transport, shelves);
        let exporter = site.exporter(0);
        let port = exporter.address().rsplit_once(':').unwrap().1.parse().unwrap();
        let reader = reading(&site, port);
        let volumes: Vec<u32> = shelves.iter().map(|shelf| shelf.volume).collect();
        let stored = Arc::new(shelf::Shelf::of_files(&site.volumes(), &volumes));
        let files = Arc::new(StandInVolumeServer::new(stored, None));
        let files_server = Server::start(files.clone()).await;
        let master = Arc::new(StandInMaster::default());
        for volume in volumes {
            let at = vec![(files_server.address.to_string(), "dc1".to_owned())];
            master.volumes.lock().unwrap().insert(volume, at);
        }
        let master_server = Server::start(master.clone()).await;
        Town { site, exporter, reader, files, files_server, master_server, port }
    }

    /// The volume server, as a mount names it.
    pub(crate) fn place(&self) -> String {
        self.files_server.address.to_string()
    }

    /// `wavetank sidecar` in a process of its own, and where it serves.
    pub(crate) fn sidecar(&self) -> (Process, SocketAddr) {
        let path = self.site.path().join("sidecar.log");
        let log = File::create(&path).unwrap();
        let mut command = wavetank(&["sidecar", "--port", "0", "--fallback", "on"]);
        command.args(["--master", &self.master_server.address.to_string()]);
        command.arg("--rdma-socket").arg(&self.reader.socket);
        let mut process = Process::new(command.stderr(log).spawn().unwrap());
        let listens = || {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(process.has_ended(), None, "{text}");
            let (_, address) = text.split_once("listening on ")?;
            address.split_whitespace().next()?.parse().ok()
        };
        let address = within(PATIENCE, listens).expect("it should say where it listens");
        (process, address)
    }

    pub(crate) fn start_exporter(&mut self) {
        self.exporter = self.site.exporter(self.port);
    }

    pub(crate) fn start_reader(&mut self) {
        self.reader = reading(&self.site, self.port);
    }
}

/// The engine beside the volume server that a mount names is at that host and at this engine's own port.
fn reading(site: &Site, port: u16) -> Daemon {
    let (address, port) = (format!("127.0.0.1:{port}"), port.to_string());
    site.reader("reader", &address, &["--port", &port, "--buffer-size", "256MiB", "--drain-timeout", "3"])
}

/// A file that somebody may ask for, and its content; none of what was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) file: FileId,
    pub(crate) content: Option<Vec<u8>>,
}

/// What volumes hold, with what others hold under the same names taken for right.
pub(crate) fn known(asked: &[Shelf], right: &[Shelf]) -> Vec<Known> {
    let mut all = Vec::new();
    for (asked, right) in asked.iter().zip(right) {
        for id in asked.needles.ids() {
            let content = match right.right(id.0) {
                Right::Bytes(bytes) => Some(bytes),
                Right::No(_) => None,
            };
            let file = FileId { volume: asked.volume, needle: id.0, cookie: asked.needles.cookie(id).0 };
            all.push(Known { file, content });
        }
    }
    all
}

/// What a mount asks for, to the letter.
pub(crate) async fn ask(mount: &StandInMount, file: FileId, place: &str) -> Result<Got, String> {
    mount.get(&format!("/read?file_id={file}&offset=0&size=100000000&volume_server=http://{place}")).await
}

/// Reads everything once, all of it right. How many answers came from where.
pub(crate) async fn sources(mount: &StandInMount, all: &[Known], place: &str) -> Vec<String> {
    let mut sources = Vec::new();
    for known in all {
        let got = ask(mount, known.file, place).await.unwrap_or_else(|why| panic!("{}: {why}", known.file));
        match &known.content {
            Some(content) => {
                assert_eq!(got.status, 200, "{}: {}", known.file, got.text());
                assert!(got.body == content[..], "WRONG BYTES of {}", known.file);
                sources.push(got.header("x-source").to_owned());
            }
            None => assert_eq!(got.status, 404, "{}: {}", known.file, got.text()),
        }
    }
    sources
}

/// Reads one thing again and again, right each time, until it comes from there. How long that took.
pub(crate) async fn until_from(
    source: &str,
    limit: Duration,
    mount: &StandInMount,
    known: &Known,
    place: &str,
) -> Duration {
    let from = Instant::now();
    loop {
        let got = sources(mount, std::slice::from_ref(known), place).await;
        if got == [source] {
            return from.elapsed();
        }
        assert!(from.elapsed() < limit, "{got:?} and not {source} after {limit:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
