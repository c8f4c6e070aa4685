//! Two processes find each other over TCP, connect a queue pair, and one READs the other's memory.
//!
//! On the simulated NIC both are tasks of one process, as two processes share no simulated wire:
//!
//! `cargo run --example two_processes -p wavetank-engine`
//!
//! Over devices, with the feature `verbs`, in two terminals or on two machines:
//!
//! `cargo run --example two_processes -p wavetank-engine --features verbs -- --serve 0.0.0.0:7471 --device rxe0`
//! `cargo run --example two_processes -p wavetank-engine --features verbs -- --connect 10.0.0.1:7471 --device rxe1`
//!
//! Over UCX, with the feature `ucx`, the same with `--ucx tcp` (or `shm`, or `rc/rxe0:1`) in place of `--device rxe0`.

use std::error::Error;
use std::time::Duration;

use tokio::runtime::Builder;
use wavetank_contract::{Access, EndpointSpec, Instant, Op, PdId, Quiet, Region, RegionSpec, Wake};
use wavetank_engine::bootstrap::{
    InstanceId, Introduction, Joined, Listener, ListenerConfig, Plan, Share, TcpBootstrap, join,
};
use wavetank_engine::memory::Arena;
use wavetank_engine::{
    BackendKind, Driver, DriverConfig, Port, PortConfig, RdmaContext, RdmaOps, TransferSpec,
};
use wavetank_mock::{Fabric, Profile};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the serving side lets others read.
const REGION_BYTES: u64 = 1 << 20;
/// For the whole handshake, and for the READ.
const LIMIT: Duration = Duration::from_secs(10);

/// What is at a place of the region.
fn pattern(at: u64) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

/// A device with one endpoint and a region.
struct Node {
    driver: Driver,
    plan: Plan,
    region: Region,
    us: Introduction,
}

impl Node {
    fn new(mut context: RdmaContext, backend: BackendKind, shares: bool) -> Outcome<Node> {
        let us = Introduction::new(InstanceId::random()?, backend, &context.caps().name);
        let cq = context.open_cq(128)?;
        let endpoints = vec![context.open(&EndpointSpec::new(cq))?];
        let region = context.allocate(&RegionSpec::new(REGION_BYTES))?;
        let mut plan = Plan { endpoints, ..Plan::default() };
        if shares {
            let bytes: Vec<u8> = (0..REGION_BYTES).map(pattern).collect();
            region.write(0, &bytes);
            let mr = context.register(&region, PdId::default(), Access::REMOTE_READ)?;
            plan.shares.push(Share { name: "pattern".into(), mr, len_bytes: REGION_BYTES });
        }
        Ok(Node { driver: Driver::new(context, DriverConfig::default()), plan, region, us })
    }

    /// Lets one peer in, and answers once it is gone. Its READs take none of this process's time.
    async fn serve(mut self, mut listener: Listener, now: &dyn Fn() -> Instant) -> Outcome<String> {
        let (mut bootstrap, from) = listener.accept().await?;
        join(&mut self.driver, now, &self.plan, &mut bootstrap).await?;
        let device = bootstrap.peer().device.clone();
        bootstrap.closed().await?;
        Ok(format!("served {device} at {from} until it left"))
    }

    /// READs all that the peer shares, and compares it. `idle` lets time pass.
    async fn read(
        &mut self,
        peer: &Joined,
        now: &dyn Fn() -> Instant,
        mut idle: impl AsyncFnMut(),
    ) -> Outcome<String> {
        let remote = peer.region("pattern", 0).ok_or("the peer shares no pattern")?;
        let mr = self.driver.context().register(&self.region, PdId::default(), Access::LOCAL)?;
        let mut arena = Arena::new(self.region.clone(), mr)?;
        let spec = TransferSpec {
            ep: self.plan.endpoints[0],
            op: Op::Read { remote: remote.at(0, REGION_BYTES).ok_or("the peer shares less")? },
            lease: arena.acquire(REGION_BYTES)?,
            mr,
            len: REGION_BYTES,
            deadline: now() + LIMIT.as_nanos() as u64,
            session: None,
            tag: 0,
        };
        self.driver.submit(now(), spec)?;
        let finished = loop {
            let wake = self.driver.turn(now());
            if let Some(finished) = self.driver.take_finished() {
                break finished;
            }
            if wake != Wake::Now {
                idle().await;
            }
        };
        finished.result?;
        let mut bytes = vec![0; REGION_BYTES as usize];
        finished.lease.ok_or("the device still has the lease")?.read(0, &mut bytes);
        match (0..).zip(&bytes).find(|(at, byte)| pattern(*at) != **byte) {
            Some((at, byte)) => {
                Err(format!("byte {at} is {byte:#04x} and should be {:#04x}", pattern(at)).into())
            }
            None => {
                let ns = finished.finished_at.since_ns(finished.submitted_at);
                Ok(format!("read and compared {REGION_BYTES} bytes in {ns} ns"))
            }
        }
    }
}

/// Both roles in one process, on one simulated network.
async fn simulated() -> Outcome<String> {
    let mut fabric = Fabric::new(Profile::CX6);
    let mut node = |shares| {
        let port = Port::new(fabric.add_node(), PortConfig::default());
        Node::new(port.into(), BackendKind::Mock, shares)
    };
    let (storage, mut client) = (node(true)?, node(false)?);
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), storage.us.clone(), ListenerConfig::default())?;
    let address = listener.address()?;
    let start = || Instant::ZERO;
    let serve = storage.serve(listener, &start);
    let read = async {
        let mut bootstrap = TcpBootstrap::dial(address, client.us.clone(), LIMIT).await?;
        let peer = join(&mut client.driver, start, &client.plan, &mut bootstrap).await?;
        // Time is virtual from here on: the fabric owns it.
        let fabric = std::cell::RefCell::new(fabric);
        let idle = async || {
            fabric.borrow_mut().step(&mut Quiet);
        };
        client.read(&peer, &|| fabric.borrow().now(), idle).await
    };
    let (served, read) = tokio::join!(serve, read);
    Ok(format!("{} (simulated)\n{}", read?, served?))
}

/// One role, over a device of this machine.
async fn real(role: &str, address: &str, backend: BackendKind, device: &str) -> Outcome<String> {
    let started = tokio::time::Instant::now();
    let now = move || Instant(started.elapsed().as_nanos() as u64);
    let mut node = Node::new(
        RdmaContext::open_device(backend, device, PortConfig::default())?,
        backend,
        role == "--serve",
    )?;
    if role == "--serve" {
        let listener = Listener::bind(address.parse()?, node.us.clone(), ListenerConfig::default())?;
        return node.serve(listener, &now).await;
    }
    let mut bootstrap = TcpBootstrap::dial(address, node.us.clone(), LIMIT).await?;
    let peer = join(&mut node.driver, now, &node.plan, &mut bootstrap).await?;
    node.read(&peer, &now, async || tokio::time::sleep(Duration::from_millis(1)).await).await
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let said = match args[..] {
        [] => runtime.block_on(simulated()),
        [role @ ("--serve" | "--connect"), address, kind @ ("--device" | "--ucx"), name] => {
            let backend = if kind == "--ucx" { BackendKind::Ucx } else { BackendKind::Verbs };
            runtime.block_on(real(role, address, backend, name))
        }
        _ => Err("usage: two_processes [{--serve | --connect} ADDRESS {--device | --ucx} NAME]".into()),
    }?;
    #[expect(clippy::print_stdout, reason = "an example shows what it did")]
    {
        println!("{said}");
    }
    Ok(())
}
