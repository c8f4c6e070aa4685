//! The trait a backend author writes: narrow, static, poll-mode.

use std::os::fd::BorrowedFd;

use crate::caps::Caps;
use crate::chance::Buggify;
use crate::completion::Completions;
use crate::endpoint::{Access, CqId, EndpointSpec, EpId, PdId, QpState, SrqId};
use crate::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, PostError, RegisterError,
    RingError, WindowError,
};
use crate::event::AsyncEvent;
use crate::key::{EndpointAddress, RemoteKey, RemoteRegion};
use crate::region::{Region, RegionSpec};
use crate::time::Instant;
use crate::work::{MrId, WindowId, Work};

/// When a backend wants to be polled next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There is something to poll.
    Now,
    /// Not before this instant, unless something arrives.
    At(Instant),
    /// When [`Backend::notifier`] is readable, and at `until` at the latest. The device is armed: whatever comes after the
    /// last poll makes the descriptor readable.
    Notified {
        /// When to stop waiting; [`Instant::FAR`] is never.
        until: Instant,
    },
    /// When somebody posts, or whoever moves the device says that something arrived: a simulated device does not move
    /// by itself.
    Idle,
}

/// An RDMA device, or something that keeps a device's promises.
///
/// The control plane may be slow but never waits for a peer. The data plane ([`post`](Backend::post),
/// [`ring`](Backend::ring), [`poll`](Backend::poll)) never allocates, never blocks and never calls back.
/// Success of a WRITE means that its bytes are placed at the remote side, on every backend.
pub trait Backend: 'static {
    /// Its promises.
    fn caps(&self) -> &Caps;

    /// Memory this backend is at its best with. The region is not registered yet.
    ///
    /// # Errors
    /// Nothing is allocated when the spec breaks a limit or the system has no memory.
    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError>;

    /// Lets the device use a region. A region may be registered more than once.
    ///
    /// # Errors
    /// Limits of the device; rights that contradict each other.
    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError>;

    /// Ends a registration: its key is dead from now on, and stays dead. What the memory holds after its last
    /// registration ended is undefined (the simulated NIC scribbles it).
    ///
    /// # Errors
    /// Live leases, or an unknown registration.
    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError>;

    /// The key to hand to peers.
    ///
    /// # Errors
    /// No remote right, or an unknown registration.
    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError>;

    /// Makes a peer's key usable on an endpoint.
    ///
    /// # Errors
    /// Bytes that are not a key of this backend. Whether the key is *valid* only the peer knows.
    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError>;

    /// Opens a window: a key of its own to `len` bytes at `offset` of a registered region, to be handed to a peer and revoked
    /// without ending the registration (`ibv_bind_mw(3)`, IBA 10.6.7). Remote writing and atomics need `local_write` of the
    /// region; the region itself needs no remote right. Addresses are those of the region.
    ///
    /// # Errors
    /// A range outside the region, rights it cannot give, limits; a device without `caps.memory_windows`.
    fn open_window(
        &mut self,
        _mr: MrId,
        _offset: u64,
        _len: u64,
        _access: Access,
    ) -> Result<(WindowId, RemoteKey), WindowError> {
        Err(WindowError::NotPromised)
    }

    /// Revokes a window: its key is dead from now on, and stays dead. A registration cannot end before its windows did.
    ///
    /// # Errors
    /// An unknown window; a device without `caps.memory_windows`.
    fn close_window(&mut self, _window: WindowId) -> Result<(), WindowError> {
        Err(WindowError::NotPromised)
    }

    /// Makes a completion queue.
    ///
    /// # Errors
    /// Limits.
    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError>;

    /// Makes an endpoint, not connected yet.
    ///
    /// # Errors
    /// Limits, each named.
    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError>;

    /// What a peer needs to connect to this endpoint. `None` for an unknown one.
    fn address(&self, ep: EpId) -> Option<EndpointAddress>;

    /// Points the endpoint at its peer and makes it ready to send. Both sides do this; neither waits. Where devices shake
    /// hands (iWARP) the endpoint is in RTS only some polls later: [`state`](Backend::state) tells, and ERR means that the
    /// peer was not reached.
    ///
    /// # Errors
    /// A malformed address, or an endpoint that is connected or dead.
    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError>;

    /// Moves a queue pair to another state. ERR flushes; RESET forgets.
    ///
    /// # Errors
    /// Transitions that the state table does not have.
    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError>;

    /// The state of an endpoint. `None` for an unknown one.
    fn state(&self, ep: EpId) -> Option<QpState>;

    /// Ends an endpoint. When this returns, the device no longer touches the memory of its works and no completion
    /// of it will be polled; the caller flushes what it has outstanding.
    fn close(&mut self, ep: EpId);

    /// Queues one work. It may start at once or with the next [`ring`](Backend::ring).
    ///
    /// # Errors
    /// What can be told without the wire. The work was then not taken and nothing of it is used.
    fn post(&mut self, ep: EpId, work: &Work<'_>) -> Result<(), PostError>;

    /// The doorbell: once per batch, starts what was posted.
    ///
    /// # Errors
    /// What the device says only now (`bad_wr` of `ibv_post_send(3)`): how many of the works posted since the last ring
    /// were taken. The others never were, and will not complete.
    fn ring(&mut self, ep: EpId) -> Result<(), RingError>;

    /// Makes a receive queue that endpoints share (`EndpointSpec::shared_receive`).
    ///
    /// # Errors
    /// Limits; a device without `caps.shared_receive_depth_max`.
    fn open_srq(&mut self, _pd: PdId, _depth: u32) -> Result<SrqId, OpenError> {
        Err(OpenError::NotPromised("shared receive queues"))
    }

    /// Posts a receive that any endpoint of a shared queue may take. It completes on the receive queue of the endpoint that
    /// took it, which the completion names.
    ///
    /// # Errors
    /// As [`post`](Backend::post).
    fn post_shared(&mut self, _srq: SrqId, _work: &Work<'_>) -> Result<(), PostError> {
        Err(PostError::NotPromised("shared receive queues"))
    }

    /// Asks once for [`AsyncEvent::SrqLimitReached`], when fewer than `limit` receives are left.
    ///
    /// # Errors
    /// An unknown queue, a limit above its depth.
    fn arm_srq(&mut self, _srq: SrqId, _limit: u32) -> Result<(), ModifyError> {
        Err(ModifyError::Unsupported)
    }

    /// Ends a shared receive queue that no endpoint uses any more. When this returns, the device no longer touches the memory
    /// of its receives, and none of them completes.
    ///
    /// # Errors
    /// An unknown queue, or one that endpoints still use.
    fn close_srq(&mut self, _srq: SrqId) -> Result<(), ModifyError> {
        Err(ModifyError::Unsupported)
    }

    /// Appends completions to `out` while it has room. Returns how many.
    fn poll(&mut self, cq: CqId, out: &mut Completions) -> usize;

    /// The next asynchronous event, if any.
    fn poll_event(&mut self) -> Option<AsyncEvent>;

    /// When to poll next. Arms the device's notification if it has one, and then answers [`Wake::Now`] once, so that
    /// whatever came before is polled: an answer of [`Wake::Notified`] can be slept on without losing a wake-up.
    fn wake(&self) -> Wake;

    /// What becomes readable when an armed device has something to say: completions, events, handshakes. `None` for a
    /// device that never answers [`Wake::Notified`]. For waiting only (`poll(2)`): the backend itself empties it.
    fn notifier(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether whoever uses this device does something legal but rare now. Only a simulated device in a simulation that
    /// looks for bugs ever says so; for all others this is a constant that compiles to nothing.
    #[inline(always)]
    fn buggify(&self, _site: Buggify) -> bool {
        false
    }
}
