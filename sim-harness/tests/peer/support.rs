//! A server and a client on one simulated network.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use wavetank_engine::bootstrap::{Introduction, TcpBootstrap};
use wavetank_engine::{BackendKind, Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_harness::peer::{
    AttachError, Event, Peer, Served, Server, ServerConfig, attach_simulated, introduction,
};
use wavetank_harness::{Check, Replay, Report, Workload};
use wavetank_mock::{Fabric, MockNic, Profile};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn workload(rest: &str) -> Workload {
    let text = format!(
        "profile = \"cx6\"\nqueue_pairs = 2\n\
         [[node]]\nname = \"storage\"\n[[node]]\nname = \"client\"\n\
         [[region]]\nname = \"pages\"\nnode = \"storage\"\nsize = \"64KiB\"\n\
         [[region]]\nname = \"log\"\nnode = \"storage\"\nsize = 20001\n\
         {rest}"
    );
    match Workload::parse(Path::new("test.toml"), text.as_bytes()) {
        Ok(workload) => workload,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// One `[[op]]` of the client.
pub(crate) fn op(kind: &str, region: &str, size: &str) -> String {
    format!("[[op]]\nkind = \"{kind}\"\nfrom = \"client\"\nregion = \"{region}\"\nsize = \"{size}\"\n")
}

pub(crate) fn load(count: u32) -> String {
    format!("[load]\nconcurrency = 8\ncount = {count}\n")
}

/// READs and WRITEs.
pub(crate) fn mixed(count: u32) -> Workload {
    workload(
        &(op("read", "pages", "4KiB")
            + &op("write", "log", "3000")
            + &op("read", "log", "512")
            + &load(count)),
    )
}

/// A network with a NIC for each side.
pub(crate) struct Net {
    pub(crate) fabric: Fabric,
    pub(crate) client: MockNic,
    pub(crate) server: MockNic,
}

impl Net {
    pub(crate) fn new() -> Net {
        let mut fabric = Fabric::new(Profile::CX6);
        let (client, server) = (fabric.add_node(), fabric.add_node());
        Net { fabric, client, server }
    }
}

pub(crate) fn context(nic: MockNic) -> RdmaContext {
    Port::new(nic, PortConfig::default()).into()
}

pub(crate) fn us() -> Introduction {
    introduction(BackendKind::Mock, "mock/client").unwrap()
}

pub(crate) async fn dial(address: SocketAddr) -> TcpBootstrap {
    TcpBootstrap::dial(address, us(), LIMIT).await.unwrap()
}

/// What happened at a server, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
    pub(crate) served: Served,
}

impl Story {
    /// Everything, for people.
    pub(crate) fn tell(&self) -> String {
        let events: Vec<String> = self.events.iter().map(ToString::to_string).collect();
        format!("{:?}\n{}", self.served, events.join("\n"))
    }
}

/// A server, as its clients see it and a little more.
pub(crate) struct Hall {
    pub(crate) address: SocketAddr,
    events: Rc<RefCell<Vec<Event>>>,
    stop: RefCell<Option<oneshot::Sender<()>>>,
    over: Cell<bool>,
}

impl Hall {
    /// Waits until so many clients have left or been refused.
    pub(crate) async fn gone(&self, clients: usize) {
        let is_end = |event: &&Event| matches!(event, Event::Left { .. } | Event::Refused { .. });
        self.until(|| self.events.borrow().iter().filter(is_end).count() >= clients).await;
    }

    /// Waits until the server has ended.
    pub(crate) async fn over(&self) {
        self.until(|| self.over.get()).await;
    }

    /// Asks the server to end.
    pub(crate) fn stop(&self) {
        self.stop.take();
    }

    async fn until(&self, so: impl Fn() -> bool) {
        let waiting = async {
            while !so() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("it comes to that");
    }
}

/// Runs a server over `context` as long as `client` takes.
pub(crate) fn beside<C: RdmaOps + 'static, T>(
    context: C,
    config: ServerConfig,
    client: impl AsyncFnOnce(&Hall) -> T,
) -> (T, Story) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    runtime.block_on(async {
        let server = Server::listen(context, BackendKind::Mock, local, config).unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let events = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&events);
        let stopped = async { drop(stopped.await) };
        let serving =
            server.serve(stopped, Rc::new(move |event: &Event| told.borrow_mut().push(event.clone())));
        let stop = RefCell::new(Some(stop));
        let hall = Hall { address, events: Rc::clone(&events), stop, over: Cell::new(false) };
        let serving = async {
            let served = serving.await.unwrap();
            hall.over.set(true);
            served
        };
        let client = async {
            let answer = client(&hall).await;
            hall.stop();
            answer
        };
        let (served, answer) = tokio::join!(serving, client);
        let events = hall.events.take();
        (answer, Story { served, events })
    })
}

pub(crate) type Attached<C> = Result<(Replay<C>, Peer<TcpStream>), AttachError>;

/// Attaches a workload.
pub(crate) async fn attached<C: RdmaOps>(
    workload: Workload,
    fabric: Fabric,
    context: C,
    address: SocketAddr,
) -> Attached<C> {
    let bootstrap = TcpBootstrap::dial(address, us(), LIMIT).await?;
    attach_simulated(workload, fabric, context, bootstrap, LIMIT).await
}

/// Runs a workload against a server, from beginning to end.
pub(crate) fn run(workload: Workload, config: ServerConfig) -> (Report, Story) {
    let Net { fabric, client, server } = Net::new();
    run_over(workload, config, fabric, context(client), context(server))
}

/// The same over contexts of any kind.
pub(crate) fn run_over<C: RdmaOps + 'static>(
    workload: Workload,
    config: ServerConfig,
    fabric: Fabric,
    client: C,
    server: C,
) -> (Report, Story) {
    beside(server, config, async |hall| {
        let (replay, peer) = attached(workload, fabric, client, hall.address).await.unwrap();
        let mut report = replay.run(&mut |_| ());
        peer.part(&mut report).await;
        hall.gone(1).await;
        report
    })
}

/// Every failure, for people.
pub(crate) fn tell(report: &Report) -> String {
    let told: Vec<String> = report.failures.told().iter().map(ToString::to_string).collect();
    format!("{} failures:\n{}", report.failures.total(), told.join("\n"))
}

/// The first failure of a check, which must say all of `parts`.
#[track_caller]
pub(crate) fn failed(report: &Report, check: Check, parts: &[&str]) {
    let failure = report.failures.told().iter().find(|failure| failure.check == check);
    let Some(failure) = failure else { panic!("no failure of {check:?}: {}", tell(report)) };
    let text = failure.to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} are not all in: {text}");
}
