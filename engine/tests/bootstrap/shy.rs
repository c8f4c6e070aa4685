//! A backend whose endpoints take their time to be ready, as iWARP's do, or never are.

use std::cell::Cell;
use std::rc::Rc;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completions, CqId, EndpointAddress, EndpointSpec, EpId, MrId, PdId,
    QpState, Region, RegionSpec, RemoteKey, RemoteRegion, Wake, Work,
};
use wavetank_mock::MockNic;

/// Forwards everything, but for the state of an endpoint.
#[derive(Debug)]
pub(crate) struct Shy {
    pub(crate) nic: MockNic,
    /// Polls until a connected endpoint says so.
    pub(crate) polls_left: Rc<Cell<u32>>,
    /// What it says until then.
    pub(crate) says: QpState,
}

impl Backend for Shy {
    fn state(&self, ep: EpId) -> Option<QpState> {
        match self.nic.state(ep) {
            Some(QpState::Rts) if self.polls_left.get() > 0 => Some(self.says),
            state => state,
        }
    }
    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        self.polls_left.set(self.polls_left.get().saturating_sub(1));
        self.nic.poll(cq, out)
    }
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
    fn close(&mut self, ep: EpId) {
        self.nic.close(ep);
    }
    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        self.nic.post(ep, work)
    }
    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        self.nic.ring(ep)
    }
    fn poll_event(&mut self) -> Option<AsyncEvent> {
        self.nic.poll_event()
    }
    fn wake(&self) -> Wake {
        self.nic.wake()
    }
}
