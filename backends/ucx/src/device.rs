//! A UCX device as the contract sees it.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError, SystemError,
};
use wavetank_contract::memlock::{self, Memlock};
use wavetank_contract::region::REGION_BYTES_MAX;
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completions, CqId, Data, EndpointAddress, EndpointSpec, EpId, Instant,
    MrId, Op, OpKind, PdId, QpState, Region, RegionSpec, RemoteKey, RemoteRegion, Wake, WeakRegion, Work,
};

use crate::address::{self, Address};
use crate::config::{Transport, UcxConfig};
use crate::endpoint::INLINE_BYTES;
use crate::error::DeviceError;
use crate::explanation::Explanation;
use crate::frames::SGE_MAX;
use crate::key::{self, Key};
use crate::memory::{ENDPOINTS_MAX, Import, REGIONS_MAX};
use crate::opening::{self, Opened};
use crate::packed::{self, Range};
use crate::queue::{Owner, Queue};
use crate::shared::{Shared, Understudy};
use crate::sys::{Context, Mem, Memory};

/// Deepest queues.
const QUEUE_DEPTH_MAX: u32 = 4096;
const CQ_DEPTH_MAX: u32 = 1 << 16;
const CQ_MAX: u32 = 1024;
/// READs and atomics outstanding.
const RD_ATOMIC_MAX: u8 = 128;
/// Longest message: beyond it neither lengths of UCX's own headers nor memory of a peer are to be trusted.
const MESSAGE_BYTES_MAX: u32 = 1 << 30;

/// How long ending a registration waits for what still uses it.
const USES_NS_MAX: u64 = 2_000_000_000;

/// A registered region: kept until its registration ended.
#[derive(Debug)]
struct Registered {
    mr: MrId,
    region: Region,
    /// UCX's handle, where peers reach it by UCX.
    mem: Option<Arc<Mem>>,
    /// Ending it was tried before, and waited for.
    waited: bool,
}

/// Regions of a device. Its handles have them in common.
#[derive(Debug, Default)]
struct Regions {
    registered: Vec<Registered>,
    /// Memory of UCX's own.
    allocated: Vec<(WeakRegion, std::sync::Weak<Mem>)>,
}

/// What the handles of a device have in common. Dropped in this order: the thread first, the memory it writes last.
#[derive(Debug)]
struct Common {
    understudy: Option<Understudy>,
    shared: Arc<Shared>,
    context: Arc<Context>,
    regions: RefCell<Regions>,
    _control: Option<Region>,
}

/// An open UCX device: one worker on one transport.
#[derive(Debug)]
pub struct UcxDevice {
    caps: Caps,
    config: UcxConfig,
    owner: usize,
    notifier: OwnedFd,
    common: Rc<Common>,
}

fn caps(config: &UcxConfig) -> Caps {
    Caps {
        name: format!("ucx/{}", config.name()),
        simulated: false,
        queue_depth_max: QUEUE_DEPTH_MAX,
        cq_depth_max: CQ_DEPTH_MAX,
        cq_max: CQ_MAX,
        endpoint_max: ENDPOINTS_MAX,
        region_max: REGIONS_MAX,
        region_bytes_max: REGION_BYTES_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX,
        sge_max: SGE_MAX as u32,
        inline_bytes_max: INLINE_BYTES as u32,
        rd_atomic_max: RD_ATOMIC_MAX,
        shared_receive_depth_max: 0,
        immediate: true,
        atomics: true,
        memory_windows: false,
        data_in_order: false,
        one_sided: matches!(config.transport, Transport::Shm | Transport::Rc),
        qp_states: true,
        async_events: true,
        peer_close_event: false,
    }
}

impl UcxDevice {
    /// Opens a device.
    ///
    /// # Errors
    /// Whatever is missing or wrong, each by its name and with what mends it.
    pub fn open(config: &UcxConfig) -> Result<UcxDevice, DeviceError> {
        let Opened { shared, understudy, context, control } = opening::open(config)?;
        let common = Rc::new(Common {
            understudy: Some(understudy),
            shared,
            context,
            regions: RefCell::default(),
            _control: control,
        });
        UcxDevice::of(common, config.clone()).map_err(DeviceError::from)
    }

