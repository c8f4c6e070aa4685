//! Completions: what a device says of the works it was given.

use crate::endpoint::EpId;
use crate::status::Status;
use crate::work::{OpKind, WorkId};

/// The end of one work (`struct ibv_wc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The work.
    pub id: WorkId,
    /// Its endpoint.
    pub ep: EpId,
    /// How it ended.
    pub status: Status,
    /// The vendor's code for a failure, 0 where there is none.
    pub vendor: u32,
    /// What it was. Valid on success only, as for every field below: a device may leave anything here on failure.
    pub kind: OpKind,
    /// Bytes placed locally (receives, READs, atomics), or sent.
    pub len: u32,
    /// The immediate of an incoming message.
    pub imm: Option<u32>,
}

/// A bounded buffer that polls fill. Allocated once; polling allocates nothing.
#[derive(Debug)]
pub struct Completions {
    items: Vec<Completion>,
    cap: usize,
}

impl Completions {
    /// Room for `cap` completions per poll.
    pub fn with_capacity(cap: usize) -> Completions {
        Completions { items: Vec::with_capacity(cap), cap }
    }

    /// Adds one.
    ///
    /// # Panics
    /// When full: a backend asks [`room`](Self::room) first.
    #[inline]
    pub fn push(&mut self, completion: Completion) {
        assert!(self.items.len() < self.cap, "a backend polled past the room it was given");
        self.items.push(completion);
    }

    /// How many more fit.
    #[inline]
    pub fn room(&self) -> usize {
        self.cap - self.items.len()
    }

    /// Forgets what is in it, keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// What the polls brought, in order.
    #[inline]
    pub fn as_slice(&self) -> &[Completion] {
        &self.items
    }

    /// Takes them out, in order; the memory stays.
    pub fn drain(&mut self) -> impl Iterator<Item = Completion> + '_ {
        self.items.drain(..)
    }

    /// For whoever wraps a backend and meddles with what it says.
    pub fn as_mut_vec(&mut self) -> &mut Vec<Completion> {
        &mut self.items
    }
}
