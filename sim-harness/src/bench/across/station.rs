//! What posts and polls: the engine, or a backend by itself.

use wavetank_contract::{Instant, OpKind, Status};
use wavetank_engine::bootstrap::Offer;

use super::super::pair::PairError;
use super::memory::Buffers;

/// An operation that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What was posted.
    pub kind: OpKind,
    /// Its memory.
    pub slot: u16,
}

/// One endpoint of one device, with memory, as the measuring loops use it.
pub trait Station {
    /// The device's name.
    fn name(&mut self) -> String;

    /// What the peer needs to know.
    ///
    /// # Errors
    /// An address or a key that cannot be had.
    fn offer(&mut self) -> Result<Offer, PairError>;

    /// Points the endpoint at its peer.
    ///
    /// # Errors
    /// An address or a key that the device refuses.
    fn connect(&mut self, theirs: Offer) -> Result<(), PairError>;

    /// Whether the endpoint may be posted to.
    ///
    /// # Errors
    /// It never will be.
    fn can_send(&mut self) -> Result<bool, PairError>;

    /// Posts an operation: SENDs and WRITEs from the source, READs and receives to the sink.
    ///
    /// # Errors
    /// What the device refuses.
    fn post(&mut self, now: Instant, kind: OpKind, slot: u16) -> Result<(), PairError>;

    /// Starts what was posted.
    ///
    /// # Errors
    /// What the doorbell refuses.
    fn push(&mut self, now: Instant) -> Result<(), PairError>;

    /// Polls once, and starts what was posted.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    fn spin(&mut self, now: Instant) -> Result<(), PairError>;

    /// The next operation that ended.
    ///
    /// # Errors
    /// One that failed.
    fn take(&mut self) -> Result<Option<Ended>, PairError>;

    /// Its memory.
    fn buffers(&self) -> &Buffers;

    /// Ends the connection.
    fn close(&mut self);
}

/// A tag or work number for an operation.
pub(super) const fn pack(kind: OpKind, slot: u16) -> u64 {
    (kind as u64) << 16 | slot as u64
}

/// The slot in it.
pub(super) const fn slot_of(packed: u64) -> u16 {
    packed as u16
}

/// The kind in it.
pub(super) fn kind_of(packed: u64) -> Option<OpKind> {
    OpKind::ALL.get((packed >> 16) as usize).copied()
}

pub(super) fn failed(kind: OpKind, status: Status) -> PairError {
    PairError(format!("a {} ended with {status:?}", kind.name()))
}

pub(super) fn short(kind: OpKind, len: u64, bytes: u32) -> PairError {
    PairError(format!("a {} moved {len} of {bytes} bytes", kind.name()))
}