    /// Another handle on the same worker, with queues, endpoints and events of its own. The transport `self` reaches no other
    /// worker: two sides of it are twins.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn twin(&self) -> Result<UcxDevice, DeviceError> {
        UcxDevice::of(self.common.clone(), self.config.clone()).map_err(DeviceError::from)
    }

    fn of(common: Rc<Common>, config: UcxConfig) -> Result<UcxDevice, SystemError> {
        let mut core = common.shared.lock();
        let owner = Owner::new(core.worker.event_fd().ok())?;
        let notifier = rustix::io::dup(owner.notifier()).map_err(|e| SystemError {
            call: "dup(2)",
            errno: e.raw_os_error(),
            advice: "",
        })?;
        core.state.owners.push(owner);
        let owner = core.state.owners.len() - 1;
        drop(core);
        Ok(UcxDevice { caps: caps(&config), config, owner, notifier, common })
    }

    /// What a connection goes over, how each kind of work goes, and why. `None`: it is not connected.
    pub fn explain(&self, ep: EpId) -> Option<Explanation> {
        let core = self.common.shared.lock();
        let endpoint = core.state.get(ep)?;
        let page = core.worker.describe(endpoint.link.as_ref()?);
        let mapped = endpoint.peer.as_ref().is_some_and(|peer| peer.control.is_some());
        let version = self.common.context.library().version_text();
        Some(Explanation::new(&self.config, version, &page, mapped))
    }

    fn check(work: &Work<'_>) -> Result<(), PostError> {
        let kind = work.op.kind();
        let len = work.data.len_bytes();
        match work.data {
            Data::Pieces(pieces) if pieces.len() > SGE_MAX => {
                return Err(PostError::TooManyPieces { asked: pieces.len(), max: SGE_MAX as u32 });
            }
            Data::Inline(_) if !matches!(kind, OpKind::Send | OpKind::Write | OpKind::WriteImm) => {
                return Err(PostError::InlineNotSending);
            }
            Data::Inline(bytes) if bytes.len() > INLINE_BYTES => {
                return Err(PostError::InlineTooLong { asked: bytes.len(), max: INLINE_BYTES as u32 });
            }
            _ => {}
        }
        if len > u64::from(MESSAGE_BYTES_MAX) {
            return Err(PostError::MessageTooLong { asked_bytes: len, max_bytes: MESSAGE_BYTES_MAX });
        }
        if kind.is_atomic()
            && let Data::Pieces(pieces) = work.data
            && (pieces.len() != 1 || len != 8)
        {
            return Err(PostError::AtomicShape { pieces: pieces.len(), len_bytes: len });
        }
        Ok(())
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        self.understudy = None;
        let mut core = self.shared.lock();
        let (state, worker) = core.halves();
        state.shut_down(worker);
    }
}

