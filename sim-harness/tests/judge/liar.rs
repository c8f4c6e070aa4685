//! A lab whose devices tell one lie.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completion, Completions, CqId, Data, EndpointAddress, EndpointSpec,
    EpId, Instant, MrId, Op, OpKind, PdId, QpState, Region, RegionSpec, RemoteKey, RemoteRegion, Sge, Status,
    Wake, Work, WorkId,
};
use wavetank_harness::lab::{Lab, LabError, MockLab, Sleeper, Waited};
use wavetank_mock::{MockNic, Profile};

/// What a device does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    Honest,
    /// A byte of what arrived.
    FlipFilled,
    /// The first byte of what a work that failed would have filled: no lie, its memory is undefined.
    FlipFirstOfFailed,
    /// A byte beside what arrived.
    FlipBeside,
    /// A byte of the peer, though the request was refused.
    WriteThoughRefused,
    StatusOf(Status, Status),
    Lose(Status),
    Duplicate,
    Reorder,
    ShortenLen,
    WrongImm,
    WrongKind,
    ForgetImm,
    IgnoreRegionRights,
    IgnoreEndpointRights,
    IgnoreDomains,
    IgnoreFence,
    SwapAlways,
    AddOneMore,
    KeysLive,
    NeverDrain,
    ForgetFlushes,
    StayUp,
    Refuse(OpKind),
    /// Atomics at places that are no multiple of 8.
    RefuseMisaligned,
    ForgetPiece,
    LoseMessages,
    /// No lie: an endpoint that was connected is ready once it was asked for its state a few times.
    ShakeHands,
}

/// How often.
const HANDSHAKE: u32 = 3;

pub(crate) struct LyingLab {
    name: &'static str,
    inner: MockLab,
    lie: Lie,
    regions: Regions,
}

type Regions = Rc<RefCell<BTreeMap<(u16, MrId), Region>>>;

impl LyingLab {
    pub(crate) fn new(lie: Lie) -> LyingLab {
        LyingLab::named("liar", lie)
    }

    pub(crate) fn named(name: &'static str, lie: Lie) -> LyingLab {
        LyingLab { name, inner: MockLab::new(Profile::RXE, 7), lie, regions: Regions::default() }
    }
}

impl Lab for LyingLab {
    type Device = Liar;

    fn name(&self) -> &str {
        self.name
    }

