//! Two nodes with a driver each on one simulated network, and the loop that turns them.

use wavetank_contract::{
    Access, AsyncEvent, Backend, CqId, EndpointSpec, EpId, Instant, MrId, Op, PdId, Region, RegionSpec,
    RemoteAddr, RemoteRegion, Seeded, Wake,
};
use wavetank_engine::memory::Arena;
use wavetank_engine::{
    Anomaly, Driver, DriverConfig, Finished, LocalEngine, Port, PortConfig, RdmaContext, RdmaOps, TransferId,
    TransferSpec,
};
use wavetank_mock::{Fabric, MockNic, Profile};

use crate::lying::Lying;

pub(crate) const KIB: u64 = 1024;
/// Transfers are cut at this length in most tests.
pub(crate) const CHUNK: u64 = 4 * KIB;
/// What each node exposes to its peer, and leases from.
pub(crate) const REGION_BYTES: u64 = 2048 * KIB;

/// What a byte of a node's exposed region holds at the beginning.
pub(crate) fn pattern(node: usize, at: u64) -> u8 {
    (at.wrapping_mul(37) ^ (at >> 8).wrapping_mul(11) ^ (at >> 16) ^ ((node as u64 + 1) * 101)) as u8
}

/// How a lab is set up.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) profile: Profile,
    pub(crate) driver: DriverConfig,
    pub(crate) port: PortConfig,
    pub(crate) cq_depth: u32,
    /// Its completion queues are filled in.
    pub(crate) endpoint: EndpointSpec,
    pub(crate) seed: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        let driver = DriverConfig { chunk_bytes: CHUNK as u32, window: 4, ..DriverConfig::default() };
        Plan {
            profile: Profile::CX6,
            driver,
            port: PortConfig::default(),
            cq_depth: 1024,
            endpoint: EndpointSpec::new(CqId(0)),
            seed: 1,
        }
    }
}

pub(crate) struct Node<C: RdmaOps> {
    pub(crate) engine: LocalEngine<C>,
    /// Where leases come from.
    pub(crate) arena: Arena,
    pub(crate) ep: EpId,
    pub(crate) cq: CqId,
    /// What the peer may reach, and its registration.
    pub(crate) exposed: Region,
    pub(crate) exposed_mr: MrId,
    /// What the peer exposes.
    pub(crate) peer: RemoteRegion,
    /// What the last turn answered.
    pub(crate) wake: Wake,
    /// The most works that were outstanding after a turn.
    pub(crate) outstanding_max: usize,
}

pub(crate) struct Lab<C: RdmaOps = RdmaContext> {
    pub(crate) fabric: Fabric,
    pub(crate) nodes: Vec<Node<C>>,
    pub(crate) choices: Seeded,
    plan: Plan,
}

pub(crate) type Liar = Port<Lying<MockNic>>;

/// A lab of engines as users have them.
pub(crate) fn lab(plan: Plan) -> Lab {
    Lab::new(plan, |nic, port| RdmaContext::Mock(Port::new(nic, port)))
}

/// A lab whose devices can be told to lie.
pub(crate) fn lying_lab(plan: Plan) -> Lab<Liar> {
    Lab::new(plan, |nic, port| Port::new(Lying::new(nic), port))
}

impl<C: RdmaOps> Lab<C> {
    pub(crate) fn new(plan: Plan, context: impl Fn(MockNic, PortConfig) -> C) -> Lab<C> {
        let mut fabric = Fabric::new(plan.profile.clone());
        let nodes = (0..2).map(|_| Self::node(context(fabric.add_node(), plan.port), &plan)).collect();
        let mut lab = Lab { fabric, nodes, choices: Seeded::new(plan.seed), plan };
        for node in 0..2 {
            let (exposed, mr) = (lab.nodes[node].exposed.clone(), lab.nodes[node].exposed_mr);
            let bytes: Vec<u8> = (0..exposed.len()).map(|at| pattern(node, at)).collect();
            exposed.write(0, &bytes);
            let key = lab.on(node, |d| d.context().export(mr)).unwrap();
            let peer_ep = lab.nodes[1 - node].ep;
            lab.nodes[1 - node].peer = lab.on(1 - node, |d| d.context().import(peer_ep, &key)).unwrap();
        }
        let eps = (lab.nodes[0].ep, lab.nodes[1].ep);
        lab.connect(eps.0, eps.1);
        lab
    }

