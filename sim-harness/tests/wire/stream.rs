//! A stream of READs and WRITEs from a client to a storage node, with something done to the wire at a chosen moment.

use wavetank_contract::{
    Access, AsyncEvent, Backend, EndpointAddress, EndpointSpec, EpId, Instant, MrId, Op, OpKind, PdId,
    QpState, Region, RegionSpec, RemoteKey, RemoteRegion, Status,
};
use wavetank_engine::memory::Arena;
use wavetank_engine::{
    Driver, DriverConfig, Finished, Port, PortConfig, RdmaOps, TransferError, TransferSpec,
};
use wavetank_harness::lab::{Lab, Sleeper};
use wavetank_harness::pattern::{self, Tag};

/// Bytes of one operation: sixteen packets at the largest MTU.
pub(crate) const OP_BYTES: u64 = 64 << 10;

/// Operations in each region of the storage node.
pub(crate) const SLOTS: u64 = 32;

/// Operations in flight.
const WINDOW: u64 = 4;

/// No operation may take longer; everything that is listed to end in a status does so well before.
pub(crate) const DEADLINE_NS: u64 = 10_000_000_000;

/// One turn of the driver may be late by this much: an emulated machine that was descheduled.
const LATE_NS: u64 = 500_000_000;

/// How often a disturbance is asked whether its moment has come.
const NAP_NS: u64 = 10_000_000;

/// A stream that is not over by then hangs.
const GIVE_UP_NS: u64 = 120_000_000_000;

/// The owner's data on the storage node.
pub(crate) const SOURCE: Tag = Tag { region: 1, generation: 0 };

/// The client's data, on its way to the storage node.
const SINK: Tag = Tag { region: 2, generation: 1 };

/// How patient the endpoints are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// ACK timeout code: `4.096 us * 2^timeout`.
    pub(crate) timeout: u8,
    /// Repeats without an answer.
    pub(crate) retry_cnt: u8,
}

/// Rides out 200 ms, and a guest that another keeps from its processor meanwhile; gives up after about two seconds.
pub(crate) const PATIENT: Patience = Patience { timeout: 16, retry_cnt: 6 };

/// Repeats after 16 ms: where packets are lost all the time, they must be asked for again soon. Sooner than that, an emulated
/// machine under load is taken for dead.
pub(crate) const QUICK: Patience = Patience { timeout: 12, retry_cnt: 6 };

/// What came of a stream.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// READs that brought, or WRITEs that left, anything but the owner's bytes.
    pub(crate) wrong: u64,
    /// How operations failed, first first.
    pub(crate) failures: Vec<TransferError>,
    /// Operations that ended after their deadline.
    pub(crate) late: u64,
    pub(crate) longest_ns: u64,
    pub(crate) events: Vec<AsyncEvent>,
}

impl Outcome {
    /// The statuses of the failures, without repetition, first first.
    pub(crate) fn statuses(&self) -> Vec<Status> {
        let mut statuses = Vec::new();
        for failure in &self.failures {
            if let TransferError::Failed { status, .. } = failure
                && !statuses.contains(status)
            {
                statuses.push(*status);
            }
        }
        statuses
    }

    /// Everything arrived, nothing was wrong.
    pub(crate) fn assert_recovered(&self, ops: u64) {
        assert_eq!(self.failures, [], "{self:?}");
        assert_eq!((self.reads + self.writes, self.wrong, self.late), (ops, 0, 0), "{self:?}");
    }

    /// It ended, in time, with this status first; what did arrive was right.
    pub(crate) fn assert_ended_in(&self, expected: &[Status]) {
        let first = self.statuses().first().copied();
        assert!(first.is_some_and(|s| expected.contains(&s)), "expected {expected:?} first: {self:?}");
        let others = self.failures.iter().all(|f| matches!(f, TransferError::Failed { .. }));
        assert!(others, "something outlived the device's patience: {self:?}");
        assert_eq!((self.wrong, self.late), (0, 0), "{self:?}");
    }
}

