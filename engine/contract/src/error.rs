//! What a backend refuses before anything is on the wire. Each error says what was wrong and what would be right.
//!
//! These are answers, not accidents: a refused call changes nothing.

use thiserror::Error;

use crate::endpoint::{CqId, EpId, QpState, SrqId};
use crate::work::{MrId, WindowId};

/// A call into the system or a device's library failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{call} failed: {}{}{advice}", std::io::Error::from_raw_os_error(*.errno), if .advice.is_empty() { "" } else { "; " })]
pub struct SystemError {
    /// The call, as its manual page is named: `ibv_create_qp(3)`.
    pub call: &'static str,
    /// What it answered (`errno(3)`).
    pub errno: i32,
    /// What shows or mends it; may be empty.
    pub advice: &'static str,
}

/// Why memory could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocError {
    /// Nothing was asked for.
    #[error("a region of 0 bytes was asked for; the smallest is 1 byte")]
    Empty,
    /// More than the backend or the address space allows.
    #[error("a region of {asked_bytes} bytes was asked for, the limit is {limit_bytes}")]
    TooLarge {
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes allowed.
        limit_bytes: u64,
    },
    /// The granule is not a power of two of at least 8 bytes.
    #[error("a granule of {0} bytes was asked for; it is a power of two of at least 8")]
    BadGranule(u64),
    /// The system has no memory left.
    #[error("the system has no {0} bytes left for a region; free memory or ask for less")]
    OutOfMemory(u64),
}

/// Why a region could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The device holds as many registrations as it can.
    #[error("the device holds {0} registrations, its limit; deregister one first")]
    TooMany(u32),
    /// Longer than one registration may be.
    #[error("a region of {len_bytes} bytes is longer than one registration may be ({limit_bytes})")]
    TooLong {
        /// The region.
        len_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Remote writing without local writing is refused by every device (`ibv_reg_mr(3)`).
    #[error("remote_write and remote_atomic need local_write too (ibv_reg_mr(3))")]
    RemoteWriteNeedsLocalWrite,
    /// More memory would be locked than this process may lock.
    #[error(
        "registering {len_bytes} bytes on top of {pinned_bytes} that are registered already locks {need_bytes}, and this process \
         may lock {limit_bytes}; raise that with `ulimit -l {}` or `ulimit -l unlimited` before it starts, \
         LimitMEMLOCK=infinity of a systemd unit, or limits.conf(5)",
        .need_bytes.div_ceil(1024)
    )]
    Memlock {
        /// The region.
        len_bytes: u64,
        /// What this process has pinned for devices already.
        pinned_bytes: u64,
        /// Both, in whole pages.
        need_bytes: u64,
        /// `RLIMIT_MEMLOCK` (`getrlimit(2)`).
        limit_bytes: u64,
    },
    /// The device or the system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a registration could not be ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeregisterError {
    /// Unknown, or ended before.
    #[error("{0:?} is not registered (any more)")]
    Unknown(MrId),
    /// Somebody still uses part of the region.
    #[error("{mr:?} still has {leases} live leases; wait for their works or drop them first")]
    LeasesLive {
        /// The registration.
        mr: MrId,
        /// How many.
        leases: u32,
    },
    /// Windows still open on it (`EBUSY` or `EINVAL`, depending on the device).
    #[error("{mr:?} still has {windows} memory windows; close them first")]
    WindowsBound {
        /// The registration.
        mr: MrId,
        /// How many.
        windows: u32,
    },
    /// The device or the system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a memory window could not be opened or closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The caps say no.
    #[error("this device does not promise memory windows (see its caps)")]
    NotPromised,
    /// The region is unknown, or deregistered.
    #[error("{0:?} is not registered (any more)")]
    UnknownRegion(MrId),
    /// Unknown, or closed before.
    #[error("{0:?} is not open (any more)")]
    Unknown(WindowId),
    /// Not all of it is inside the region, or it has no bytes.
    #[error(
        "a window of {len} bytes at {offset} of {mr:?}, which has {region_len} bytes; a window has at least one"
    )]
    Outside {
        /// The registration.
        mr: MrId,
        /// Where it was to start.
        offset: u64,
        /// How long it was to be.
        len: u64,
        /// How long the region is.
        region_len: u64,
    },
    /// It would open nothing.
    #[error("a window needs a remote right; without one it opens nothing")]
    NoRight,
    /// Remote writing through it without local writing of the region (`ibv_bind_mw(3)`).
    #[error("remote_write and remote_atomic through a window need local_write of {0:?} (ibv_bind_mw(3))")]
    RemoteWriteNeedsLocalWrite(MrId),
    /// The device has as many as it can.
    #[error("the device has {0} memory windows, its limit; close one first")]
    TooMany(u32),
    /// The device or the system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a registration cannot be exported to peers, or a peer's key not imported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Unknown, or deregistered.
    #[error("{0:?} is not registered (any more)")]
    Unknown(MrId),
    /// The device is gone.
    #[error(transparent)]
    System(#[from] SystemError),
    /// No remote right was given when it was registered.
    #[error("{0:?} was registered for local use only; register it with a remote right to export it")]
    LocalOnly(MrId),
    /// The bytes are not a key of this backend.
    #[error(
        "{len_bytes} bytes were offered as a remote key, which is not one of this backend's ({expected})"
    )]
    Malformed {
        /// How many bytes.
        len_bytes: usize,
        /// What a key looks like.
        expected: &'static str,
    },
}

