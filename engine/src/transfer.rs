//! Transfers: one operation of a user, cut into as many works as the device needs.

use std::fmt;
use std::task::Waker;

use thiserror::Error;
use wavetank_contract::error::PostError;
use wavetank_contract::planted::{self, Bug};
use wavetank_contract::{Class, EpId, Instant, Lease, MrId, Op, OpKind, RemoteAddr, Status};

use crate::port::Order;
use crate::session::{HoldingId, SessionError, SessionKey};
use crate::slab::Key;

/// The name of a transfer. Never valid twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub(crate) Key);

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferId({}#{})", self.0.index, self.0.generation)
    }
}

/// What to transfer.
#[derive(Debug)]
pub struct TransferSpec {
    /// Over which endpoint.
    pub ep: EpId,
    /// What to do. READs and WRITEs of any length are cut into chunks; everything else is one message.
    pub op: Op,
    /// Local memory; comes back with the [`Finished`].
    pub lease: Lease,
    /// The registration of the lease's region.
    pub mr: MrId,
    /// Bytes, from the start of the lease on.
    pub len: u64,
    /// When to give up. [`Instant::FAR`] is never.
    pub deadline: Instant,
    /// The session it belongs to: when that ends, so does this.
    pub session: Option<SessionKey>,
    /// The caller's name for it.
    pub tag: u64,
}

/// Why a transfer did not begin. Nothing was posted; the lease comes back.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct SubmitError {
    /// Why.
    pub reason: SubmitReason,
    /// The lease of the spec.
    pub lease: Box<Lease>,
}

/// The reasons of a [`SubmitError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubmitReason {
    /// More bytes than the lease has.
    #[error("a transfer of {len} bytes with a lease of {lease_len}; lease as much as is to be transferred")]
    LeaseTooShort {
        /// To be transferred.
        len: u64,
        /// Leased.
        lease_len: u64,
    },
    /// A message longer than the device takes, of a kind that cannot be cut.
    #[error("a {} of {len} bytes, the device takes {max_bytes} in one message", kind.name())]
    MessageTooLong {
        /// Of what.
        kind: OpKind,
        /// To be transferred.
        len: u64,
        /// The device's limit.
        max_bytes: u32,
    },
    /// The remote range wraps around the address space.
    #[error("{len} bytes at remote address {addr:#x} run past the end of the address space")]
    RemoteWraps {
        /// Where it begins.
        addr: u64,
        /// To be transferred.
        len: u64,
    },
    /// No such endpoint (any more).
    #[error("endpoint {} is not open", .0.0)]
    UnknownEndpoint(EpId),
    /// As many transfers as may be are under way.
    #[error("{0} transfers are under way, the limit; wait for one to finish")]
    TooMany(u32),
    /// The deadline has passed already.
    #[error("the deadline {deadline} has passed: it is {now}")]
    DeadlinePassed {
        /// The deadline.
        deadline: Instant,
        /// The time.
        now: Instant,
    },
    /// The session is not there.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Why a transfer failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The device said so.
    #[error(
        "{} on endpoint {}: {status} (vendor {vendor:#x}){}; {}",
        kind.name(), ep.0, first_cause_text(*first_cause), first_cause.unwrap_or(*status).advice()
    )]
    Failed {
        /// The status of its first work that failed.
        status: Status,
        /// The vendor's code.
        vendor: u32,
        /// The endpoint.
        ep: EpId,
        /// The operation.
        kind: OpKind,
        /// Where the work was flushed: what had ended its endpoint, if this engine saw it.
        first_cause: Option<Status>,
    },
    /// The device refused a work when it was posted.
    #[error("{} on endpoint {} was not taken: {error}", kind.name(), ep.0)]
    Refused {
        /// Why.
        error: PostError,
        /// The endpoint.
        ep: EpId,
        /// The operation.
        kind: OpKind,
    },
    /// The deadline passed.
    #[error(
        "{} on endpoint {} was not done by its deadline {deadline}; {done} of {len} bytes were", kind.name(), ep.0
    )]
    DeadlinePassed {
        /// The deadline.
        deadline: Instant,
        /// The endpoint.
        ep: EpId,
        /// The operation.
        kind: OpKind,
        /// Bytes done.
        done: u64,
        /// Bytes asked for.
        len: u64,
    },
    /// The caller gave up.
    #[error("cancelled")]
    Cancelled,
    /// Its session was closed or expired.
    #[error("its session ended")]
    SessionEnded,
}

