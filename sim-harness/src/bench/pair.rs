//! Two nodes and a connection, with whatever stands in front of the client's NIC.

use wavetank_contract::error::{
    AllocError, ConnectError, KeyError, OpenError, PostError, RegisterError, RingError,
};
use wavetank_contract::{EpId, MrId, Op, Region, RemoteRegion, Sge};
use wavetank_engine::SubmitError;
use wavetank_engine::bootstrap::BootstrapError;
use wavetank_mock::{Fabric, MockNic};

/// A connection to post READs on.
#[derive(Debug)]
pub(super) struct Pair<D> {
    pub(super) fabric: Fabric,
    pub(super) client: D,
    pub(super) ep: EpId,
    pub(super) mr: MrId,
    pub(super) remote: RemoteRegion,
    /// Kept alive: the storage node's NIC, and both memories.
    pub(super) _kept: (MockNic, [Region; 2]),
}

impl<D> Pair<D> {
    /// The READ of the first `len` bytes, and where they go.
    pub(super) fn read(&self, len: u32) -> Option<(Op, Sge)> {
        let remote = self.remote.at(0, u64::from(len))?;
        Some((Op::Read { remote }, Sge { mr: self.mr, len, offset: 0 }))
    }
}

/// Why a benchmark came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("the benchmark cannot go on: {0}")]
pub struct PairError(pub(super) String);

macro_rules! from_errors {
    ($($error:ty),*) => { $(impl From<$error> for PairError {
        fn from(error: $error) -> PairError {
            PairError(error.to_string())
        }
    })* };
}
from_errors!(AllocError, ConnectError, KeyError, OpenError, RegisterError);
from_errors!(BootstrapError, PostError, RingError, SubmitError, std::io::Error);

/// Connects a client to a storage node. A macro, because the client is a `Backend` here and an `RdmaOps` there, and both
/// spell their control plane alike.
macro_rules! pair {
    ($wrap:expr) => {{
        use wavetank_contract::error::ConnectError;
        use wavetank_contract::{Access, Backend as _, EndpointSpec, PdId, RegionSpec};
        let mut fabric = wavetank_mock::Fabric::new(wavetank_mock::Profile::IDEAL);
        let (nic, mut storage) = (fabric.add_node(), fabric.add_node());
        let mut client = $wrap(nic);
        let (ours, theirs) =
            (client.allocate(&RegionSpec::new(1 << 16))?, storage.allocate(&RegionSpec::new(1 << 16))?);
        let mr = client.register(&ours, PdId(0), Access::LOCAL)?;
        let their_mr = storage.register(&theirs, PdId(0), Access::REMOTE_READ)?;
        let (cq, their_cq) = (client.open_cq(128)?, storage.open_cq(1)?);
        let ep = client.open(&EndpointSpec { recv_depth: 0, ..EndpointSpec::new(cq) })?;
        let spec = EndpointSpec { recv_depth: 0, send_depth: 1, ..EndpointSpec::new(their_cq) };
        let their_ep = storage.open(&spec)?;
        let address = client.address(ep).ok_or(ConnectError::Unknown(ep))?;
        let their_address = storage.address(their_ep).ok_or(ConnectError::Unknown(their_ep))?;
        client.connect(ep, &their_address)?;
        storage.connect(their_ep, &address)?;
        let remote = client.import(ep, &storage.export(their_mr)?)?;
        Ok::<_, PairError>(Pair { fabric, client, ep, mr, remote, _kept: (storage, [ours, theirs]) })
    }};
}
pub(super) use pair;
