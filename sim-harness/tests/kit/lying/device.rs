//! A device that forwards to another, and lies.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completion, Completions, CqId, EndpointAddress, EndpointSpec, EpId,
    MrId, Op, PdId, QpState, Region, RegionSpec, RemoteKey, RemoteRegion, RkeyId, Sge, SrqId, Wake, Work,
    WorkId,
};

use super::Lie;
use super::liar::Liars;
use super::telling::Posted;

/// Of everything there are so many, where there are few.
const FEW: usize = 15;

/// Depth that cannot be had, where depth is refused.
const DEEP: u32 = 1000;

#[derive(Debug)]
pub(crate) struct Lying<D> {
    pub(super) inner: D,
    pub(super) node: u16,
    caps: Caps,
    pub(super) lie: Lie,
    pub(super) liars: Rc<RefCell<Liars>>,
    pub(super) regions: BTreeMap<MrId, Region>,
    pub(super) specs: BTreeMap<EpId, EndpointSpec>,
    /// Works by their names, until they are told of.
    pub(super) works: BTreeMap<u64, Posted>,
    /// Completions to be told next.
    pub(super) ready: VecDeque<(CqId, Completion)>,
    /// Completions that wait until the target was polled.
    pub(super) waiting: Vec<(CqId, Completion, u64)>,
    pub(super) held: Option<(CqId, Completion)>,
    pub(super) struck: bool,
    /// Slots in use, where they are counted.
    pub(super) slots: BTreeMap<EpId, i64>,
    /// Works taken and not passed on yet.
    pub(super) queued: Vec<(EpId, u64, Op, Vec<Sge>, bool, bool)>,
    pretended: BTreeMap<EpId, QpState>,
    addresses: BTreeMap<EpId, EndpointAddress>,
    opened: [usize; 3],
    told: u32,
    /// Memory that is written again with the next poll.
    pub(super) late: Vec<(Region, u64, Vec<u8>)>,
    /// Completions that come before their works are done, after so many polls.
    pub(super) early: Vec<(u32, CqId, Completion)>,
    /// Endpoints that are closed in name.
    pub(super) closed: Vec<EpId>,
}

/// What a modest device promises.
fn modest(caps: &Caps) -> Caps {
    Caps {
        atomics: false,
        immediate: false,
        qp_states: false,
        async_events: false,
        shared_receive_depth_max: 0,
        ..caps.clone()
    }
}

fn promises(lie: Lie, caps: &Caps) -> Caps {
    match lie {
        Lie::Modest | Lie::ModestTaker => modest(caps),
        Lie::PeerCloseTeller | Lie::PeerCloseHider => Caps { peer_close_event: true, ..caps.clone() },
        Lie::PromisesMore => {
            let (sge_max, inline_bytes_max) = (caps.sge_max + 1, caps.inline_bytes_max + 1);
            Caps { sge_max, inline_bytes_max, ..caps.clone() }
        }
        Lie::PromisesNothing => Caps { sge_max: 0, cq_max: 0, ..caps.clone() },
        _ => caps.clone(),
    }
}

