//! A verbs device as the contract sees it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completions, CqId, EndpointAddress, EndpointSpec, EpId, MrId, PdId,
    QpState, Region, RegionSpec, RemoteKey, RemoteRegion, SrqId, Wake, Work,
};

use crate::caps;
use crate::cm::Cm;
use crate::doorbell::Doorbell;
use crate::endpoint::Endpoint;
use crate::error::{DeviceError, system};
use crate::gid::GidVerdict;
use crate::memory::{self, MrTable};
use crate::notifier::Notifier;
use crate::opening::{self, Opened, Port, VerbsConfig};
use crate::queue::Queue;
use crate::shared::Shared;
use crate::sys::{CompChannel, Context, Mr, Pd, WcBuffer};

mod connection;
mod handshake;
mod making;
mod polling;
mod posting;

/// Completions asked for at a time.
const POLL_BATCH: usize = 32;

/// `RXE_VENDOR_ID` of the kernel (`drivers/infiniband/sw/rxe/rxe_param.h`).
const RXE_VENDOR_ID: u32 = 0xff_ffff;

/// An open RDMA device.
#[derive(Debug)]
pub struct VerbsDevice {
    pub(crate) endpoints: Vec<Option<Box<Endpoint>>>,
    /// Shakes hands on iWARP; `None` elsewhere.
    pub(crate) cm: Option<Cm>,
    pub(crate) open_endpoints: u32,
    /// Queue pair numbers of endpoints with a shared receive queue: their receives are named by the queue alone.
    pub(crate) sharers: Vec<(u32, EpId)>,
    pub(crate) shared: Vec<Option<Shared>>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) doorbell: Doorbell,
    pub(crate) polled: WcBuffer,
    pub(crate) mrs: MrTable,
    /// Words for iWARP's confirmations, by protection domain.
    pub(crate) witnesses: BTreeMap<u16, Mr>,
    pub(crate) pds: BTreeMap<u16, Rc<Pd>>,
    pub(crate) channel: Rc<CompChannel>,
    pub(crate) notifier: Notifier,
    pub(crate) context: Rc<Context>,
    pub(crate) port: Port,
    pub(crate) config: VerbsConfig,
    pub(crate) caps: Caps,
    pub(crate) is_rxe: bool,
    /// Completions came since the last look at when to wake.
    pub(crate) busy: Cell<bool>,
    /// The completion channel may hold something.
    pub(crate) notified: Cell<bool>,
    /// Completions of works that nobody waits for: their endpoint was closed or reset.
    pub(crate) strays: u64,
    pub(crate) unknown_events: u64,
}

impl VerbsDevice {
    /// Opens a device.
    ///
    /// # Errors
    /// Whatever is missing or wrong, each by its name and with the command that shows or mends it.
    pub fn open(config: &VerbsConfig) -> Result<VerbsDevice, DeviceError> {
        let Opened { context, info, port, trial, memlock_bytes, cm } = opening::open(config)?;
        let refused = |error| DeviceError::System { device: config.device.clone(), error };
        let channel = CompChannel::new(&context)
            .map_err(|errno| refused(system("ibv_create_comp_channel(3)", errno, "")))?;
        let notifier = Notifier::new().map_err(refused)?;
        notifier.watch(channel.fd()).map_err(refused)?;
        notifier.watch(context.async_fd()).map_err(refused)?;
        for fd in cm.iter().flat_map(Cm::fds) {
            notifier.watch(fd).map_err(refused)?;
        }
        let is_rxe = info.vendor_id == RXE_VENDOR_ID;
        let caps = caps::caps(&config.device, context.is_iwarp(), &info, &port.info, &trial);
        Ok(VerbsDevice {
            endpoints: Vec::new(),
            cm,
            open_endpoints: 0,
            sharers: Vec::new(),
            shared: Vec::new(),
            queues: Vec::new(),
            doorbell: Doorbell::new(caps.sge_max, caps.inline_bytes_max, is_rxe, context.is_iwarp()),
            polled: WcBuffer::new(POLL_BATCH),
            mrs: MrTable::new(caps.region_max, caps.region_bytes_max, memlock_bytes, caps.atomics),
            witnesses: BTreeMap::new(),
            pds: BTreeMap::new(),
            channel,
            notifier,
            context,
            port,
            config: config.clone(),
            caps,
            is_rxe,
            busy: Cell::new(false),
            notified: Cell::new(false),
            strays: 0,
            unknown_events: 0,
        })
    }

    /// The GIDs of its port: which one is used, and why not the others.
    pub fn gids(&self) -> &[GidVerdict] {
        &self.port.verdicts
    }

    /// Completions that belonged to no outstanding work: their endpoint was closed or reset before they were polled, or they
    /// tell a second time of an iWARP work that failed. They are dropped.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// Asynchronous events of types this library does not know. They are dropped.
    pub fn unknown_events(&self) -> u64 {
        self.unknown_events
    }

    /// The domain of this number, made when it is first named.
    pub(crate) fn pd(&mut self, pd: PdId) -> Result<Rc<Pd>, i32> {
        if let Some(found) = self.pds.get(&pd.0) {
            return Ok(Rc::clone(found));
        }
        let made = Pd::new(&self.context)?;
        self.pds.insert(pd.0, Rc::clone(&made));
        Ok(made)
    }

    /// A shared receive queue that is open.
    pub(crate) fn srq(&self, srq: SrqId) -> Option<&Shared> {
        self.shared.get(srq.0 as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn endpoint(&self, ep: EpId) -> Option<&Endpoint> {
        self.endpoints.get(ep.0 as usize)?.as_deref()
    }

    #[inline]
    pub(crate) fn endpoint_mut(&mut self, ep: EpId) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(ep.0 as usize)?.as_deref_mut()
    }
}

impl Backend for VerbsDevice {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        Region::allocate(spec)
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        let pd = self.pd(pd).map_err(|errno| system("ibv_alloc_pd(3)", errno, ""))?;
        self.mrs.register(&pd, region, access)
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        self.mrs.deregister(mr)
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        self.mrs.export(mr)
    }

    fn import(&mut self, _ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        memory::import(key)
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        self.open_queue(depth)
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        self.open_endpoint(spec)
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        self.announce(ep)
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        self.connect_endpoint(ep, peer)
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        self.move_endpoint(ep, to)
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        self.endpoint_state(ep)
    }

    fn close(&mut self, ep: EpId) {
        self.close_endpoint(ep);
    }

    #[inline]
    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        self.post_work(ep, work)
    }

    #[inline]
    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        self.ring_endpoint(ep)
    }

    fn open_srq(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        self.open_shared(pd, depth)
    }

    fn post_shared(&mut self, srq: SrqId, work: &Work<'_>) -> Result<(), PostError> {
        self.post_shared_work(srq, work)
    }

    fn arm_srq(&mut self, srq: SrqId, limit: u32) -> Result<(), ModifyError> {
        self.arm_shared(srq, limit)
    }

    fn close_srq(&mut self, srq: SrqId) -> Result<(), ModifyError> {
        self.close_shared(srq)
    }

    #[inline]
    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        self.poll_queue(cq, out)
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        self.next_event()
    }

    fn wake(&self) -> Wake {
        self.when_to_wake()
    }

    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        Some(self.notifier.fd())
    }
}
