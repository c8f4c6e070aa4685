//! A device that tells one lie: a wrapper around an honest backend that tampers with real memory, or with what the
//! device says.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError,
};
use wavetank_contract::{
    Access, AsyncEvent, Backend, Caps, Completion, Completions, CqId, Data, EndpointAddress, EndpointSpec,
    EpId, MrId, Op, OpKind, PdId, QpState, Region, RegionSpec, RemoteKey, RemoteRegion, Sge, Status, Wake,
    Work, WorkId,
};

use super::{Liar, Lie, bytes, flip};

/// A work as it was posted.
#[derive(Clone, Debug)]
struct Posted {
    op: Op,
    piece: Sge,
    /// What the destination held then: the local one, or a WRITE's target.
    before: Vec<u8>,
}

/// A backend that lies.
#[derive(Debug)]
pub(crate) struct Lying<B> {
    inner: B,
    liar: Rc<RefCell<Liar>>,
    regions: BTreeMap<MrId, Region>,
    works: BTreeMap<WorkId, Posted>,
    /// By endpoint: where its sends complete.
    cqs: BTreeMap<EpId, CqId>,
    /// Completions that the device never made.
    fake: VecDeque<Completion>,
    /// Completions that nobody may see.
    swallowed: BTreeSet<WorkId>,
    /// A completion that waits for the next one.
    held: Option<Completion>,
    event: Option<AsyncEvent>,
}

impl<B: Backend> Lying<B> {
    pub(crate) fn new(inner: B, liar: Rc<RefCell<Liar>>) -> Lying<B> {
        Lying {
            inner,
            liar,
            regions: BTreeMap::new(),
            works: BTreeMap::new(),
            cqs: BTreeMap::new(),
            fake: VecDeque::new(),
            swallowed: BTreeSet::new(),
            held: None,
            event: None,
        }
    }

    fn lie(&self) -> Lie {
        self.liar.borrow().lie
    }

    /// Passes a completion on, as it is or otherwise.
    fn tell(&mut self, mut completion: Completion, out: &mut Vec<Completion>) {
        let Some(posted) = self.works.remove(&completion.id) else {
            return out.push(completion);
        };
        if self.swallowed.remove(&completion.id) {
            return;
        }
        let waiting = self.held.take_if(|held| held.ep == completion.ep);
        let lie = self.lie();
        if lie != Lie::CompleteAtOnce && self.liar.borrow_mut().strikes(&posted.op) {
            self.tamper(&posted);
            let other = self.cqs.keys().find(|ep| **ep != completion.ep);
            match lie {
                Lie::Duplicate => out.push(completion),
                Lie::Drop | Lie::LoseMessage => return,
                Lie::Swap => {
                    self.held = Some(completion);
                    return;
                }
                Lie::Forge => out.push(Completion { id: WorkId(!0), ..completion }),
                Lie::WrongEndpoint => completion.ep = *other.unwrap(),
                Lie::FlipThenFail if !self.liar.borrow().is_done() => {}
                Lie::Fail | Lie::FailReceive | Lie::FlipThenFail => completion.status = Status::RemOpErr,
                Lie::Event => self.event = Some(AsyncEvent::PortErr),
                Lie::ShortenMessage => completion.len -= 1,
                Lie::WrongImmediate => completion.imm = completion.imm.map(|imm| imm ^ 1),
                _ => {}
            }
        }
        out.push(completion);
        out.extend(waiting);
    }

    /// Changes memory.
    fn tamper(&self, posted: &Posted) {
        let liar = self.liar.borrow();
        let Posted { op, piece, before } = posted;
        let (len, half) = (piece.len as usize, piece.len as usize / 2);
        let (local, at) = (&self.regions[&piece.mr], piece.offset);
        match liar.lie {
            Lie::FlipRead(offset) | Lie::CorruptMessage(offset) => flip(local, at + offset as u64),
            Lie::WrongAtomic | Lie::FlipThenFail => flip(local, at),
            Lie::ShiftRead => {
                let (region, offset, _) = liar.target(op);
                local.write(at, &bytes(region, offset + 8, len));
            }
            Lie::StaleRead | Lie::TornRead => {
                let (_, offset, snapshot) = liar.target(op);
                let skip = if liar.lie == Lie::TornRead { half } else { 0 };
                let stale = &snapshot[offset as usize..][skip..len];
                local.write(at + skip as u64, stale);
            }
            Lie::ForeignRead => {
                let (region, offset, _) = liar.target(op);
                let (other, _) = liar.targets.values().find(|(other, _)| !other.same_as(region)).unwrap();
                local.write(at, &bytes(other, offset, len));
            }
            Lie::EmptyRead => local.write(at, before),
            Lie::HalfRead => local.write(at + half as u64, &before[half..]),
            Lie::EmptyTail(tail) => local.write(at + (len - tail) as u64, &before[len - tail..]),
            Lie::DamageWrite => flip(liar.target(op).0, liar.target(op).1 + half as u64),
            Lie::TearWrite => liar.target(op).0.write(liar.target(op).1 + half as u64, &before[half..]),
            Lie::LoseWrite => liar.target(op).0.write(liar.target(op).1, before),
            Lie::Stray { region, offset } => flip(&liar.exported(region), offset),
            Lie::AtomicTwice => {
                let Op::FetchAdd { add, .. } = op else { unreachable!() };
                let cell = liar.target(op).0.word(liar.target(op).1);
                cell.set(u64::from_le(cell.get()).wrapping_add(*add).to_le());
            }
            _ => {}
        }
    }
}

