//! Through a backend by itself: what the engine is compared with.

use wavetank_contract::{Backend, Completions, Data, Instant, OpKind, Sge, Status, Work, WorkId};
use wavetank_engine::bootstrap::Offer;

use super::super::pair::PairError;
use super::cell::Cell;
use super::memory::{self, Buffers};
use super::setup::{self, Setup};
use super::station::{Ended, Station, failed, kind_of, pack, short, slot_of};

/// Completions of one poll.
const POLL_BATCH: usize = 64;

/// A backend with one endpoint.
#[derive(Debug)]
pub struct Bare<B> {
    backend: B,
    setup: Setup,
    completions: Completions,
    /// How many of them were taken.
    taken: usize,
    /// Posted since the last doorbell: sends or receives, as one doorbell answers for one queue.
    posted: Option<bool>,
}

impl<B: Backend> Bare<B> {
    /// Opens an endpoint and memory for a cell.
    ///
    /// # Errors
    /// Whatever the device refuses.
    pub fn open(mut backend: B, cell: &Cell) -> Result<Bare<B>, PairError> {
        let setup = setup::open!(&mut backend, cell)?;
        let completions = Completions::with_capacity(POLL_BATCH);
        Ok(Bare { backend, setup, completions, taken: 0, posted: None })
    }
}

impl<B: Backend> Station for Bare<B> {
    fn name(&mut self) -> String {
        self.backend.caps().name.clone()
    }

    fn offer(&mut self) -> Result<Offer, PairError> {
        setup::offer!(&self.backend, &self.setup)
    }

    fn connect(&mut self, theirs: Offer) -> Result<(), PairError> {
        setup::connect!(&mut self.backend, &mut self.setup, theirs)
    }

    fn can_send(&mut self) -> Result<bool, PairError> {
        setup::can_send(self.backend.state(self.setup.ep))
    }

    #[inline]
    fn post(&mut self, now: Instant, kind: OpKind, slot: u16) -> Result<(), PairError> {
        let receives = kind == OpKind::Recv;
        if self.posted == Some(!receives) {
            self.push(now)?;
        }
        let len = self.setup.buffers.bytes;
        let pieces = [Sge { mr: self.setup.mr(kind), len, offset: memory::offset(slot) }];
        let (id, op) = (WorkId(pack(kind, slot)), self.setup.op(kind)?);
        let work = Work { id, op, data: Data::Pieces(&pieces), signalled: true, fence: false };
        self.backend.post(self.setup.ep, &work)?;
        self.posted = Some(receives);
        Ok(())
    }

    #[inline]
    fn push(&mut self, _: Instant) -> Result<(), PairError> {
        if self.posted.take().is_some() {
            self.backend.ring(self.setup.ep)?;
        }
        Ok(())
    }

    #[inline]
    fn spin(&mut self, now: Instant) -> Result<(), PairError> {
        if self.taken == self.completions.as_slice().len() {
            self.completions.clear();
            self.taken = 0;
            self.backend.poll(self.setup.cq, &mut self.completions);
        }
        self.push(now)
    }

    #[inline]
    fn take(&mut self) -> Result<Option<Ended>, PairError> {
        let Some(completion) = self.completions.as_slice().get(self.taken) else { return Ok(None) };
        self.taken += 1;
        let (bytes, packed) = (self.setup.buffers.bytes, completion.id.0);
        let kind = kind_of(packed).unwrap_or(completion.kind);
        if completion.status != Status::Success {
            return Err(failed(kind, completion.status));
        }
        if kind == OpKind::Recv && completion.len != bytes {
            return Err(short(kind, completion.len.into(), bytes));
        }
        Ok(Some(Ended { kind, slot: slot_of(packed) }))
    }

    #[inline]
    fn buffers(&self) -> &Buffers {
        &self.setup.buffers
    }

    fn close(&mut self) {
        self.backend.close(self.setup.ep);
    }
}