    fn node(mut context: C, plan: &Plan) -> Node<C> {
        let spec = RegionSpec::new(REGION_BYTES);
        let exposed = context.allocate(&spec).unwrap();
        let exposed_mr = context.register(&exposed, PdId::default(), Access::ALL).unwrap();
        let region = context.allocate(&spec).unwrap();
        let mr = context.register(&region, PdId::default(), Access::LOCAL).unwrap();
        let cq = context.open_cq(plan.cq_depth).unwrap();
        let ep = context.open(&EndpointSpec { send_cq: cq, recv_cq: cq, ..plan.endpoint.clone() }).unwrap();
        Node {
            engine: LocalEngine::new(Driver::new(context, plan.driver)),
            arena: Arena::new(region, mr).unwrap(),
            ep,
            cq,
            exposed,
            exposed_mr,
            peer: RemoteRegion { rkey: wavetank_contract::RkeyId(0), addr: 0, len: 0 },
            wake: Wake::Idle,
            outstanding_max: 0,
        }
    }

    /// Opens another pair of endpoints, connected.
    pub(crate) fn another_pair(&mut self) -> (EpId, EpId) {
        let open = |node: &Node<C>| {
            let spec = EndpointSpec { send_cq: node.cq, recv_cq: node.cq, ..self.plan.endpoint.clone() };
            node.engine.with(|d| d.context().open(&spec)).unwrap()
        };
        let (a, b) = (open(&self.nodes[0]), open(&self.nodes[1]));
        self.connect(a, b);
        (a, b)
    }

    /// Connects an endpoint of node 0 with one of node 1.
    pub(crate) fn connect(&mut self, a: EpId, b: EpId) {
        let address_a = self.on(0, |d| d.context().address(a)).unwrap();
        let address_b = self.on(1, |d| d.context().address(b)).unwrap();
        self.on(0, |d| d.context().connect(a, &address_b)).unwrap();
        self.on(1, |d| d.context().connect(b, &address_a)).unwrap();
    }

    pub(crate) fn on<R>(&self, node: usize, call: impl FnOnce(&mut Driver<C>) -> R) -> R {
        self.nodes[node].engine.with(call)
    }

    pub(crate) fn now(&self) -> Instant {
        self.fabric.now()
    }

    /// Any operation with a fresh lease and no deadline.
    pub(crate) fn spec(&mut self, node: usize, op: Op, len: u64) -> TransferSpec {
        let Node { arena, ep, engine, .. } = &mut self.nodes[node];
        let lease = engine.with(|d| d.lease(arena, len.max(1))).unwrap();
        TransferSpec {
            ep: *ep,
            op,
            mr: arena.mr(),
            lease,
            len,
            deadline: Instant::FAR,
            session: None,
            tag: 0,
        }
    }

    /// A place in what the peer of `node` exposes. May be past its end.
    pub(crate) fn remote(&self, node: usize, offset: u64) -> RemoteAddr {
        let peer = self.nodes[node].peer;
        RemoteAddr { rkey: peer.rkey, addr: peer.addr + offset }
    }

    /// Reads from what the peer exposes.
    pub(crate) fn read(&mut self, node: usize, offset: u64, len: u64) -> TransferSpec {
        let remote = self.remote(node, offset);
        self.spec(node, Op::Read { remote }, len)
    }

    /// Writes `pattern(node + 2, ..)` to what the peer exposes.
    pub(crate) fn write(&mut self, node: usize, offset: u64, len: u64, imm: Option<u32>) -> TransferSpec {
        let remote = self.remote(node, offset);
        let spec = self.spec(node, Op::Write { remote, imm }, len);
        let bytes: Vec<u8> = (0..len).map(|at| pattern(node + 2, at)).collect();
        spec.lease.write(0, &bytes);
        spec
    }

    pub(crate) fn submit(&self, node: usize, spec: TransferSpec) -> TransferId {
        self.on(node, |d| d.submit(self.now(), spec)).unwrap()
    }

    pub(crate) fn finished(&self, node: usize) -> Vec<Finished> {
        self.on(node, |d| std::iter::from_fn(|| d.take_finished()).collect())
    }

