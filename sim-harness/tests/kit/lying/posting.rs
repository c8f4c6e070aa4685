//! How a lying device takes works: bent, late, or not at all.

use wavetank_contract::error::PostError;
use wavetank_contract::{
    Backend, Completion, CqId, Data, EpId, Op, OpKind, QpState, RemoteAddr, Sge, Status, Work, WorkId,
};

use super::telling::Posted;
use super::{Lie, Lying};

/// Polls until a work completes that is not done.
const EARLY_POLLS: u32 = 3;

impl<D: Backend> Lying<D> {
    fn is_modest(&self, op: &Op) -> bool {
        self.lie == Lie::Modest && (op.kind().is_atomic() || op.imm().is_some())
    }

    /// The remote side of a work, bent as the lie wants it.
    fn bend(&self, op: Op, len: u64) -> Op {
        let bent = |remote: RemoteAddr| self.bend_remote(remote, len, op.kind().is_atomic());
        match op {
            Op::Write { remote, imm } => Op::Write { remote: bent(remote), imm },
            Op::Read { remote } => Op::Read { remote: bent(remote) },
            Op::FetchAdd { remote, add } => Op::FetchAdd { remote: bent(remote), add },
            Op::CompareSwap { remote, compare, swap } => {
                Op::CompareSwap { remote: bent(remote), compare, swap }
            }
            Op::Recv | Op::Send { .. } => op,
        }
    }

    fn bend_remote(&self, remote: RemoteAddr, len: u64, atomic: bool) -> RemoteAddr {
        let liars = self.liars.borrow();
        match self.lie {
            Lie::TakesAnyKey => match liars.around(remote.addr) {
                Some((known, _)) => RemoteAddr { rkey: known.rkey, ..remote },
                None => remote,
            },
            Lie::MovesInside => match liars.beside(remote.addr).filter(|known| known.at(0, len).is_some()) {
                Some(known) if remote.addr < known.addr || remote.addr + len > known.addr + known.len => {
                    RemoteAddr { addr: known.addr, ..remote }
                }
                _ => remote,
            },
            Lie::AlignsAtomics if atomic => RemoteAddr { addr: remote.addr & !7, ..remote },
            _ => remote,
        }
    }

    /// The local side of a work, bent as the lie wants it.
    fn bend_pieces(&self, op: &Op, pieces: &[Sge]) -> Vec<Sge> {
        let mut pieces = pieces.to_vec();
        let first = self.regions.keys().next().copied();
        for piece in &mut pieces {
            let known = self.regions.get(&piece.mr);
            let inside = known.is_some_and(|region| region.contains(piece.offset, piece.len.into()));
            match (self.lie, first) {
                (Lie::KnowsOneRegion, Some(first)) => piece.mr = first,
                (Lie::TakesAnyPiece, Some(first)) if known.is_none() => piece.mr = first,
                (Lie::MovesInside, _) if known.is_some() && !inside => piece.offset = 0,
                (Lie::StretchesReceives, _) if *op == Op::Recv => piece.len += 4096,
                _ => {}
            }
        }
        if self.lie == Lie::ReversesPieces {
            pieces.reverse();
        }
        pieces
    }

    fn pass_on(
        &mut self,
        ep: EpId,
        id: u64,
        op: Op,
        data: Data<'_>,
        signalled: bool,
        fence: bool,
    ) -> Result<(), PostError> {
        let bent = self.bend(op, data.len_bytes());
        let signalled = signalled || self.lie == Lie::SpeaksForSilent;
        let fence = fence && self.lie != Lie::IgnoresFences;
        let named = if self.lie == Lie::SwapsReceives && op == Op::Recv { id ^ 1 } else { id };
        let work = Work { id: WorkId(named), op: bent, data, signalled, fence };
        self.inner.post(ep, &work)
    }