impl<D: Backend> Lying<D> {
    pub(super) fn new(inner: D, node: u16, lie: Lie, liars: Rc<RefCell<Liars>>) -> Lying<D> {
        let caps = promises(lie, inner.caps());
        Lying {
            inner,
            node,
            caps,
            lie,
            liars,
            regions: BTreeMap::new(),
            specs: BTreeMap::new(),
            works: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            held: None,
            struck: false,
            slots: BTreeMap::new(),
            queued: Vec::new(),
            pretended: BTreeMap::new(),
            addresses: BTreeMap::new(),
            opened: [0; 3],
            told: 0,
            late: Vec::new(),
            early: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Takes what the inner device has in its queues.
    fn drain(&mut self) {
        let mut cqs: Vec<CqId> = self.specs.values().flat_map(|spec| [spec.send_cq, spec.recv_cq]).collect();
        cqs.sort();
        cqs.dedup();
        for cq in cqs {
            let mut polled = Completions::with_capacity(4096);
            self.inner.poll(cq, &mut polled);
            let polled: Vec<Completion> = polled.drain().collect();
            polled.into_iter().for_each(|completion| self.tell(cq, completion));
        }
    }

    /// One more of a kind, unless there are few.
    fn one_more(&mut self, kind: usize) -> bool {
        self.opened[kind] += 1;
        self.lie != Lie::HasFew || self.opened[kind] <= FEW
    }
}

impl<D: Backend> Backend for Lying<D> {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        match self.inner.allocate(spec) {
            Err(_) if self.lie == Lie::OverlooksMemory => self.inner.allocate(&RegionSpec::new(4096)),
            allocated => allocated,
        }
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        if !self.one_more(0) {
            return Err(RegisterError::TooMany(FEW as u32));
        }
        let pd = if self.lie == Lie::KnowsOneDomain { PdId(0) } else { pd };
        let access = if self.lie == Lie::GrantsMemory { Access::ALL } else { access };
        let registered = match self.inner.register(region, pd, access) {
            Err(_) if self.lie == Lie::OverlooksMemory => self.inner.register(region, pd, Access::LOCAL),
            registered => registered,
        };
        if let Ok(mr) = registered {
            self.regions.insert(mr, region.clone());
        }
        registered
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        match self.lie {
            Lie::KeepsRegistrations => Ok(()),
            Lie::EndsTwins => {
                let ended = self.regions.get(&mr).cloned();
                let twin = |other: &Region| ended.as_ref().is_some_and(|ended| ended.same_as(other));
                let twins: Vec<MrId> =
                    self.regions.iter().filter(|(_, region)| twin(region)).map(|(mr, _)| *mr).collect();
                twins.into_iter().try_for_each(|mr| self.inner.deregister(mr))
            }
            Lie::OverlooksMemory => {
                let _ = self.inner.deregister(mr);
                Ok(())
            }
            _ => self.inner.deregister(mr),
        }
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        let key = match self.inner.export(mr) {
            Err(error) if self.lie == Lie::OverlooksMemory => RemoteKey::from_bytes(b"key").ok_or(error),
            key => key,
        }?;
        if let Some(region) = self.regions.get(&mr) {
            self.liars.borrow_mut().exported(key.as_bytes(), region);
        }
        Ok(key)
    }

    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        let remote = match self.inner.import(ep, key) {
            Err(_) if self.lie == Lie::OverlooksMemory => RemoteRegion { rkey: RkeyId(0), addr: 0, len: 0 },
            imported => imported?,
        };
        self.liars.borrow_mut().imported(key.as_bytes(), remote);
        let shift = if self.lie == Lie::ShiftsKeys { 8 } else { 0 };
        Ok(RemoteRegion { addr: remote.addr + shift, ..remote })
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        if !self.one_more(1) {
            return Err(OpenError::TooMany { what: "completion queues", limit: FEW as u32 });
        }
        let (field, asked, min, max) = ("completion queue depth", depth.into(), 1, DEEP.into());
        match self.lie {
            // The bench itself wants one that is about as deep.
            Lie::RefusesDepth if depth > 2 * DEEP => Err(OpenError::OutOfRange { field, asked, min, max }),
            Lie::OpensAnything => self.inner.open_cq(depth.clamp(1, 4096)),
            Lie::OpensShallower => self.inner.open_cq(depth.saturating_sub(1)),
            _ => self.inner.open_cq(depth),
        }
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        if !self.one_more(2) {
            return Err(OpenError::TooMany { what: "endpoints", limit: FEW as u32 });
        }
        let mut bent = spec.clone();
        match self.lie {
            Lie::Modest if spec.shared_receive.is_some() => {
                return Err(OpenError::NotPromised("shared receives"));
            }
            Lie::GrantsEndpoints => bent.access = Access::ALL,
            Lie::KnowsOneDomain => bent.pd = PdId(0),
            Lie::UsesOneQueue => bent.recv_cq = spec.send_cq,
            Lie::NeverGivesUp => bent.rnr_retry = 7,
            Lie::TriesOnce => (bent.rnr_retry, bent.retry_cnt, bent.timeout) = (0, 0, 1),
            Lie::OpensDeeper => {
                bent.send_depth += 1;
                bent.recv_depth += u32::from(spec.shared_receive.is_none());
            }
            Lie::RefusesDepth if spec.send_depth > DEEP => {
                let (asked, max) = (spec.send_depth.into(), DEEP.into());
                return Err(OpenError::OutOfRange { field: "send_depth", asked, min: 1, max });
            }
            Lie::ServesOneRead => bent.max_dest_rd_atomic = 1,
            _ => {}
        }
        let opened = match self.inner.open(&bent) {
            Err(_) if self.lie == Lie::OpensAnything => {
                self.inner.open(&EndpointSpec::new(self.specs.values().next().map_or(CqId(0), |s| s.send_cq)))
            }
            opened => opened,
        };
        if let Ok(ep) = opened {
            self.specs.insert(ep, spec.clone());
        }
        opened
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        let address = match self.addresses.get(&ep) {
            Some(first) if self.lie == Lie::KeepsFirstAddress => first.clone(),
            _ => self.inner.address(ep)?,
        };
        let place = (self.node, ep);
        self.liars.borrow_mut().addresses.insert(address.as_bytes().to_vec(), place);
        Some(address)
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        if let Some(address) = self.inner.address(ep) {
            self.addresses.entry(ep).or_insert(address);
        }
        match self.inner.connect(ep, peer) {
            Err(_) if self.lie == Lie::ConnectsAnywhere => return Ok(()),
            connected => connected?,
        }
        let mut liars = self.liars.borrow_mut();
        if let Some(peer) = liars.addresses.get(peer.as_bytes()).copied() {
            liars.peers.insert(peer, (self.node, ep));
        }
        Ok(())
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        match (self.lie, to) {
            (Lie::Modest, _) if self.inner.state(ep).is_some() => return Err(ModifyError::Unsupported),
            (Lie::PretendsErr, QpState::Err) | (Lie::PretendsSqd, QpState::Sqd) => {
                self.pretended.insert(ep, to);
                return Ok(());
            }
            (Lie::RemembersOverReset, QpState::Reset) => self.drain(),
            (Lie::SpreadsFailure, QpState::Err) => self.spread(),
            _ => {}
        }
        self.pretended.remove(&ep);
        match self.inner.modify(ep, to) {
            Err(_) if self.lie == Lie::MakesAnyMove => Ok(()),
            moved => moved,
        }
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        if self.closed.contains(&ep) {
            return None;
        }
        self.pretended.get(&ep).copied().or_else(|| self.inner.state(ep))
    }

