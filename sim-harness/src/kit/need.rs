//! Needs: what a device has to promise, or not to promise, for a case to mean anything.

use wavetank_contract::Caps;

/// What a case needs. One that is not there skips it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The device promises atomics.
    Atomics,
    /// It does not.
    NoAtomics,
    /// It promises immediates.
    Immediate,
    /// It does not.
    NoImmediate,
    /// Its endpoints follow the states of a queue pair.
    QpStates,
    /// They do not.
    NoQpStates,
    /// It reports asynchronous events.
    AsyncEvents,
    /// It does not.
    NoAsyncEvents,
    /// Its endpoints may share a receive queue.
    SharedReceives,
    /// They may not.
    NoSharedReceives,
    /// It takes inline bytes.
    Inline,
    /// It takes several local pieces.
    Pieces,
    /// It serves READs.
    Reads,
    /// It places the bytes of a message in order.
    DataInOrder,
    /// It needs no CPU of the target.
    OneSided,
    /// It tells when a peer closes.
    PeerCloseEvent,
    /// It does not: silence and retries do.
    PeerCloseSilence,
}

impl Need {
    /// Why a device does not have it; `None` when it has.
    pub fn missing(self, caps: &Caps) -> Option<&'static str> {
        let shared = caps.shared_receive_depth_max > 0;
        let (has, why) = match self {
            Need::Atomics => (caps.atomics, "atomics are not promised"),
            Need::NoAtomics => (!caps.atomics, "atomics are promised"),
            Need::Immediate => (caps.immediate, "immediates are not promised"),
            Need::NoImmediate => (!caps.immediate, "immediates are promised"),
            Need::QpStates => (caps.qp_states, "queue pair states are not promised"),
            Need::NoQpStates => (!caps.qp_states, "queue pair states are promised"),
            Need::AsyncEvents => (caps.async_events, "events are not promised"),
            Need::NoAsyncEvents => (!caps.async_events, "events are promised"),
            Need::SharedReceives => (shared, "shared receive queues are not promised"),
            Need::NoSharedReceives => (!shared, "shared receive queues are promised"),
            Need::Inline => (caps.inline_bytes_max > 0, "inline bytes are not promised"),
            Need::Pieces => (caps.sge_max > 1, "more than one local piece is not promised"),
            Need::Reads => (caps.rd_atomic_max > 0, "READs are not promised"),
            Need::DataInOrder => (caps.data_in_order, "data in order is not promised"),
            Need::OneSided => (caps.one_sided, "one-sided operations are not promised"),
            Need::PeerCloseEvent => (caps.peer_close_event, "an event when a peer closes is not promised"),
            Need::PeerCloseSilence => (!caps.peer_close_event, "an event when a peer closes is promised"),
        };
        (!has).then_some(why)
    }
}