/// The storage node: owns what is read, and the place that is written.
pub(crate) struct Storage<D: Backend> {
    pub(crate) port: Port<D>,
    pub(crate) ep: EpId,
    pub(crate) source: Region,
    pub(crate) source_mr: MrId,
    pub(crate) sink: Region,
    sink_mr: MrId,
}

fn spec(cq: wavetank_contract::CqId, patience: Patience) -> EndpointSpec {
    EndpointSpec { timeout: patience.timeout, retry_cnt: patience.retry_cnt, ..EndpointSpec::new(cq) }
}

impl<D: Backend> Storage<D> {
    pub(crate) fn new(device: D, patience: Patience) -> Storage<D> {
        let mut port = Port::new(device, PortConfig::default());
        let source = port.allocate(&RegionSpec::new(SLOTS * OP_BYTES)).expect("memory");
        let sink = port.allocate(&RegionSpec::new(SLOTS * OP_BYTES)).expect("memory");
        pattern::fill(&source, 0, (SLOTS * OP_BYTES) as usize, SOURCE, 0);
        let source_mr = port.register(&source, PdId::default(), Access::REMOTE_READ).expect("registered");
        let sink_mr = port.register(&sink, PdId::default(), Access::ALL).expect("registered");
        let cq = port.open_cq(16).expect("a queue");
        let ep = port.open(&spec(cq, patience)).expect("an endpoint");
        Storage { port, ep, source, source_mr, sink, sink_mr }
    }

    /// What the client needs to know.
    pub(crate) fn offer(&self) -> (EndpointAddress, RemoteKey, RemoteKey) {
        let address = self.port.address(self.ep).expect("an open endpoint");
        let source = self.port.export(self.source_mr).expect("a key");
        (address, source, self.port.export(self.sink_mr).expect("a key"))
    }
}

/// The client.
pub(crate) struct Stream<D: Backend> {
    driver: Driver<Port<D>>,
    arena: Arena,
    ep: EpId,
    source: RemoteRegion,
    sink: RemoteRegion,
    submitted: u64,
    ended: u64,
    outcome: Outcome,
}

impl<D: Backend> Stream<D> {
    pub(crate) fn new(
        device: D,
        offer: &(EndpointAddress, RemoteKey, RemoteKey),
        patience: Patience,
    ) -> Stream<D> {
        let mut port = Port::new(device, PortConfig::default());
        let memory = port.allocate(&RegionSpec::new(4 * WINDOW * OP_BYTES)).expect("memory");
        let mr = port.register(&memory, PdId::default(), Access::LOCAL).expect("registered");
        let cq = port.open_cq(256).expect("a queue");
        let ep = port.open(&spec(cq, patience)).expect("an endpoint");
        port.connect(ep, &offer.0).expect("an address of the same kind of device");
        let source = port.import(ep, &offer.1).expect("a key");
        let sink = port.import(ep, &offer.2).expect("a key");
        let driver = Driver::new(port, DriverConfig::default());
        let arena = Arena::new(memory, mr).expect("a region of whole leases");
        let outcome = Outcome::default();
        Stream { driver, arena, ep, source, sink, submitted: 0, ended: 0, outcome }
    }

    pub(crate) fn address(&mut self) -> EndpointAddress {
        self.driver.context().address(self.ep).expect("an open endpoint")
    }

    /// Another key in place of the source's.
    pub(crate) fn forge(&mut self, forge: impl FnOnce(&mut RemoteRegion)) {
        forge(&mut self.source);
    }

    fn is_write(op: u64) -> bool {
        op % 4 == 3
    }

    fn submit(&mut self, now: Instant) {
        let (op, slot) = (self.submitted, self.submitted % SLOTS);
        let lease = self.arena.acquire(OP_BYTES).expect("the arena holds the window");
        let (memory, at, len) = (lease.region().clone(), lease.offset(), OP_BYTES as usize);
        let at_slot = |region: &RemoteRegion| region.at(slot * OP_BYTES, OP_BYTES).expect("inside");
        let op_code = if Self::is_write(op) {
            pattern::fill(&memory, at, len, SINK, slot * OP_BYTES);
            Op::Write { remote: at_slot(&self.sink), imm: None }
        } else {
            pattern::poison(&memory, at, len);
            Op::Read { remote: at_slot(&self.source) }
        };
        let (mr, deadline) = (self.arena.mr(), now + DEADLINE_NS);
        let spec = TransferSpec {
            ep: self.ep,
            op: op_code,
            lease,
            mr,
            len: OP_BYTES,
            deadline,
            session: None,
            tag: op,
        };
        self.driver.submit(now, spec).expect("an endpoint that is open");
        self.submitted += 1;
    }

