//! What a lying device says of works that are done, and what it does to memory meanwhile.

use wavetank_contract::{Backend, Completion, CqId, EpId, Op, OpKind, QpState, Sge, Status, Work};

use super::liar::flip;
use super::{Lie, Lying};

/// A work as it was posted.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub(super) ep: Option<EpId>,
    pub(super) op: Op,
    pub(super) pieces: Vec<Sge>,
    pub(super) signalled: bool,
    /// Told already.
    pub(super) told: bool,
    /// How often the other node had been polled.
    pub(super) polls: u64,
}

impl Posted {
    fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.len)).sum()
    }

    fn is_one_sided(&self) -> bool {
        !matches!(self.op, Op::Recv | Op::Send { .. })
    }
}

impl<D: Backend> Lying<D> {
    /// Passes a completion on, as it is or otherwise.
    pub(super) fn tell(&mut self, cq: CqId, mut completion: Completion) {
        let Some(posted) = self.works.get(&completion.id.0).cloned() else {
            return self.say(cq, completion);
        };
        let good = completion.status == Status::Success;
        if good {
            self.tamper(&posted, &completion);
        }
        self.count_free(&posted);
        let failed = !good && completion.status != Status::WrFlushErr;
        match self.lie {
            Lie::CompletesEarly if posted.told => {
                self.works.remove(&completion.id.0);
                return;
            }
            Lie::WritesLate if good && posted.op.kind() == OpKind::Read => {
                if let Some(piece) = posted.pieces.first()
                    && let Some(region) = self.regions.get(&piece.mr)
                {
                    let mut bytes = vec![0; piece.len as usize];
                    region.read(piece.offset, &mut bytes);
                    self.late.push((region.clone(), piece.offset, bytes));
                }
            }
            Lie::NeedsTargetPolled if posted.is_one_sided() => {
                self.waiting.push((cq, completion, posted.polls));
                return;
            }
            Lie::SwapsCompletions if good => match self.held.take() {
                None if !self.struck => {
                    self.struck = true;
                    self.held = Some((cq, completion));
                    return;
                }
                Some((cq, held)) => {
                    self.say(cq, completion);
                    return self.say(cq, held);
                }
                None => {}
            },
            Lie::NamesOtherEndpoint => {
                let other = self.specs.keys().find(|ep| **ep != completion.ep);
                completion.ep = other.copied().unwrap_or(EpId(completion.ep.0 + 1));
            }
            Lie::WrongImmediate => completion.imm = completion.imm.map(|imm| imm ^ 1),
            Lie::ClaimsSuccess if !good => {
                completion.status = Status::Success;
                completion.vendor = 0;
                completion.kind = posted.op.kind();
                completion.len = posted.len() as u32;
                completion.imm = None;
            }
            Lie::LosesFlushes if completion.status == Status::WrFlushErr => return,
            Lie::FailsSilently if !posted.signalled && !good => return,
            Lie::SpreadsFailure if failed => self.spread(),
            _ => {}
        }
        self.works.remove(&completion.id.0);
        self.say(cq, completion);
    }

    fn say(&mut self, cq: CqId, completion: Completion) {
        if self.closed.contains(&completion.ep) {
            return;
        }
        self.ready.push_back((cq, completion));
    }

    /// Every endpoint dies.
    pub(super) fn spread(&mut self) {
        let all: Vec<EpId> = self.specs.keys().copied().collect();
        for ep in all {
            let _ = self.inner.modify(ep, QpState::Err);
        }
    }

    fn count_free(&mut self, posted: &Posted) {
        if let (Some(ep), true) = (posted.ep, posted.signalled && posted.op.kind() != OpKind::Recv) {
            *self.slots.entry(ep).or_default() -= 1;
        }
    }

    /// Changes memory that a work was about.
    fn tamper(&self, posted: &Posted, completion: &Completion) {
        let (kind, len) = (posted.op.kind(), posted.len());
        let first = posted.pieces.first();
        let local = |offset: u64| {
            if let Some((piece, region)) = first.and_then(|piece| Some((piece, self.regions.get(&piece.mr)?)))
            {
                flip(region, piece.offset + offset);
            }
        };
        let remote = |offset: u64| {
            let target = posted.op.remote().and_then(|remote| self.liars.borrow().target(remote));
            if let Some((region, at)) = target {
                flip(&region, at + offset);
            }
        };
        let writes = matches!(kind, OpKind::Write | OpKind::WriteImm);
        let message = kind == OpKind::Recv && completion.kind == OpKind::Send;
        match self.lie {
            Lie::FlipsWritten if writes && len > 0 => remote(len - 1),
            Lie::FlipsBeside if writes => remote(len),
            Lie::FlipsRead if kind == OpKind::Read && len > 0 => local(len - 1),
            Lie::FlipsBesideRead if kind == OpKind::Read => local(len),
            Lie::FlipsReceived if message && completion.len > 0 => local(0),
            Lie::FlipsBehindMessage if message => local(u64::from(completion.len)),
            Lie::FlipsSource if !kind.fills_local() && len > 0 => local(0),
            Lie::AddsTwice => {
                if let Op::FetchAdd { remote, add } = posted.op {
                    self.change_word(remote, |word| Some(word.wrapping_add(add)));
                }
            }
            Lie::SwapsAnyway => {
                if let Op::CompareSwap { remote, swap, .. } = posted.op {
                    self.change_word(remote, |_| Some(swap));
                }
            }
            _ => {}
        }
    }

    fn change_word(&self, remote: wavetank_contract::RemoteAddr, change: impl Fn(u64) -> Option<u64>) {
        if let Some((region, at)) = self.liars.borrow().target(remote) {
            let cell = region.word(at);
            if let Some(new) = change(u64::from_le(cell.get())) {
                cell.set(new.to_le());
            }
        }
    }

    /// Memory is changed before the device gets to it.
    pub(super) fn place_early(&self, work: &Work<'_>, pieces: &[Sge]) {
        let Op::Write { remote, .. } = work.op else { return };
        let Some(last) = pieces.last() else { return };
        let Some(from) = self.regions.get(&last.mr) else { return };
        let len: u64 = pieces.iter().map(|piece| u64::from(piece.len)).sum();
        if let Some((region, at)) = self.liars.borrow().target(remote) {
            let mut byte = [0];
            from.read(last.offset + u64::from(last.len) - 1, &mut byte);
            region.write(at + len - 1, &byte);
        }
    }
}