fn first_cause_text(cause: Option<Status>) -> String {
    cause.map_or(String::new(), |cause| format!(", first cause {cause}"))
}

impl TransferError {
    /// A stable code for logs and protocols.
    pub const fn code(&self) -> &'static str {
        match self {
            TransferError::Failed { status, .. } => status.name(),
            TransferError::Refused { .. } => "REFUSED",
            TransferError::DeadlinePassed { .. } => "DEADLINE",
            TransferError::Cancelled => "CANCELLED",
            TransferError::SessionEnded => "SESSION_ENDED",
        }
    }

    /// What to make of it. A passed deadline counts as a peer that is gone: nothing better is known.
    pub const fn class(&self) -> Class {
        match self {
            TransferError::Failed { status, .. } => status.class(),
            TransferError::Refused { .. } => Class::LocalBug,
            TransferError::DeadlinePassed { .. } => Class::PeerGone,
            TransferError::Cancelled | TransferError::SessionEnded => Class::Flushed,
        }
    }
}

/// How a transfer ended.
#[derive(Debug)]
pub struct Finished {
    /// Which.
    pub id: TransferId,
    /// The caller's name for it.
    pub tag: u64,
    /// What it was; for a receive, what it met.
    pub kind: OpKind,
    /// Over which endpoint.
    pub ep: EpId,
    /// Bytes moved, or why not.
    pub result: Result<u64, TransferError>,
    /// The immediate of a receive.
    pub imm: Option<u32>,
    /// The memory. `None` when the device may still touch it: it then goes back to its pool when that is over.
    pub lease: Option<Lease>,
    /// When it was submitted.
    pub submitted_at: Instant,
    /// When it ended.
    pub finished_at: Instant,
}

/// A transfer under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) ep: EpId,
    pub(crate) op: Op,
    /// `None` once handed back.
    pub(crate) lease: Option<Lease>,
    pub(crate) mr: MrId,
    pub(crate) len: u64,
    pub(crate) chunk_bytes: u32,
    /// Bytes ordered so far.
    pub(crate) ordered: u64,
    /// At least one work was ordered: tells a transfer of 0 bytes from one that has not begun.
    pub(crate) begun: bool,
    /// Bytes done so far.
    pub(crate) done: u64,
    /// Works ordered and not ended.
    pub(crate) in_flight: u32,
    /// In its endpoint's line of transfers with something to order.
    pub(crate) in_line: bool,
    pub(crate) failed: Option<TransferError>,
    /// Reported already; lives on only because the device still has works of it.
    pub(crate) abandoned: bool,
    pub(crate) received: Option<OpKind>,
    pub(crate) imm: Option<u32>,
    pub(crate) deadline: Instant,
    pub(crate) submitted_at: Instant,
    pub(crate) tag: u64,
    pub(crate) session: Option<(SessionKey, HoldingId)>,
    /// Somebody awaits it: its end is kept here rather than queued.
    pub(crate) awaited: bool,
    pub(crate) waker: Option<Waker>,
    pub(crate) kept: Option<Box<Finished>>,
}

impl Transfer {
    /// Whether there is something left to order.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.failed.is_none() && !self.abandoned && (self.ordered < self.len || !self.begun)
    }

    /// Whether nothing more will come.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.in_flight == 0 && !self.has_more()
    }

    /// The next work of it.
    #[inline]
    pub(crate) fn next_order(&mut self, tag: u64) -> Option<Order> {
        let len = (self.len - self.ordered).min(u64::from(self.chunk_bytes)) as u32;
        let from = if planted::is(Bug::ChunkAtStart) { 0 } else { self.ordered };
        let at = |remote: RemoteAddr| RemoteAddr { addr: remote.addr + from, ..remote };
        let last = self.ordered + u64::from(len) == self.len;
        let op = match self.op {
            Op::Read { remote } => Op::Read { remote: at(remote) },
            Op::Write { remote, imm } => Op::Write { remote: at(remote), imm: imm.filter(|_| last) },
            whole => whole,
        };
        let lease = self.lease.as_ref()?;
        let piece = lease.piece(self.mr, self.ordered, len)?;
        let order = Order::new(tag, op, piece, Some(lease.hold()));
        self.ordered += u64::from(len);
        self.begun = true;
        self.in_flight += 1;
        Some(order)
    }
}