    /// Remembers a work that was taken.
    pub(super) fn taken(&mut self, ep: Option<EpId>, work: &Work<'_>) {
        let pieces = if let Data::Pieces(pieces) = work.data { pieces.to_vec() } else { Vec::new() };
        let polls = self.liars.borrow().polls.get(&(1 - self.node.min(1))).copied().unwrap_or(0);
        if self.lie == Lie::PlacesLastByteFirst {
            self.place_early(work, &pieces);
        }
        let op = work.op;
        if let Some(ep) = ep.filter(|_| op.kind() != OpKind::Recv) {
            *self.slots.entry(ep).or_default() += 1;
        }
        let told = self.lie == Lie::CompletesEarly && work.signalled;
        if let (true, Some(ep)) = (told, ep) {
            let cq = self.specs.get(&ep).map_or(CqId(0), |spec| spec.send_cq);
            let kind = if op.kind() == OpKind::Recv { OpKind::Send } else { op.kind() };
            let len = work.data.len_bytes() as u32;
            let (id, status) = (work.id, Status::Success);
            let completion = Completion { id, ep, status, vendor: 0, kind, len, imm: None };
            self.early.push((EARLY_POLLS, cq, completion));
        }
        self.works.insert(work.id.0, Posted { ep, op, pieces, signalled: work.signalled, told, polls });
    }

    pub(super) fn pass_queued(&mut self, ep: EpId) -> Result<(), PostError> {
        let queued = std::mem::take(&mut self.queued);
        for (of, id, op, pieces, signalled, fence) in queued {
            if of == ep {
                self.pass_on(ep, id, op, Data::Pieces(&pieces), signalled, fence)?;
            } else {
                self.queued.push((of, id, op, pieces, signalled, fence));
            }
        }
        Ok(())
    }

    /// Whether a work that was refused is said to be taken.
    fn is_lost(&self, error: &PostError) -> bool {
        let misfit = !matches!(
            error,
            PostError::QueueFull { .. } | PostError::WrongState { .. } | PostError::Unknown(_)
        );
        self.lie == Lie::TakesAnyWork && misfit
            || self.lie == Lie::TakesInAnyState && matches!(error, PostError::WrongState { .. })
    }

    /// Takes a work, or says that it did.
    pub(super) fn take(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError> {
        if self.is_modest(&work.op) {
            return Err(PostError::NotPromised("that"));
        }
        let state = self.inner.state(ep);
        let kind = work.op.kind();
        let lost = match self.lie {
            Lie::RefusesForDead if state == Some(QpState::Err) => {
                return Err(PostError::WrongState { ep, state: QpState::Err });
            }
            Lie::RefusesLength if work.data.len_bytes() > 2 << 20 => {
                let asked_bytes = work.data.len_bytes();
                return Err(PostError::MessageTooLong { asked_bytes, max_bytes: 2 << 20 });
            }
            Lie::KeepsSilentSlots if kind != OpKind::Recv => {
                let depth = self.specs.get(&ep).map_or(0, |spec| spec.send_depth);
                if self.slots.get(&ep).copied().unwrap_or(0) >= i64::from(depth) {
                    return Err(PostError::QueueFull { ep, depth });
                }
                false
            }
            Lie::LosesEarlyReceives => kind == OpKind::Recv && state != Some(QpState::Rts),
            _ => false,
        };
        let later = match self.lie {
            // A WRITE waits for whatever is posted next.
            Lie::DelaysWrites => kind == OpKind::Write,
            Lie::DropsPrefix => kind == OpKind::Write && matches!(work.data, Data::Pieces(p) if p.len() == 1),
            _ => false,
        };
        if let (true, Data::Pieces(pieces)) = (later, work.data) {
            self.queued.push((ep, work.id.0, work.op, pieces.to_vec(), work.signalled, work.fence));
            self.taken(Some(ep), work);
            return Ok(());
        }
        let complement: Vec<u8>;
        let bent: Vec<Sge>;
        let data = match work.data {
            Data::Inline(bytes) if self.lie == Lie::ReadsInlineLate => {
                complement = bytes.iter().map(|byte| !byte).collect();
                Data::Inline(&complement)
            }
            Data::Inline(bytes) => Data::Inline(bytes),
            Data::Pieces(pieces) => {
                bent = self.bend_pieces(&work.op, pieces);
                Data::Pieces(&bent)
            }
        };
        if !lost && let Err(error) = self.pass_on(ep, work.id.0, work.op, data, work.signalled, work.fence) {
            self.queued.clear();
            if self.is_lost(&error) {
                return Ok(());
            }
            return Err(error);
        }
        self.taken(Some(ep), work);
        if self.lie == Lie::DelaysWrites {
            self.pass_queued(ep)?;
        }
        Ok(())
    }
}