impl<B: Backend> Backend for Lying<B> {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }

    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError> {
        self.inner.allocate(spec)
    }

    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError> {
        let mr = self.inner.register(region, pd, access)?;
        self.regions.insert(mr, region.clone());
        Ok(mr)
    }

    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError> {
        if self.lie() == Lie::KeepRegistered {
            self.liar.borrow_mut().told += 1;
            return Err(DeregisterError::LeasesLive { mr, leases: 1 });
        }
        self.inner.deregister(mr)
    }

    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError> {
        let key = self.inner.export(mr)?;
        let region = self.regions[&mr].clone();
        self.liar.borrow_mut().by_key.insert(key.as_bytes().to_vec(), region);
        Ok(key)
    }

    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError> {
        let remote = self.inner.import(ep, key)?;
        let liar = &mut *self.liar.borrow_mut();
        let region = liar.by_key[key.as_bytes()].clone();
        let snapshot = bytes(&region, 0, region.len() as usize);
        liar.targets.insert(remote.addr, (region, snapshot));
        Ok(remote)
    }

    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError> {
        self.inner.open_cq(depth)
    }

    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError> {
        let ep = self.inner.open(spec)?;
        self.cqs.insert(ep, spec.send_cq);
        Ok(ep)
    }

    fn address(&self, ep: EpId) -> Option<EndpointAddress> {
        self.inner.address(ep)
    }

    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError> {
        self.inner.connect(ep, peer)
    }

    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError> {
        self.inner.modify(ep, to)
    }

    fn state(&self, ep: EpId) -> Option<QpState> {
        self.inner.state(ep)
    }

    fn close(&mut self, ep: EpId) {
        self.inner.close(ep);
    }

    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        if self.lie() == Lie::Refuse && work.op.kind() != OpKind::Recv {
            self.liar.borrow_mut().told += 1;
            return Err(PostError::NotPromised("anything"));
        }
        self.inner.post(ep, work)?;
        let Data::Pieces(&[piece]) = work.data else { return Ok(()) };
        let len = piece.len as usize;
        let op = work.op;
        let before = match op.kind() {
            OpKind::Write | OpKind::WriteImm => self.liar.borrow().target_bytes(&op, len),
            _ => bytes(&self.regions[&piece.mr], piece.offset, len),
        };
        self.works.insert(work.id, Posted { op, piece, before });
        if self.lie() == Lie::CompleteAtOnce && self.liar.borrow_mut().strikes(&op) {
            let right = self.liar.borrow().target_bytes(&op, len);
            self.regions[&piece.mr].write(piece.offset, &right);
            let (id, kind, status) = (work.id, op.kind(), Status::Success);
            self.fake.push_back(Completion { id, ep, status, vendor: 0, kind, len: piece.len, imm: None });
            self.swallowed.insert(id);
        }
        Ok(())
    }

    fn ring(&mut self, ep: EpId) -> Result<(), RingError> {
        if self.lie() == Lie::NeverRing {
            self.liar.borrow_mut().told += 1;
            Ok(())
        } else {
            self.inner.ring(ep)
        }
    }

    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize {
        let before = out.as_slice().len();
        self.inner.poll(cq, out);
        let honest = out.as_mut_vec().split_off(before);
        let out = out.as_mut_vec();
        for completion in honest {
            self.tell(completion, out);
        }
        while let Some(fake) = self.fake.pop_front_if(|fake| self.cqs[&fake.ep] == cq) {
            out.push(fake);
        }
        out.len() - before
    }

    fn poll_event(&mut self) -> Option<AsyncEvent> {
        self.event.take().or_else(|| self.inner.poll_event())
    }

    fn wake(&self) -> Wake {
        if self.fake.is_empty() && self.event.is_none() { self.inner.wake() } else { Wake::Now }
    }
}
