//! Two bare ports on one simulated network: a test bench that polls only when it is told to.

use wavetank_contract::{
    Access, CqId, EndpointSpec, EpId, Hold, MrId, Op, PdId, Quiet, Region, RegionSpec, RemoteAddr, Sge,
};
use wavetank_engine::{Anomaly, Batch, Order, Outcome, Port, PortConfig, RdmaContext, RdmaOps};
use wavetank_mock::{Fabric, MockNic, Profile};

use crate::lying::Lying;

/// Bytes of each node's region; works use 64 of them at a time.
const REGION_BYTES: u64 = 64 * 1024;

pub(crate) struct Side<C> {
    pub(crate) port: C,
    pub(crate) ep: EpId,
    pub(crate) cq: CqId,
    pub(crate) region: Region,
    pub(crate) mr: MrId,
    pub(crate) remote: RemoteAddr,
    pub(crate) ended: Vec<Outcome>,
}

pub(crate) struct Bench<C: RdmaOps = Port<Lying<MockNic>>> {
    pub(crate) fabric: Fabric,
    pub(crate) a: Side<C>,
    pub(crate) b: Side<C>,
}

/// A bench of devices that can be told to lie.
pub(crate) fn lying(endpoint: EndpointSpec, cq_depth: u32, signal_every: u32) -> Bench {
    Bench::new(endpoint, cq_depth, |nic| Port::new(Lying::new(nic), PortConfig { signal_every }))
}

pub(crate) fn honest_port(nic: MockNic) -> Port<MockNic> {
    Port::new(nic, PortConfig::default())
}

pub(crate) fn honest_context(nic: MockNic) -> RdmaContext {
    honest_port(nic).into()
}

pub(crate) fn depths(send_depth: u32, recv_depth: u32) -> EndpointSpec {
    EndpointSpec { send_depth, recv_depth, ..EndpointSpec::new(CqId(0)) }
}

impl<C: RdmaOps> Bench<C> {
    pub(crate) fn new(endpoint: EndpointSpec, cq_depth: u32, context: impl Fn(MockNic) -> C) -> Bench<C> {
        let mut fabric = Fabric::new(Profile::IDEAL);
        let mut side = || {
            let mut port = context(fabric.add_node());
            let region =
                port.allocate(&RegionSpec { granule_bytes: 64, ..RegionSpec::new(REGION_BYTES) }).unwrap();
            let mr = port.register(&region, PdId::default(), Access::ALL).unwrap();
            let cq = port.open_cq(cq_depth).unwrap();
            let ep = port.open(&EndpointSpec { send_cq: cq, recv_cq: cq, ..endpoint.clone() }).unwrap();
            let remote = RemoteAddr { rkey: wavetank_contract::RkeyId(0), addr: 0 };
            Side { port, ep, cq, region, mr, remote, ended: Vec::new() }
        };
        let (mut a, mut b) = (side(), side());
        a.meet(&b);
        b.meet(&a);
        Bench { fabric, a, b }
    }

    /// Lets the network finish what it has, and polls nothing.
    pub(crate) fn settle(&mut self) {
        while self.fabric.step(&mut Quiet).is_some() {}
    }

    pub(crate) fn poll(&mut self) {
        for side in [&mut self.a, &mut self.b] {
            side.port.poll(&mut side.ended);
        }
    }

    /// Polls after every step until nothing is scheduled.
    pub(crate) fn run(&mut self) {
        loop {
            self.poll();
            if self.fabric.step(&mut Quiet).is_none() {
                break;
            }
        }
        self.poll();
    }
}

impl<C: RdmaOps> Side<C> {
    /// Imports the other side's key and points the endpoint at it.
    fn meet(&mut self, other: &Side<C>) {
        let key = other.port.export(other.mr).unwrap();
        self.remote = self.port.import(self.ep, &key).unwrap().at(0, 64).unwrap();
        self.port.connect(self.ep, &other.port.address(other.ep).unwrap()).unwrap();
    }

    fn order(&self, tag: u64, op: Op, len: u32, hold: Option<Hold>) -> Order {
        Order::new(tag, op, Sge { mr: self.mr, len, offset: 0 }, hold)
    }

    pub(crate) fn read(&self, tag: u64) -> Order {
        self.order(tag, Op::Read { remote: self.remote }, 64, None)
    }

    pub(crate) fn write(&self, tag: u64) -> Order {
        self.order(tag, Op::Write { remote: self.remote, imm: None }, 64, None)
    }

    pub(crate) fn send(&self, tag: u64) -> Order {
        self.order(tag, Op::Send { imm: Some(tag as u32) }, 64, None)
    }

    pub(crate) fn recv(&self, tag: u64) -> Order {
        self.order(tag, Op::Recv, 64, None)
    }

    /// An atomic of 16 bytes, which no device takes.
    pub(crate) fn impossible(&self, tag: u64) -> Order {
        self.order(tag, Op::FetchAdd { remote: self.remote, add: 1 }, 16, None)
    }

    /// A WRITE that keeps the `slot`th 64 bytes of the region out of circulation.
    pub(crate) fn held_write(&self, tag: u64, slot: u64) -> Order {
        let lease = self.region.lease(slot * 64, 64).unwrap();
        self.order(tag, Op::Write { remote: self.remote, imm: None }, 64, Some(lease.hold()))
    }

    pub(crate) fn post(&mut self, orders: Vec<Order>) -> usize {
        let mut batch = Batch::from(orders);
        let posted = self.port.post(self.ep, &mut batch).unwrap();
        assert!(batch.is_empty(), "no credit for {batch:?}");
        posted
    }

    pub(crate) fn tags(&self) -> Vec<u64> {
        self.ended.iter().map(|outcome| outcome.tag).collect()
    }

    pub(crate) fn anomalies(&mut self) -> Vec<Anomaly> {
        std::iter::from_fn(|| self.port.take_anomaly()).collect()
    }
}