impl Backend for UcxDevice {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        if self.config.transport != Transport::Shm {
            return Region::allocate(spec);
        }
        let (region, mem) = self.common.context.allocate_region(spec)?;
        let mut regions = self.common.regions.borrow_mut();
        regions.allocated.retain(|(region, _)| region.is_alive());
        regions.allocated.push((region.downgrade(), Arc::downgrade(&mem)));
        Ok(region)
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        if (access.remote_write || access.remote_atomic) && !access.local_write {
            return Err(RegisterError::RemoteWriteNeedsLocalWrite);
        }
        let mut regions = self.common.regions.borrow_mut();
        let own = regions.allocated.iter().find(|(weak, _)| weak.names(region));
        let mem = match (own, self.config.transport) {
            (Some((_, mem)), _) => mem.upgrade(),
            (None, Transport::Rc) => {
                // Only RDMA devices pin, and the kernel would only say ENOMEM.
                let (limit_bytes, pinned_bytes) = (memlock::limit_bytes(), memlock::pinned_bytes());
                Memlock { limit_bytes, pinned_bytes }.check(region.len())?;
                Some(self.common.context.register(region).map_err(|why| {
                    let errno =
                        if why == crate::sys::UcsStatus::NO_MEMORY { libc::ENOMEM } else { libc::EIO };
                    let advice = "`ulimit -l` shows how much memory may be locked, in KiB";
                    RegisterError::System(SystemError { call: "ucp_mem_map", errno, advice })
                })?)
            }
            (None, _) => None,
        };
        let mr = self.common.shared.lock().state.mrs.add(Memory::of(region), pd, access)?;
        regions.registered.push(Registered { mr, region: region.clone(), mem, waited: false });
        Ok(mr)
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        let mut regions = self.common.regions.borrow_mut();
        let at =
            regions.registered.iter().position(|known| known.mr == mr).ok_or(DeregisterError::Unknown(mr))?;
        let leases = regions.registered[at].region.live_leases();
        if leases > 0 {
            return Err(DeregisterError::LeasesLive { mr, leases });
        }
        let mut core = self.common.shared.attend();
        let (state, worker) = core.halves();
        state.mrs.revoke(mr);
        // Whoever tries again has waited once: it is asked again from a loop that others wait for.
        let wait_ns = if regions.registered[at].waited { 0 } else { USES_NS_MAX };
        let until = crate::watch::now_ns().saturating_add(wait_ns);
        let written = state.mrs.get(mr.0).is_some_and(|mr| mr.access.remote_write || mr.access.remote_atomic);
        while state.mrs.get(mr.0).is_some_and(|mr| mr.uses > 0) || written && state.is_written_by_peers() {
            state.turn(worker);
            if crate::watch::now_ns() >= until {
                regions.registered[at].waited = true;
                let advice = "a work, or a peer that is stopped in the middle of one, still uses it; end the endpoint first";
                return Err(SystemError { call: "ucp_mem_unmap", errno: libc::EBUSY, advice }.into());
            }
        }
        state.mrs.remove(mr);
        drop(core);
        regions.registered.swap_remove(at);
        Ok(())
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        let regions = self.common.regions.borrow();
        let known = regions.registered.iter().find(|known| known.mr == mr).ok_or(KeyError::Unknown(mr))?;
        let core = self.common.shared.lock();
        let of = core.state.mrs.get(mr.0).ok_or(KeyError::Unknown(mr))?;
        let Access { remote_read, remote_write, remote_atomic, .. } = of.access;
        if !(remote_read || remote_write || remote_atomic) {
            return Err(KeyError::LocalOnly(mr));
        }
        let failed = KeyError::System(SystemError { call: "ucp_rkey_pack", errno: libc::EIO, advice: "" });
        let packed = match &known.mem {
            Some(mem) => mem.pack_rkey().map_err(|_| failed.clone())?,
            None => Vec::new(),
        };
        let key = Key {
            addr: of.memory.addr(),
            len: of.memory.len(),
            mr: mr.0,
            pd: of.pd.0,
            access: of.access,
            packed,
        };
        key.encode().ok_or(failed)
    }

    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        let malformed = || KeyError::Malformed { len_bytes: key.as_bytes().len(), expected: key::EXPECTED };
        let key = Key::decode(key).ok_or_else(malformed)?;
        let (addr, len) = (key.addr, key.len);
        let mut core = self.common.shared.lock();
        let settings = &core.state.settings;
        if settings.one_sided && !key.packed.is_empty() {
            // Whose it is, is looked at when it is first used: then the peer is known.
            let range = Range { addr, len, owner: None };
            packed::check_key(&settings.control_rkey, &key.packed, range).ok_or_else(malformed)?;
        }
        let rkey = core.state.imports.add(Import { ep, key, rkey: None });
        Ok(RemoteRegion { rkey, addr, len })
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        if !(1..=CQ_DEPTH_MAX).contains(&depth) {
            let (min, max) = (1, CQ_DEPTH_MAX.into());
            return Err(OpenError::OutOfRange { field: "depth", asked: depth.into(), min, max });
        }
        let mut core = self.common.shared.lock();
        let queues = &mut core.state.queues;
        let mine = queues.iter().filter(|queue| queue.owner == self.owner).count();
        if mine >= CQ_MAX as usize {
            return Err(OpenError::TooMany { what: "completion queues", limit: CQ_MAX });
        }
        queues.push(Queue::new(self.owner, depth));
        Ok(CqId(queues.len() as u32 - 1))
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        if spec.shared_receive.is_some() {
            return Err(OpenError::NotPromised("shared receive queues"));
        }
        let depth = u64::from(QUEUE_DEPTH_MAX);
        let reads = u64::from(RD_ATOMIC_MAX);
        for (field, asked, min, max) in [
            ("send_depth", u64::from(spec.send_depth), 1, depth),
            ("recv_depth", spec.recv_depth.into(), 0, depth),
            ("timeout", spec.timeout.into(), 0, 31),
            ("retry_cnt", spec.retry_cnt.into(), 0, 7),
            ("rnr_retry", spec.rnr_retry.into(), 0, 7),
            ("max_rd_atomic", spec.max_rd_atomic.into(), 0, reads),
            ("max_dest_rd_atomic", spec.max_dest_rd_atomic.into(), 0, reads),
        ] {
            if !(min..=max).contains(&asked) {
                return Err(OpenError::OutOfRange { field, asked, min, max });
            }
        }
        let mut core = self.common.shared.lock();
        let (state, worker) = core.halves();
        state.open(worker, self.owner, spec)
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        self.common.shared.lock().state.address(ep)?.encode()
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        let len_bytes = peer.as_bytes().len();
        let mut core = self.common.shared.attend();
        let (state, worker) = core.halves();
        if state.get(ep).is_none() {
            return Err(ConnectError::Unknown(ep));
        }
        let malformed = ConnectError::Malformed { len_bytes, expected: address::EXPECTED };
        let address = Address::decode(peer).ok_or(malformed)?;
        let connected = state.with(ep, |state, ep| state.connect(worker, ep, &address, len_bytes));
        connected.unwrap_or(Err(ConnectError::Unknown(ep)))
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        let mut core = self.common.shared.attend();
        let (state, worker) = core.halves();
        state.modify(worker, ep, to)
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        self.common.shared.lock().state.get(ep).map(|ep| ep.state)
    }

    fn close(&mut self, ep: EpId) {
        let mut core = self.common.shared.attend();
        let (state, worker) = core.halves();
        state.close(worker, ep);
    }

    #[inline]
    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        UcxDevice::check(work)?;
        let mut core = self.common.shared.lock();
        let (state, worker) = core.halves();
        let posted = state.with(ep, |state, ep| match work.op {
            Op::Recv => state.post_receive(worker, ep, work),
            _ => state.post_send(ep, work),
        });
        posted.unwrap_or(Err(PostError::Unknown(ep)))
    }

    #[inline]
    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        let mut core = self.common.shared.lock_and_rouse();
        let (state, worker) = core.halves();
        state.with(ep, |state, ep| state.ring(worker, ep));
        state.mend(worker);
        if self.config.transport == Transport::Loopback {
            // Nothing else tells the thread, should it sleep, that there is something to deliver.
            self.common.shared.kick();
        }
        Ok(())
    }

    #[inline]
    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        let mut core = self.common.shared.attend();
        let (state, worker) = core.halves();
        state.poll(worker);
        if state.queues.get(cq.0 as usize).is_none_or(|queue| queue.owner != self.owner) {
            return 0;
        }
        let mut count = 0;
        while out.room() > 0
            && let Some(item) = state.queues[cq.0 as usize].pop()
        {
            out.push(item.completion);
            state.polled(&item);
            count += 1;
        }
        if count > 0 {
            let owner = &mut state.owners[self.owner];
            owner.pending -= count;
            owner.armed = false;
        }
        count
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        let mut core = self.common.shared.lock();
        let owner = &mut core.state.owners[self.owner];
        let event = owner.events.pop_front()?;
        owner.pending -= 1;
        owner.armed = false;
        Some(event)
    }

    fn wake(&self) -> Wake {
        let mut core = self.common.shared.lock();
        let (state, worker) = core.halves();
        if state.has_to_tell() || worker.has_stash() {
            return Wake::Now;
        }
        let owner = &mut state.owners[self.owner];
        if owner.pending > 0 {
            return Wake::Now;
        }
        owner.hush();
        if !owner.armed {
            owner.armed = true;
            return Wake::Now;
        }
        match worker.arm() {
            Ok(true) => Wake::Notified { until: Instant::FAR },
            _ => Wake::Now,
        }
    }

    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        Some(self.notifier.as_fd())
    }
}

#[cfg(test)]
mod forged;
#[cfg(test)]
mod hostile;