    fn open(&mut self, node: u16) -> Result<Liar, LabError> {
        let inner = self.inner.open(node)?;
        let (lie, regions) = (self.lie, Rc::clone(&self.regions));
        Ok(Liar { inner, node, lie, regions, filled: BTreeMap::new(), held: None, shaking: BTreeMap::new() })
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wait(&mut self, sleepers: &[Sleeper<'_>], until: Instant) -> Waited {
        self.inner.wait(sleepers, until)
    }
}

pub(crate) struct Liar {
    inner: MockNic,
    node: u16,
    lie: Lie,
    regions: Regions,
    /// What works fill, by their names.
    filled: BTreeMap<WorkId, Vec<Sge>>,
    held: Option<Completion>,
    /// How often the endpoints that shake hands were asked for their state.
    shaking: BTreeMap<EpId, Cell<u32>>,
}

impl Liar {
    /// How often an endpoint was asked for its state, while it shakes hands.
    fn shakes(&self, ep: EpId) -> Option<&Cell<u32>> {
        self.shaking.get(&ep).filter(|asked| asked.get() < HANDSHAKE)
    }

    fn flip(&self, mr: MrId, offset: u64) {
        if let Some(region) = self.regions.borrow().get(&(self.node, mr)).filter(|r| r.contains(offset, 1)) {
            let byte = &region.cells(offset, 1)[0];
            byte.set(!byte.get());
        }
    }

    fn tell(&mut self, mut c: Completion, out: &mut Vec<Completion>) {
        let ok = c.status == Status::Success;
        let piece = self.filled.remove(&c.id).and_then(|pieces| pieces.into_iter().find(|p| p.len > 0));
        match (self.lie, piece) {
            (Lie::FlipFilled, Some(piece)) if ok => self.flip(piece.mr, piece.offset),
            (Lie::FlipFirstOfFailed, Some(piece)) if !ok => self.flip(piece.mr, piece.offset),
            (Lie::FlipBeside, Some(piece)) if ok => self.flip(piece.mr, piece.offset + u64::from(piece.len)),
            (Lie::WriteThoughRefused, _) if c.status == Status::RemAccessErr => {
                let regions = self.regions.borrow();
                if let Some((_, region)) = regions.iter().rfind(|((node, _), _)| *node != self.node) {
                    region.cells(0, 1)[0].set(!region.cells(0, 1)[0].get());
                }
            }
            (Lie::StatusOf(from, to), _) if c.status == from => c.status = to,
            (Lie::Lose(status), _) if c.status == status => return,
            (Lie::Duplicate, _) => out.push(c),
            (Lie::ShortenLen, _) => c.len = c.len.saturating_sub(1),
            (Lie::WrongImm, _) => c.imm = c.imm.map(|imm| imm ^ 1),
            (Lie::ForgetImm, _) => c.imm = None,
            (Lie::WrongKind, _) if c.kind == OpKind::WriteImm => c.kind = OpKind::Send,
            (Lie::Reorder, _) => {
                if let Some(held) = self.held.take() {
                    out.extend([c, held]);
                } else {
                    self.held = Some(c);
                }
                return;
            }
            _ => {}
        }
        out.push(c);
    }
}

impl Backend for Liar {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        self.inner.allocate(spec)
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        let generous = self.lie == Lie::IgnoreRegionRights && access.local_write;
        let access = if generous { Access::ALL } else { access };
        let pd = if self.lie == Lie::IgnoreDomains { PdId(0) } else { pd };
        let mr = self.inner.register(region, pd, access)?;
        self.regions.borrow_mut().insert((self.node, mr), region.clone());
        Ok(mr)
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        self.regions.borrow_mut().remove(&(self.node, mr));
        if self.lie == Lie::KeysLive { Ok(()) } else { self.inner.deregister(mr) }
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        self.inner.export(mr)
    }

    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        self.inner.import(ep, key)
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        self.inner.open_cq(depth)
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        let mut spec = spec.clone();
        match self.lie {
            Lie::IgnoreEndpointRights => spec.access = Access::ALL,
            Lie::IgnoreDomains => spec.pd = PdId(0),
            _ => {}
        }
        self.inner.open(&spec)
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        self.inner.address(ep)
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        if self.lie == Lie::ShakeHands {
            self.shaking.insert(ep, Cell::new(0));
        }
        self.inner.connect(ep, peer)
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        match (self.lie, to) {
            (Lie::NeverDrain, QpState::Sqd) | (Lie::StayUp, QpState::Err) => Ok(()),
            (Lie::ForgetFlushes, QpState::Err) => self.inner.modify(ep, QpState::Reset),
            _ => self.inner.modify(ep, to),
        }
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        if let Some(asked) = self.shakes(ep) {
            asked.set(asked.get() + 1);
            return Some(QpState::Rtr);
        }
        self.inner.state(ep)
    }

    fn close(&mut self, ep: EpId) {
        self.inner.close(ep);
    }

    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        let mut work = *work;
        if self.shakes(ep).is_some() {
            return Err(PostError::WrongState { ep, state: QpState::Rtr });
        }
        match (self.lie, &mut work.op, &mut work.data) {
            (Lie::IgnoreFence, ..) => work.fence = false,
            (Lie::SwapAlways, Op::CompareSwap { remote, swap, .. }, _) => {
                work.op = Op::FetchAdd { remote: *remote, add: *swap };
            }
            (Lie::AddOneMore, Op::FetchAdd { add, .. }, _) => *add = add.wrapping_add(1),
            (Lie::Refuse(kind), op, _) if op.kind() == kind => return Err(PostError::NotPromised("it")),
            (Lie::RefuseMisaligned, op, _)
                if op.kind().is_atomic() && op.remote().is_some_and(|r| r.addr % 8 != 0) =>
            {
                return Err(PostError::NotPromised("it"));
            }
            (Lie::ForgetPiece, _, Data::Pieces([rest @ .., _])) if rest.len() == 3 => {
                work.data = Data::Pieces(rest);
            }
            (Lie::LoseMessages, op @ Op::Send { .. }, data) => {
                let _ = (op, data);
                work.data = Data::Inline(&[]);
            }
            _ => {}
        }
        if let Data::Pieces(pieces) = work.data
            && work.op.kind().fills_local()
        {
            self.filled.insert(work.id, pieces.to_vec());
        }
        self.inner.post(ep, &work)
    }

    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        self.inner.ring(ep)
    }

    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        let before = out.as_slice().len();
        // One is held back at most, and one made up for each: half of the room is honest.
        let mut honest = Completions::with_capacity(out.room() / 2);
        self.inner.poll(cq, &mut honest);
        let honest: Vec<Completion> = honest.drain().collect();
        let out = out.as_mut_vec();
        honest.into_iter().for_each(|c| self.tell(c, out));
        out.len() - before
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        self.inner.poll_event()
    }

    fn wake(&self) -> Wake {
        self.inner.wake()
    }
}
