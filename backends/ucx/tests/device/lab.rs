//! Two devices in one process, an endpoint and a region on each, and waiting that ends.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use wavetank_contract::{
    Access, Backend, Completion, Completions, CqId, Data, EndpointSpec, EpId, MrId, Op, PdId, QpState,
    Region, RegionSpec, RemoteAddr, RemoteRegion, RkeyId, Sge, Status, Wake, Work, WorkId,
};
use wavetank_ucx::{Transport, UcxConfig, UcxDevice};

/// Every wait ends after so many seconds.
const PATIENCE_S: i64 = 20;

/// Bytes of each side's region.
pub(crate) const BYTES: u64 = 4 << 20;

/// One end.
pub(crate) struct Side {
    pub(crate) device: UcxDevice,
    pub(crate) cq: CqId,
    pub(crate) ep: EpId,
    pub(crate) mem: Region,
    pub(crate) mr: MrId,
    pub(crate) peer: RemoteRegion,
    done: Vec<Completion>,
}

/// When a test gives up: real devices need real time.
pub(crate) struct Deadline(i64);

fn now_s() -> i64 {
    clock_gettime(ClockId::Monotonic).tv_sec
}

impl Deadline {
    pub(crate) fn start() -> Deadline {
        Deadline(now_s() + PATIENCE_S)
    }

    pub(crate) fn check(&self, what: &str) {
        assert!(now_s() <= self.0, "{what}: never");
    }
}

pub(crate) fn config(name: &str) -> UcxConfig {
    name.parse().expect("a device's name")
}

/// A device, with an endpoint and registered memory.
pub(crate) fn side(device: UcxDevice, tune: impl Fn(&mut EndpointSpec)) -> Side {
    let mut device = device;
    let cq = device.open_cq(1024).expect("a queue");
    let mut spec = EndpointSpec::new(cq);
    tune(&mut spec);
    let ep = device.open(&spec).expect("an endpoint");
    let mem = device.allocate(&RegionSpec::new(BYTES)).expect("memory");
    let mr = device.register(&mem, PdId(0), Access::ALL).expect("a registration");
    let peer = RemoteRegion { rkey: RkeyId(0), addr: 0, len: 0 };
    Side { device, cq, ep, mem, mr, peer, done: Vec::new() }
}

/// Two of them, connected.
pub(crate) fn pair(config: &UcxConfig, tune: impl Fn(&mut EndpointSpec)) -> (Side, Side) {
    let first = UcxDevice::open(config).expect("a device");
    let second = match config.transport {
        Transport::Loopback => first.twin().expect("a twin"),
        _ => UcxDevice::open(config).expect("a device"),
    };
    let (mut a, mut b) = (side(first, &tune), side(second, &tune));
    connect(&mut a, &mut b);
    (a, b)
}

pub(crate) fn connect(a: &mut Side, b: &mut Side) {
    let (of_a, of_b) = (a.device.address(a.ep).expect("open"), b.device.address(b.ep).expect("open"));
    a.device.connect(a.ep, &of_b).expect("connecting");
    b.device.connect(b.ep, &of_a).expect("connecting");
    let deadline = Deadline::start();
    while [a.device.state(a.ep), b.device.state(b.ep)] != [Some(QpState::Rts); 2] {
        deadline.check("connected");
        a.pump();
        b.pump();
    }
    let (of_a, of_b) = (a.device.export(a.mr).expect("a key"), b.device.export(b.mr).expect("a key"));
    a.peer = a.device.import(a.ep, &of_b).expect("a key");
    b.peer = b.device.import(b.ep, &of_a).expect("a key");
}

impl Side {
    pub(crate) fn piece(&self, offset: u64, len: u32) -> Sge {
        Sge { mr: self.mr, len, offset }
    }

    pub(crate) fn at(&self, offset: u64) -> RemoteAddr {
        RemoteAddr { rkey: self.peer.rkey, addr: self.peer.addr + offset }
    }

    pub(crate) fn post(&mut self, id: u64, op: Op, pieces: &[Sge]) {
        let data = Data::Pieces(pieces);
        let work = Work { id: WorkId(id), op, data, signalled: true, fence: false };
        self.device.post(self.ep, &work).expect("taken");
        self.device.ring(self.ep).expect("rung");
    }

    pub(crate) fn send(&mut self, id: u64, offset: u64, len: u32) {
        let piece = self.piece(offset, len);
        self.post(id, Op::Send { imm: None }, &[piece]);
    }

    pub(crate) fn recv(&mut self, id: u64, offset: u64, len: u32) {
        let piece = self.piece(offset, len);
        self.post(id, Op::Recv, &[piece]);
    }

    pub(crate) fn device_state(&self) -> Option<QpState> {
        self.device.state(self.ep)
    }

    /// Polls once. Whether anything came.
    pub(crate) fn pump(&mut self) -> bool {
        let mut out = Completions::with_capacity(64);
        let count = self.device.poll(self.cq, &mut out);
        self.done.extend_from_slice(out.as_slice());
        count > 0
    }

    /// The next completion, polling for it.
    pub(crate) fn next(&mut self) -> Completion {
        let deadline = Deadline::start();
        while self.done.is_empty() {
            deadline.check("a completion");
            self.pump();
        }
        self.done.remove(0)
    }

    /// It went well, and is of this work.
    pub(crate) fn good(&mut self, id: u64) -> Completion {
        let completion = self.next();
        assert_eq!((completion.id.0, completion.status), (id, Status::Success));
        completion
    }

    /// The next completion, sleeping for it: a wake-up that is lost is waited for in vain.
    pub(crate) fn woken(&mut self) -> Completion {
        let deadline = Deadline::start();
        loop {
            if self.pump() || !self.done.is_empty() {
                return self.done.remove(0);
            }
            deadline.check("a wake-up");
            if let Wake::Notified { .. } = self.device.wake() {
                let fd = self.device.notifier().expect("a descriptor");
                let timeout = Timespec { tv_sec: 5, tv_nsec: 0 };
                let woken = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout));
                assert_ne!(woken, Ok(0), "slept five seconds: a wake-up was lost");
            }
        }
    }

    pub(crate) fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.mem.read(offset, &mut bytes);
        bytes
    }

    /// Bytes of this test's own, other at each place.
    pub(crate) fn fill(&self, offset: u64, len: usize, seed: u8) -> Vec<u8> {
        let bytes: Vec<u8> = (0..len).map(|n| (n as u8).wrapping_mul(31) ^ (n >> 8) as u8 ^ seed).collect();
        self.mem.write(offset, &bytes);
        bytes
    }
}