    fn end(&mut self, finished: &Finished) {
        self.ended += 1;
        let took = finished.finished_at.since_ns(finished.submitted_at);
        self.outcome.longest_ns = self.outcome.longest_ns.max(took);
        self.outcome.late += u64::from(took > DEADLINE_NS + LATE_NS);
        if let Err(error) = &finished.result {
            self.outcome.failures.push(error.clone());
            return;
        }
        if finished.kind == OpKind::Write {
            self.outcome.writes += 1;
            return;
        }
        self.outcome.reads += 1;
        let lease = finished.lease.as_ref().expect("a READ that succeeded gives its memory back");
        let slot = finished.tag % SLOTS;
        let right =
            pattern::holds(lease.region(), lease.offset(), OP_BYTES as usize, SOURCE, slot * OP_BYTES);
        self.outcome.wrong += u64::from(!right);
    }

    /// Runs `ops` operations, or until one fails. `at` is called with the number of operations that have ended, before
    /// each look, and may do something to the wire or to the storage node.
    pub(crate) fn run<L: Lab<Device = D>>(
        mut self,
        lab: &mut L,
        ops: u64,
        mut at: impl FnMut(&mut L, u64),
    ) -> Outcome {
        let connected_by = lab.now() + DEADLINE_NS;
        while self.driver.context().state(self.ep) != Some(QpState::Rts) {
            let now = lab.now();
            assert!(now < connected_by, "not connected by its deadline");
            let wake = self.driver.turn(now);
            lab.wait(&[Sleeper::driver(&mut self.driver, wake)], now + 1_000_000);
        }
        let give_up = lab.now() + GIVE_UP_NS;
        loop {
            at(lab, self.ended);
            let now = lab.now();
            while self.submitted < ops
                && self.submitted - self.ended < WINDOW
                && self.outcome.failures.is_empty()
            {
                self.submit(now);
            }
            let wake = self.driver.turn(now);
            while let Some(finished) = self.driver.take_finished() {
                self.end(&finished);
            }
            while let Some(event) = self.driver.take_event() {
                self.outcome.events.push(event);
            }
            let stops = self.submitted == ops || !self.outcome.failures.is_empty();
            if stops && self.ended == self.submitted {
                return self.outcome;
            }
            // The driver keeps every deadline itself; the short nap is for `at`, which may wait for a moment of its own.
            lab.wait(&[Sleeper::driver(&mut self.driver, wake)], now + NAP_NS);
            assert!(now < give_up, "{} operations hang: {:?}", self.submitted - self.ended, self.outcome);
        }
    }
}

/// Both ends in one process. `at` also gets the storage node.
pub(crate) fn run<L: Lab>(
    lab: &mut L,
    patience: Patience,
    ops: u64,
    mut at: impl FnMut(&mut L, &mut Storage<L::Device>, u64),
) -> Outcome {
    let mut storage = Storage::new(lab.open(1).expect("a device"), patience);
    let offer = storage.offer();
    let mut stream = Stream::new(lab.open(0).expect("a device"), &offer, patience);
    let address = stream.address();
    storage.port.connect(storage.ep, &address).expect("an address of the same kind of device");
    let mut outcome = stream.run(lab, ops, |lab, ended| at(lab, &mut storage, ended));
    if outcome.failures.is_empty() {
        let written = outcome.writes.min(SLOTS / 4);
        for write in 0..written {
            let slot = 4 * write + 3;
            let right =
                pattern::holds(&storage.sink, slot * OP_BYTES, OP_BYTES as usize, SINK, slot * OP_BYTES);
            outcome.wrong += u64::from(!right);
        }
    }
    while let Some(event) = storage.port.poll_event() {
        outcome.events.push(event);
    }
    outcome
}