    fn close(&mut self, ep: EpId) {
        match self.lie {
            Lie::ClosesNothing => return,
            Lie::ClosesInName => {
                self.closed.push(ep);
                self.ready.retain(|(_, completion)| completion.ep != ep);
                return;
            }
            Lie::RemembersOverClose => self.drain(),
            Lie::EmptiesQueueOnClose => {
                self.drain();
                self.ready.clear();
            }
            _ => {}
        }
        self.inner.close(ep);
        if self.lie != Lie::RemembersOverClose {
            self.ready.retain(|(_, completion)| completion.ep != ep);
        }
        self.specs.remove(&ep);
        let mut liars = self.liars.borrow_mut();
        if let Some(peer) = liars.peers.remove(&(self.node, ep)) {
            liars.left.push(peer);
        }
    }

    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        self.take(ep, work)
    }

    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        self.pass_queued(ep).map_err(|error| RingError { taken: 0, error })?;
        self.inner.ring(ep)
    }

    fn open_srq(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError> {
        match self.lie {
            Lie::Modest => Err(OpenError::NotPromised("shared receive queues")),
            Lie::KnowsOneDomain => self.inner.open_srq(PdId(0), depth),
            Lie::OpensDeeper => self.inner.open_srq(pd, depth + 1),
            Lie::OpensAnything => self.inner.open_srq(pd, depth.clamp(1, 4096)),
            Lie::RefusesDepth if depth > DEEP => Err(OpenError::NotPromised("depth")),
            _ => self.inner.open_srq(pd, depth),
        }
    }

    fn post_shared(&mut self, srq: SrqId, work: &Work<'_>) -> Result<(), PostError> {
        if self.lie == Lie::Modest {
            return Err(PostError::NotPromised("shared receive queues"));
        }
        let named = if self.lie == Lie::SwapsReceives { work.id.0 ^ 1 } else { work.id.0 };
        match self.inner.post_shared(srq, &Work { id: WorkId(named), ..*work }) {
            Err(_) if self.lie == Lie::TakesAnyWork => return Ok(()),
            posted => posted?,
        }
        self.taken(None, work);
        Ok(())
    }

    fn arm_srq(&mut self, srq: SrqId, limit: u32) -> Result<(), ModifyError> {
        if self.lie == Lie::Modest {
            return Err(ModifyError::Unsupported);
        }
        match self.inner.arm_srq(srq, limit) {
            Err(_) if self.lie == Lie::TakesAnyWork => Ok(()),
            armed => armed,
        }
    }

    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        *self.liars.borrow_mut().polls.entry(self.node).or_default() += 1;
        let other = self.liars.borrow().polls.get(&(1 - self.node.min(1))).copied().unwrap_or(0);
        self.late.drain(..).for_each(|(region, offset, bytes)| region.write(offset, &bytes));
        self.early.iter_mut().for_each(|(polls, ..)| *polls = polls.saturating_sub(1));
        let due =
            self.early.extract_if(.., |(polls, ..)| *polls == 0).map(|(_, cq, completion)| (cq, completion));
        self.ready.extend(due);
        let mut polled = Completions::with_capacity(out.room());
        self.inner.poll(cq, &mut polled);
        let polled: Vec<Completion> = polled.drain().collect();
        polled.into_iter().for_each(|completion| self.tell(cq, completion));
        let released = |(_, _, polls): &mut (CqId, Completion, u64)| *polls < other;
        let told = self.waiting.extract_if(.., released).map(|(cq, completion, _)| (cq, completion));
        self.ready.extend(told);
        let room = out.room();
        while out.room() > 0
            && let Some(at) = self.ready.iter().position(|(of, _)| *of == cq)
            && let Some((_, completion)) = self.ready.remove(at)
        {
            self.told += 1;
            out.push(completion);
        }
        room - out.room()
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        if self.lie == Lie::TellsTales && self.told > 0 && !self.struck {
            self.struck = true;
            return self.specs.keys().next().map(|ep| AsyncEvent::QpFatal(*ep));
        }
        let silent = matches!(self.lie, Lie::TellsNoEvents | Lie::Modest);
        let mut liars = self.liars.borrow_mut();
        if let Some(at) = liars.links.iter().position(|(node, _)| *node == self.node) {
            let (_, up) = liars.links.remove(at);
            return (!silent).then_some(if up { AsyncEvent::PortActive } else { AsyncEvent::PortErr });
        }
        if matches!(self.lie, Lie::PeerCloseTeller | Lie::PeerCloseTattler)
            && let Some(at) = liars.left.iter().position(|(node, _)| *node == self.node)
        {
            let (_, ep) = liars.left.remove(at);
            drop(liars);
            let _ = self.inner.modify(ep, QpState::Err);
            return Some(AsyncEvent::QpFatal(ep));
        }
        drop(liars);
        let event = self.inner.poll_event();
        if silent { None } else { event }
    }

    fn wake(&self) -> Wake {
        let mine = |node: u16| node == self.node;
        let liars = self.liars.borrow();
        let tells = matches!(self.lie, Lie::PeerCloseTeller | Lie::PeerCloseTattler);
        let news = liars.links.iter().any(|(node, _)| mine(*node))
            || tells && liars.left.iter().any(|(node, _)| mine(*node));
        let restless = self.lie == Lie::WakesForNothing && self.told > 0;
        if news || !self.ready.is_empty() || restless {
            return Wake::Now;
        }
        self.inner.wake()
    }
}