/// Why an endpoint or completion queue could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The device holds as many as it can.
    #[error("the device holds {limit} {what}, its limit; close one first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: u32,
    },
    /// A number of the spec is outside what the device promises.
    #[error("{field} is {asked}; this device takes {min} to {max}")]
    OutOfRange {
        /// The field of the spec.
        field: &'static str,
        /// What it said.
        asked: u64,
        /// Smallest legal value.
        min: u64,
        /// Largest legal value.
        max: u64,
    },
    /// The named completion queue does not exist.
    #[error("{0:?} is not an open completion queue")]
    UnknownCq(CqId),
    /// The named shared receive queue does not exist, or belongs to another protection domain.
    #[error("{0:?} is not an open shared receive queue of this protection domain")]
    UnknownSrq(SrqId),
    /// The caps say no.
    #[error("this device does not promise {0} (see its caps)")]
    NotPromised(&'static str),
    /// The device or the system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why an endpoint could not be connected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No such endpoint.
    #[error("{0:?} is not an open endpoint")]
    Unknown(EpId),
    /// The bytes are not an address of this backend.
    #[error(
        "{len_bytes} bytes were offered as an endpoint address, which is not one of this backend's ({expected})"
    )]
    Malformed {
        /// How many bytes.
        len_bytes: usize,
        /// What an address looks like.
        expected: &'static str,
    },
    /// It is connected already, or dead.
    #[error("{ep:?} is in {state:?}; only an endpoint in RESET or INIT can be connected")]
    WrongState {
        /// The endpoint.
        ep: EpId,
        /// Its state.
        state: QpState,
    },
    /// The peer cannot be reached by this device: another transport, link or address family.
    #[error("the peer's address cannot be reached from this device: {0}")]
    Unreachable(&'static str),
    /// The device or the system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a queue pair did not change state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModifyError {
    /// No such endpoint.
    #[error("{0:?} is not an open endpoint")]
    Unknown(EpId),
    /// The table of `ibv_modify_qp(3)` has no such row.
    #[error("a queue pair cannot go from {from:?} to {to:?}; see the table of ibv_modify_qp(3)")]
    IllegalTransition {
        /// Where it is.
        from: QpState,
        /// Where it was to go.
        to: QpState,
    },
    /// RTR needs a peer to listen to. Connecting goes through RTR to RTS by itself.
    #[error("{0:?} has no peer yet; connect it, which takes it through RTR to RTS")]
    NoPeer(EpId),
    /// The backend has no such states.
    #[error("this backend has no queue pair states or shared receive queues (see its caps)")]
    Unsupported,
    /// The named shared receive queue does not exist.
    #[error("{0:?} is not an open shared receive queue")]
    UnknownSrq(SrqId),
    /// A shared receive queue ends after its endpoints.
    #[error("{srq:?} is still used by {endpoints} endpoints; close them first")]
    SrqInUse {
        /// The queue.
        srq: SrqId,
        /// How many.
        endpoints: u32,
    },
    /// The device or the system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a work was not taken. Works before it in the same batch were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PostError {
    /// No such endpoint.
    #[error("{0:?} is not an open endpoint")]
    Unknown(EpId),
    /// The queue has no free slot (`ENOMEM`). Poll, then post again.
    #[error("the queue of {ep:?} is full at {depth} works; poll for completions, then post again")]
    QueueFull {
        /// The endpoint.
        ep: EpId,
        /// Its depth.
        depth: u32,
    },
    /// The queue pair does not take works in this state (`EINVAL`).
    #[error("{ep:?} is in {state:?}, which takes no such work; connect it first")]
    WrongState {
        /// The endpoint.
        ep: EpId,
        /// Its state.
        state: QpState,
    },
    /// More pieces than promised.
    #[error("{asked} local pieces, the device takes {max}")]
    TooManyPieces {
        /// In the work.
        asked: usize,
        /// Promised.
        max: u32,
    },
    /// More inline bytes than promised.
    #[error("{asked} inline bytes, the device takes {max}; use registered memory")]
    InlineTooLong {
        /// In the work.
        asked: usize,
        /// Promised.
        max: u32,
    },
    /// Inline data on a work that does not send any.
    #[error("inline data goes with SEND and WRITE only")]
    InlineNotSending,
    /// A longer message than promised.
    #[error("a message of {asked_bytes} bytes, the device takes {max_bytes}; cut it into chunks")]
    MessageTooLong {
        /// In the work.
        asked_bytes: u64,
        /// Promised.
        max_bytes: u32,
    },
    /// Atomics work on one piece of 8 bytes.
    #[error("an atomic takes exactly one local piece of 8 bytes, not {pieces} of {len_bytes} bytes in all")]
    AtomicShape {
        /// How many pieces.
        pieces: usize,
        /// Bytes in all.
        len_bytes: u64,
    },
    /// The caps say no.
    #[error("this device does not promise {0} (see its caps)")]
    NotPromised(&'static str),
    /// A protection domain, queue or registration that does not exist (any more).
    #[error("{0} is not there (any more)")]
    Gone(&'static str),
    /// The device or the system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Why a doorbell did not start everything that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("of the works posted since the last doorbell the device took {taken}: {error}")]
pub struct RingError {
    /// Works taken; the ones after them were not.
    pub taken: u32,
    /// What the first one not taken met.
    pub error: PostError,
}
