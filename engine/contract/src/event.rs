//! Asynchronous events: what a device says unasked (`enum ibv_event_type`).

use crate::endpoint::{CqId, EpId, SrqId};

/// Something happened that belongs to no single work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsyncEvent {
    /// A completion queue overran. It cannot be used again and its endpoints are dead.
    CqErr(CqId),
    /// An endpoint died for a reason that no work of its own explains.
    QpFatal(EpId),
    /// The peer sent a request the endpoint does not allow; it is in ERR.
    QpReqErr(EpId),
    /// The peer violated the memory rights of the endpoint; it is in ERR.
    QpAccessErr(EpId),
    /// The first packet arrived before the connection was declared ready. Harmless.
    CommEst(EpId),
    /// The send queue is drained, as asked by SQD.
    SqDrained(EpId),
    /// Fewer receives are left in a shared queue than was asked for. Told once; arm it again.
    SrqLimitReached(SrqId),
    /// A shared receive queue is broken; nothing more is taken from it.
    SrqErr(SrqId),
    /// An endpoint in ERR has taken its last receive from its shared queue.
    LastWqeReached(EpId),
    /// The port's addresses changed: who connected by the old one is no longer reached.
    GidChange,
    /// The link went down.
    PortErr,
    /// The link is up.
    PortActive,
    /// The device is gone. Only closing is legal now.
    DeviceFatal,
}
