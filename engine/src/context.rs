//! `RdmaContext`: one type over every backend that was built, dispatched by a `match` per batch.
//!
//! The trait stands in this file because `enum_dispatch` joins a trait and an enum only where it has seen both.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

use enum_dispatch::enum_dispatch;
use thiserror::Error;
use wavetank_contract::error::{
    AllocError, ConnectError, DeregisterError, KeyError, ModifyError, OpenError, RegisterError, WindowError,
};
use wavetank_contract::{
    Access, AsyncEvent, Buggify, Caps, CqId, EndpointAddress, EndpointSpec, EpId, MrId, PdId, QpState,
    Region, RegionSpec, RemoteKey, RemoteRegion, SrqId, Wake, WindowId,
};

use crate::ledger::Anomaly;
use crate::port::{Batch, Outcome, Port, Refused};

#[cfg(not(any(feature = "mock", feature = "verbs", feature = "ucx")))]
compile_error!("wavetank-engine needs a backend: enable the feature `mock`, or that of a hardware backend");

/// What the engine asks of a device, a batch at a time.
///
/// [`Port`] implements it once for every [`Backend`](wavetank_contract::Backend); see there for what each call of
/// the control plane promises.
#[enum_dispatch]
pub trait RdmaOps {
    /// The device's promises.
    fn caps(&self) -> &Caps;
    /// Memory the device is at its best with.
    fn allocate(&mut self, spec: &RegionSpec) -> Result<Region, AllocError>;
    /// Lets the device use a region.
    fn register(&mut self, region: &Region, pd: PdId, access: Access) -> Result<MrId, RegisterError>;
    /// Ends a registration.
    fn deregister(&mut self, mr: MrId) -> Result<(), DeregisterError>;
    /// The key to hand to peers.
    fn export(&self, mr: MrId) -> Result<RemoteKey, KeyError>;
    /// Makes a peer's key usable on an endpoint.
    fn import(&mut self, ep: EpId, key: &RemoteKey) -> Result<RemoteRegion, KeyError>;
    /// Opens a window to a part of a registration.
    fn open_window(
        &mut self,
        mr: MrId,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<(WindowId, RemoteKey), WindowError>;
    /// Revokes a window.
    fn close_window(&mut self, window: WindowId) -> Result<(), WindowError>;
    /// Makes a completion queue.
    fn open_cq(&mut self, depth: u32) -> Result<CqId, OpenError>;
    /// Makes an endpoint.
    fn open(&mut self, spec: &EndpointSpec) -> Result<EpId, OpenError>;
    /// What a peer needs to connect to it.
    fn address(&self, ep: EpId) -> Option<EndpointAddress>;
    /// Points it at its peer.
    fn connect(&mut self, ep: EpId, peer: &EndpointAddress) -> Result<(), ConnectError>;
    /// Moves it to another state.
    fn modify(&mut self, ep: EpId, to: QpState) -> Result<(), ModifyError>;
    /// Whether it was opened and not closed: known without asking the device.
    fn is_open(&self, ep: EpId) -> bool;
    /// Its state, as the device says.
    fn state(&self, ep: EpId) -> Option<QpState>;
    /// Ends it. What was outstanding comes out of the next poll as flushed.
    fn close(&mut self, ep: EpId);
    /// Posts orders from the front of the batch while there are credits, and rings once. What has no credit stays in
    /// the batch. Answers how many were posted.
    ///
    /// # Errors
    /// The first order the device refused, with its index; the ones before it were posted, the ones after it are
    /// still in the batch.
    fn post(&mut self, ep: EpId, batch: &mut Batch) -> Result<usize, Box<Refused>>;
    /// Makes a receive queue that endpoints share.
    fn open_srq(&mut self, pd: PdId, depth: u32) -> Result<SrqId, OpenError>;
    /// Posts receives from the front of the batch that any endpoint of a shared queue may take, while there are credits: those
    /// of the queue's depth, which come back with completions. What has none stays in the batch. Answers how many were posted.
    ///
    /// They end in any order. An outcome names the endpoint that took the receive, or [`NO_ENDPOINT`](crate::NO_ENDPOINT)
    /// where none did. An endpoint that closes leaves to the others what it has not taken.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    fn post_shared(&mut self, srq: SrqId, batch: &mut Batch) -> Result<usize, Box<Refused>>;
    /// Asks for one event when fewer than `limit` receives are left.
    fn arm_srq(&mut self, srq: SrqId, limit: u32) -> Result<(), ModifyError>;
    /// Ends a shared queue that no endpoint uses any more. What was outstanding comes out of the next poll as flushed.
    fn close_srq(&mut self, srq: SrqId) -> Result<(), ModifyError>;
    /// Bytes of this process that keep account of endpoints and works, used or not; not the device's own.
    fn bytes_in_use(&self) -> usize;
    /// Appends what ended since the last poll.
    fn poll(&mut self, out: &mut Vec<Outcome>);
    /// The next asynchronous event.
    fn poll_event(&mut self) -> Option<AsyncEvent>;
    /// When to poll next.
    fn wake(&self) -> Wake;
    /// What to wait for when the answer is [`Wake::Notified`].
    fn notifier(&self) -> Option<BorrowedFd<'_>>;
    /// Works posted and not ended.
    fn outstanding(&self) -> usize;
    /// Writes a line for each of them.
    fn describe_outstanding(&self, out: &mut String);
    /// Whether to do something legal but rare now; a constant no over hardware.
    fn buggify(&self, site: Buggify) -> bool;
    /// The next thing the device did that no device may do.
    fn take_anomaly(&mut self) -> Option<Anomaly>;
}

/// A device of whichever backend it is. Never crosses threads.
#[allow(clippy::large_enum_variant, reason = "one a thread, never moved or copied")]
#[enum_dispatch(RdmaOps)]
#[derive(Debug)]
#[non_exhaustive]
pub enum RdmaContext {
    /// The simulated NIC.
    #[cfg(feature = "mock")]
    Mock(Port<wavetank_mock::MockNic>),
    /// A device of libibverbs.
    #[cfg(feature = "verbs")]
    Verbs(Port<wavetank_verbs::VerbsDevice>),
    /// A UCX device.
    #[cfg(feature = "ucx")]
    Ucx(Port<wavetank_ucx::UcxDevice>),
}

/// The backends there are, built or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendKind {
    /// The simulated NIC.
    Mock,
    /// libibverbs: hardware, soft-RoCE, iWARP.
    Verbs,
    /// UCX: RDMA, shared memory, TCP.
    Ucx,
}

