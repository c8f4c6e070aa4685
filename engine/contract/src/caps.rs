//! Promises. Each one has a kit case that fails if it is false; each absent one a case that the request is refused.

/// What a backend promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Which backend this is, for people: `mock/cx6`, `verbs/rxe0`.
    pub name: String,
    /// Whether no hardware is involved. Shown wherever figures are shown.
    pub simulated: bool,
    /// Deepest send or receive queue, in works.
    pub queue_depth_max: u32,
    /// Deepest completion queue.
    pub cq_depth_max: u32,
    /// Completion queues.
    pub cq_max: u32,
    /// Endpoints.
    pub endpoint_max: u32,
    /// Registrations alive at a time.
    pub region_max: u32,
    /// Longest region, in bytes.
    pub region_bytes_max: u64,
    /// Longest message, in bytes.
    pub message_bytes_max: u32,
    /// Local pieces of one work.
    pub sge_max: u32,
    /// Bytes that may be posted inline.
    pub inline_bytes_max: u32,
    /// READs and atomics outstanding per endpoint, either direction.
    pub rd_atomic_max: u8,
    /// Deepest receive queue that endpoints may share; 0 where they cannot.
    pub shared_receive_depth_max: u32,
    /// SEND, WRITE and receives with an immediate.
    pub immediate: bool,
    /// 8-byte compare-and-swap and fetch-and-add, atomic among this device's endpoints.
    pub atomics: bool,
    /// Memory windows: remote keys to a part of a region that end without ending its registration.
    pub memory_windows: bool,
    /// Whether the bytes of a message are placed in order, so that polling its last byte is legal.
    pub data_in_order: bool,
    /// Whether one-sided operations need no CPU of the target.
    pub one_sided: bool,
    /// Whether endpoints follow the states of [`QpState`](crate::QpState) and can be moved between them.
    pub qp_states: bool,
    /// Whether asynchronous events are reported.
    pub async_events: bool,
    /// Whether an event says that the peer closed. Reliable-connected devices do not: silence and retries do.
    pub peer_close_event: bool,
}
