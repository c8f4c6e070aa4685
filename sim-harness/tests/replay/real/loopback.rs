//! A device of real time: simulated NICs whose fabric is run to rest whenever a doorbell rings, and which tell of it through a
//! pipe, as a kernel does.

use std::cell::{Cell, RefCell};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::rc::Rc;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completions, CqId, EndpointAddress, EndpointSpec, EpId, MrId, PdId,
    QpState, Quiet, Region, RegionSpec, RemoteKey, RemoteRegion, Wake, Work,
};
use wavetank_mock::{Fabric, MockNic, Profile};

/// What all devices of a test share.
#[derive(Debug)]
pub(crate) struct Cable {
    fabric: RefCell<Fabric>,
    writers: RefCell<Vec<PipeWriter>>,
    /// Doorbells that nobody hears, from this one on.
    pub(crate) deaf_after: Cell<u64>,
    rings: Cell<u64>,
    /// How often a device was polled.
    pub(crate) polls: Cell<u64>,
}

impl Cable {
    pub(crate) fn new() -> Rc<Cable> {
        Rc::new(Cable {
            fabric: RefCell::new(Fabric::new(Profile::IDEAL)),
            writers: RefCell::default(),
            deaf_after: Cell::new(u64::MAX),
            rings: Cell::new(0),
            polls: Cell::new(0),
        })
    }

    pub(crate) fn device(self: &Rc<Cable>) -> Loopback {
        let (reader, writer) = std::io::pipe().unwrap();
        self.writers.borrow_mut().push(writer);
        let nic = self.fabric.borrow_mut().add_node();
        Loopback { nic, cable: Rc::clone(self), reader, signalled: Cell::new(false), armed: Cell::new(false) }
    }

    /// Lets everything that was posted happen, and tells whoever has something to poll.
    fn run(&self) {
        let mut fabric = self.fabric.borrow_mut();
        while fabric.step(&mut Quiet).is_some() {}
        let mut ready = Vec::new();
        fabric.take_ready(&mut ready);
        for node in ready {
            self.writers.borrow_mut()[node as usize].write_all(b"x").unwrap();
        }
    }
}

/// One device.
#[derive(Debug)]
pub(crate) struct Loopback {
    nic: MockNic,
    cable: Rc<Cable>,
    reader: PipeReader,
    /// There may be something in the pipe.
    signalled: Cell<bool>,
    armed: Cell<bool>,
}

impl Backend for Loopback {
    fn caps(&self) -> &Caps {
        self.nic.caps()
    }
    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        self.nic.allocate(spec)
    }
    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        self.nic.register(region, pd, access)
    }
    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        self.nic.deregister(mr)
    }
    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        self.nic.export(mr)
    }
    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        self.nic.import(ep, key)
    }
    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        self.nic.open_cq(depth)
    }
    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        self.nic.open(spec)
    }
    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        self.nic.address(ep)
    }
    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        self.nic.connect(ep, peer)
    }
    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        self.nic.modify(ep, to)
    }
    fn state(&self, ep: EpId) -> Option<QpState> {
        self.nic.state(ep)
    }
    fn close(&mut self, ep: EpId) {
        self.nic.close(ep);
    }
    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        self.nic.post(ep, work)
    }

    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        self.cable.rings.set(self.cable.rings.get() + 1);
        if self.cable.rings.get() > self.cable.deaf_after.get() {
            return Ok(());
        }
        let rung = self.nic.ring(ep);
        self.cable.run();
        rung
    }

    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        self.cable.polls.set(self.cable.polls.get() + 1);
        self.nic.poll(cq, out)
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        self.nic.poll_event()
    }

    /// Empties the pipe when it is armed, and then answers "now" once: what came before is polled first.
    fn wake(&self) -> Wake {
        if self.signalled.get() {
            self.signalled.set(false);
            self.armed.set(false);
        }
        let watched = rustix::event::PollFd::new(&self.reader, rustix::event::PollFlags::IN);
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if matches!(rustix::event::poll(&mut [watched], Some(&none)), Ok(1)) {
            let mut bytes = [0; 512];
            let _ = (&self.reader).read(&mut bytes);
            return Wake::Now;
        }
        if self.armed.replace(true) {
            Wake::Notified { until: wavetank_contract::Instant::FAR }
        } else {
            Wake::Now
        }
    }

    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        Some(self.reader.as_fd())
    }
}