/// A backend was asked for that this build does not have. Nothing falls back to another by itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the {kind} backend is not in this build: build wavetank with the cargo feature `{feature}`")]
pub struct BackendNotBuilt {
    /// What was asked for.
    pub kind: BackendKind,
    /// The cargo feature that brings it.
    pub feature: &'static str,
}

/// No backend has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no backend {0:?}: it is one of mock, verbs, ucx")]
pub struct UnknownBackend(pub String);

impl BackendKind {
    /// Every backend there is.
    pub const ALL: [BackendKind; 3] = [BackendKind::Mock, BackendKind::Verbs, BackendKind::Ucx];

    /// Its name, which is also its cargo feature.
    pub const fn name(self) -> &'static str {
        match self {
            BackendKind::Mock => "mock",
            BackendKind::Verbs => "verbs",
            BackendKind::Ucx => "ucx",
        }
    }

    /// Whether this build has it.
    ///
    /// # Errors
    /// [`BackendNotBuilt`], naming the feature.
    pub fn require_built(self) -> Result<(), BackendNotBuilt> {
        match self {
            #[cfg(feature = "mock")]
            BackendKind::Mock => Ok(()),
            #[cfg(feature = "verbs")]
            BackendKind::Verbs => Ok(()),
            #[cfg(feature = "ucx")]
            BackendKind::Ucx => Ok(()),
            #[allow(unreachable_patterns)] // when every backend is built
            kind => Err(BackendNotBuilt { kind, feature: kind.name() }),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = UnknownBackend;
    fn from_str(name: &str) -> Result<BackendKind, UnknownBackend> {
        BackendKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownBackend(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the order of [`BackendKind::ALL`].
    const BUILT: [bool; 3] = [cfg!(feature = "mock"), cfg!(feature = "verbs"), cfg!(feature = "ucx")];

    #[test]
    fn a_backend_that_is_not_built_is_refused_by_feature_name() {
        for (kind, built) in BackendKind::ALL.into_iter().zip(BUILT) {
            assert_eq!(kind.name().parse(), Ok(kind));
            let refused = BackendNotBuilt { kind, feature: kind.name() };
            assert!(refused.to_string().contains(&format!("cargo feature `{kind}`")), "{refused}");
            assert_eq!(kind.require_built(), if built { Ok(()) } else { Err(refused) });
        }
        assert!("mokc".parse::<BackendKind>().is_err());
    }
}