    /// The only transfer that finished.
    pub(crate) fn the_finished(&self, node: usize) -> Finished {
        let mut all = self.finished(node);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub(crate) fn events(&self, node: usize) -> Vec<AsyncEvent> {
        self.on(node, |d| std::iter::from_fn(|| d.take_event()).collect())
    }

    pub(crate) fn anomalies(&self, node: usize) -> Vec<Anomaly> {
        self.on(node, |d| std::iter::from_fn(|| d.context().take_anomaly()).collect())
    }

    pub(crate) fn outstanding(&self, node: usize) -> usize {
        self.on(node, |d| d.context().outstanding())
    }

    pub(crate) fn turn(&mut self, node: usize) {
        let now = self.now();
        let node = &mut self.nodes[node];
        // A device always has something to say for a while, never for ever.
        for _ in 0..1000 {
            node.wake = node.engine.turn(now);
            let outstanding = node.engine.with(|d| d.context().outstanding());
            node.outstanding_max = node.outstanding_max.max(outstanding);
            if node.wake != Wake::Now {
                return;
            }
        }
        panic!("a driver that wants to be turned for ever");
    }

    /// Runs until nothing is scheduled.
    pub(crate) fn run(&mut self) {
        self.run_until(Instant::FAR);
    }

    /// Runs everything that happens up to `limit`, and then lets time pass to it.
    pub(crate) fn run_until(&mut self, limit: Instant) {
        (0..2).for_each(|node| self.turn(node));
        let mut ready = Vec::new();
        loop {
            let wakes = self.nodes.iter().filter_map(|node| match node.wake {
                Wake::At(at) => Some(at),
                _ => None,
            });
            let until = wakes.min().unwrap_or(Instant::FAR).min(limit);
            if self.fabric.step_until(until, &mut self.choices).is_some() {
                self.fabric.take_ready(&mut ready);
                ready.drain(..).for_each(|node| self.turn(usize::from(node)));
                continue;
            }
            if until == Instant::FAR {
                return;
            }
            self.fabric.advance_to(until);
            for node in 0..2 {
                if matches!(self.nodes[node].wake, Wake::At(at) if at <= until) {
                    self.turn(node);
                }
            }
            if until == limit {
                return;
            }
        }
    }

    /// Runs for a while.
    pub(crate) fn run_for(&mut self, ns: u64) {
        self.run_until(self.now() + ns);
    }

    /// Nothing is left anywhere: no transfer, no work, no lease, no anomaly.
    #[track_caller]
    pub(crate) fn assert_quiet(&mut self) {
        for node in 0..2 {
            let mut works = String::new();
            self.on(node, |d| d.context().describe_outstanding(&mut works));
            assert_eq!(self.on(node, |d| d.transfers_len()), 0, "transfers of node {node}; works:\n{works}");
            assert_eq!(self.outstanding(node), 0, "works of node {node}:\n{works}");
            assert!(self.finished(node).is_empty(), "unclaimed ends at node {node}");
            assert!(self.nodes[node].arena.is_whole(), "leases of node {node}");
            self.nodes[node].arena.check().unwrap();
            assert_eq!(self.anomalies(node), []);
        }
    }

    /// What a transfer brought is what the peer of `node` exposes at `offset`.
    #[track_caller]
    pub(crate) fn assert_brought(&self, node: usize, finished: &Finished, offset: u64, len: u64) {
        assert_eq!(finished.result, Ok(len));
        let mut bytes = vec![0; len as usize];
        finished.lease.as_ref().unwrap().read(0, &mut bytes);
        let wrong = (0..len).find(|at| bytes[*at as usize] != pattern(1 - node, offset + at));
        assert_eq!(wrong, None, "the first wrong byte of {len} at {offset}");
    }

    /// What `node` exposes holds at `offset` what its peer wrote, and is untouched on both sides of it.
    #[track_caller]
    pub(crate) fn assert_written(&self, node: usize, offset: u64, len: u64) {
        let mut bytes = vec![0; REGION_BYTES as usize];
        self.nodes[node].exposed.read(0, &mut bytes);
        let expected = |at: u64| {
            if (offset..offset + len).contains(&at) {
                pattern(1 - node + 2, at - offset)
            } else {
                pattern(node, at)
            }
        };
        let wrong = (0..REGION_BYTES).find(|at| bytes[*at as usize] != expected(*at));
        assert_eq!(wrong, None, "the first wrong byte around {len} at {offset}");
    }
}

impl<B: Backend> Lab<Port<Lying<B>>> {
    pub(crate) fn device<R>(&self, node: usize, call: impl FnOnce(&mut Lying<B>) -> R) -> R {
        self.on(node, |d| call(d.context().backend_mut()))
    }
}
